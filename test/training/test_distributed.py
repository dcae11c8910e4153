# SPDX-License-Identifier: Apache-2.0
"""Several processes are one run; a run that is killed and resumed is the same run."""
import json
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import time

from crossview_ros.cli.main import main
from crossview_ros.data.synthetic import dataset
from crossview_ros.data.synthetic.view_pairs import PairConfig
from crossview_ros.training.data_config import DataConfig
from crossview_ros.training.records import prepare_records
import pytest
import torch
import yaml

ROOT = Path(__file__).resolve().parents[2]
DATA = {'num_records': 32, 'size_hw': [32, 48], 'crop_hw': [32, 32], 'scale_range': [1.0, 1.0],
        'num_validation': 32}
CONFIG = {
    'task': 'croco', 'steps': 4, 'batch_size': 8, 'log_every': 1, 'validate_every': 4,
    'checkpoint_every': 1, 'data': DATA,
    'model': {'preset': 'crossview_tiny_croco', 'mask_ratio': 0.75, 'backbone': {
        'enc_embed_dim': 32, 'enc_num_layers': 2, 'enc_num_heads': 2, 'dec_embed_dim': 32,
        'dec_num_layers': 1, 'dec_num_heads': 2, 'stem_dims': [8, 8, 16], 'patch_size': 8}},
    'optimizer': {'lr': 1e-2, 'warmup_steps': 1}, 'engine': {'tensorboard': False}}


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    """Return a folder of rendered pairs with few textures, which are quick to make."""
    folder = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, 'ATLAS_SIZE', 8)
        prepare_records(DataConfig(**DATA), folder, kind=PairConfig())
    return folder


def arguments(cache, run, *more, **changes):
    """Return the arguments of a run of one process."""
    path = run.with_suffix('.yaml')
    path.write_text(yaml.safe_dump({**CONFIG, **changes}))
    return ['pretrain', str(path), '--run-dir', str(run), '--cache-dir', str(cache),
            '--device', 'cpu', '--threads', '1', *more]


def start(cache, run, processes=1, rank=0, port=0, **changes):
    """Start one process of a run, with what torchrun would tell it."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    if processes > 1:
        names = {'RANK': rank, 'LOCAL_RANK': rank, 'GROUP_RANK': 0, 'WORLD_SIZE': processes,
                 'LOCAL_WORLD_SIZE': processes, 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port,
                 'TORCHELASTIC_RUN_ID': 'test'}
        environment.update({name: str(value) for name, value in names.items()})
    command = [sys.executable, '-m', 'crossview_ros.cli.main',
               *arguments(cache, run, **changes)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def finish(*processes):
    """Wait for the processes; return what the first one printed."""
    texts = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), texts
    return texts[0]


def free_port():
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


def two_processes(cache, run, **changes):
    port = free_port()
    return finish(*(start(cache, run, processes=2, rank=rank, port=port, **changes)
                    for rank in range(2)))


def log(run):
    lines = (run / 'metrics.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def losses(run):
    return [(record['step'], record['loss']) for record in log(run) if 'loss' in record]


def weights(run):
    return torch.load(run / 'last.pt', weights_only=True)['model']


@pytest.fixture(scope='module')
def one_process(cache, tmp_path_factory):
    """Return the folder of a run of one process."""
    run = tmp_path_factory.mktemp('one') / 'run'
    assert main(arguments(cache, run)) == 0
    return run


@pytest.mark.parametrize('strategy', ['ddp', 'fsdp'])
def test_two_processes_train_as_one(cache, tmp_path, one_process, strategy):
    run = tmp_path / 'run'
    two_processes(cache, run, micro_batch=2, engine={'strategy': strategy, 'tensorboard': False})
    assert [step for step, _ in losses(run)] == [1, 2, 3, 4]
    # sums in another order; AdamW divides by the root of the squares, so that tiny gradients
    # may differ by a share of the rate: 4 steps of 1e-2
    for (_, loss), (_, expected) in zip(losses(run), losses(one_process)):
        assert loss == pytest.approx(expected, rel=1e-5)
    for name, expected in weights(one_process).items():
        torch.testing.assert_close(weights(run)[name], expected, rtol=1e-3, atol=1e-4)
    assert json.loads((run / 'environment.json').read_text())[0]['processes'] == 2


def test_a_killed_run_resumes_to_the_same_curve(cache, tmp_path, capsys):
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    changes = {'steps': 40, 'validate_every': 10, 'batch_size': 4}
    assert main(arguments(cache, whole, **changes)) == 0
    process = start(cache, killed, **changes)
    end_s = time.monotonic() + 60
    while not (killed / 'previous.pt').exists():
        assert time.monotonic() < end_s and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not any(record['step'] == 40 for record in log(killed)), 'killed too late'
    assert main(arguments(cache, killed, '--resume', **changes)) == 0
    assert 'resumed_from last.pt' in capsys.readouterr().err
    assert losses(killed) == losses(whole)
    assert [step for step, _ in losses(killed)] == list(range(1, 41))
    for name, expected in weights(whole).items():
        assert torch.equal(weights(killed)[name], expected), name
    assert len(json.loads((killed / 'environment.json').read_text())) == 2
