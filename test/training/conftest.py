# SPDX-License-Identifier: Apache-2.0
"""Runs small enough for a test: narrow networks, a few rendered records and pairs."""
from pathlib import Path
import sys

from crossview_ros.config import from_dict
from crossview_ros.data.synthetic import dataset
from crossview_ros.data.synthetic.lidar_frames import LidarFrameConfig
from crossview_ros.data.synthetic.random_scene import SceneConfig
from crossview_ros.data.synthetic.view_pairs import PairConfig
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import MatchingHeadConfig
from crossview_ros.training.loop import Trainer
from crossview_ros.training.records import prepare_records
from crossview_ros.training.run_config import DataConfig, RunConfig
from crossview_ros.training.run_state import RunFolder
from crossview_ros.training.tasks import TASKS
import pytest
import torch

# of the writers of data sets that `test_recipes` and `test_dataset_batches` train on
sys.path.insert(0, str(Path(__file__).parents[1] / 'data' / 'datasets'))

NARROW = {'enc_embed_dim': 32, 'enc_num_layers': 1, 'enc_num_heads': 2, 'dec_embed_dim': 32,
          'dec_num_layers': 1, 'dec_num_heads': 2, 'position': 'rope', 'stem': 'conv',
          'stem_dims': (8, 8, 16), 'residual_init': 'zero'}
PAIRS = {'num_records': 32, 'size_hw': (48, 64), 'crop_hw': (32, 48), 'scale_range': (1.0, 1.0),
         'num_validation': 32}
DATA = {'num_records': 8, 'size_hw': (64, 96), 'crop_hw': (32, 64), 'num_validation': 4}


FRAMES = {'num_records': 8, 'size_hw': (48, 64), 'crop_hw': (32, 48), 'scale_range': (1.0, 1.0),
          'num_validation': 4, 'frames': LidarFrameConfig(rings=16, azimuth_steps=32)}


def narrow_model(heads=('stereo',)):
    """Return a model of a few thousand weights."""
    torch.manual_seed(0)
    backbone = CroCoConfig(**NARROW)
    sizes = {'feature_dim': 16, 'hidden_dim': 8, 'fine_hidden_dim': 8, 'fine_dim': 8}
    search = {'stereo': 'row', 'flow': 'plane'}
    return MultiTaskModel(ModelConfig(backbone, {
        head: MatchingHeadConfig(search[head], fine_radius=2, **sizes) for head in heads}))


def narrow_completion():
    """Return a pre-training model with the encoder and decoder of `narrow_model`."""
    torch.manual_seed(0)
    return CroCo(CroCoConfig(img_size=PAIRS['crop_hw'], mask_ratio=0.75, **NARROW))


@pytest.fixture(scope='session')
def records(tmp_path_factory):
    """Return the folders of rendered training and validation records, with few textures."""
    return render_small(DATA, tmp_path_factory.mktemp('records'), SceneConfig())


@pytest.fixture(scope='session')
def pairs(tmp_path_factory):
    """Return the folders of rendered training and validation pairs, with few textures."""
    return render_small(PAIRS, tmp_path_factory.mktemp('pairs'), PairConfig())


@pytest.fixture(scope='session')
def frames(tmp_path_factory):
    """Return the folders of rendered frames with LiDAR clouds, with few textures."""
    return render_small(FRAMES, tmp_path_factory.mktemp('frames'), FRAMES['frames'])


def render_small(data: dict, cache: Path, kind) -> tuple[Path, Path]:
    """Render what a config asks for with few textures, which are quick to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, 'ATLAS_SIZE', 8)
        return prepare_records(DataConfig(**data), cache, kind=kind)


@pytest.fixture
def make_trainer(records):
    """Return a function that makes a Trainer of dense matching in a folder."""
    def make(folder: Path, reports: list, **changes) -> Trainer:
        return new_trainer(folder, reports, records, {'task': 'stereo', 'data': DATA, **changes})
    return make


@pytest.fixture
def make_completion_trainer(pairs):
    """Return a function that makes a Trainer of cross-view completion in a folder."""
    def make(folder: Path, reports: list, **changes) -> Trainer:
        return new_trainer(folder, reports, pairs, {'task': 'croco', 'data': PAIRS, **changes})
    return make


def new_trainer(folder: Path, reports: list, records: tuple[Path, Path], values: dict) -> Trainer:
    """Make a Trainer of a narrow model that begins or goes on in a folder."""
    config = from_dict(RunConfig, {'steps': 6, 'batch_size': 2, 'log_every': 1,
                                   'validate_every': 3, 'checkpoint_every': 2, **values}, 'test')
    task = TASKS[config.task](config)
    model = narrow_completion() if config.task == 'croco' else narrow_model(task.heads)
    train, validation = (task.batches(path, config, model.config) for path in records)
    run = RunFolder(folder)
    if not (folder / 'last.pt').exists():
        run.create(config)
    return Trainer(config, model, task, train, validation, run, reports.append)
