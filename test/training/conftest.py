# SPDX-License-Identifier: Apache-2.0
"""A run small enough for a test: a narrow network and eight rendered records."""
from pathlib import Path

from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import MatchingHeadConfig
from crossview_ros.training.loop import Trainer
from crossview_ros.training.records import prepare_records, RecordBatches
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
from crossview_ros.training.tasks import TASKS
import pytest
import torch

DATA = {'num_records': 8, 'size_hw': (64, 96), 'crop_hw': (32, 64), 'num_validation': 4}


def narrow_model(heads=('stereo',)):
    """Return a model of a few thousand weights."""
    torch.manual_seed(0)
    backbone = CroCoConfig(
        enc_embed_dim=32, enc_num_layers=1, enc_num_heads=2, dec_embed_dim=32, dec_num_layers=1,
        dec_num_heads=2, position='rope', stem='conv', stem_dims=(8, 8, 16),
        residual_init='zero')
    sizes = {'feature_dim': 16, 'hidden_dim': 8, 'fine_hidden_dim': 8, 'fine_dim': 8}
    search = {'stereo': 'row', 'flow': 'plane'}
    return MultiTaskModel(ModelConfig(backbone, {
        head: MatchingHeadConfig(search[head], fine_radius=2, **sizes) for head in heads}))


@pytest.fixture(scope='session')
def records(tmp_path_factory):
    """Return the folders of rendered training and validation records."""
    from crossview_ros.training.run_config import DataConfig
    return prepare_records(DataConfig(**DATA), tmp_path_factory.mktemp('records'))


@pytest.fixture
def make_trainer(records):
    """Return a function that makes a Trainer in a folder."""
    def make(folder: Path, reports: list, model=None, **changes) -> Trainer:
        from crossview_ros.config import from_dict
        values = {'task': 'stereo', 'steps': 6, 'batch_size': 2, 'log_every': 1,
                  'validate_every': 3, 'checkpoint_every': 2, 'data': DATA, **changes}
        config = from_dict(RunConfig, values, 'test')
        task = TASKS[config.task]()
        model = model or narrow_model(task.heads)
        train, validation = (RecordBatches(path, config, model.config.normalisation)
                             for path in records)
        run = RunFolder(folder)
        if not (folder / 'last.pt').exists():
            run.create(config)
        return Trainer(config, model, task, train, validation, run, reports.append)
    return make
