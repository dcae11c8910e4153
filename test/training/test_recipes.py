# SPDX-License-Identifier: Apache-2.0
"""Every file in config/train is a run: its numbers, its network, and two steps of it."""
from dataclasses import replace
import importlib.util
import json
import math
from pathlib import Path

from crossview_ros.config import dump_yaml, load_config, to_dict
from crossview_ros.data.contrastive_views import ContrastiveViewConfig
from crossview_ros.data.pair_shards import ShardWriter, write_index
from crossview_ros.metrics.depth_protocol import DepthProtocol
from crossview_ros.networks.heads import DptHeadConfig
from crossview_ros.training.mixture import steps_per_epoch
from crossview_ros.training.optimizer import learning_rate
from crossview_ros.training.run_config import ContrastConfig, RunConfig, smoke_run
from crossview_ros.training.setup import open_run
from crossview_ros.training.tasks import TASKS, TASKS_OF_VERB
from crossview_ros.training.tasks.matching import official_criterion
import cv2
from layouts import LAYOUTS
import pytest
from textured_pairs import stereo_pair
import torch

FOLDER = Path(__file__).resolve().parents[2] / 'config' / 'train'
RECIPES = {path.relative_to(FOLDER).with_suffix('').as_posix(): path
           for path in sorted(FOLDER.rglob('*.yaml'))}
OFFICIAL = [name for name in RECIPES if name.startswith('official/')]
SMALL = {'crossview_tiny_1_stereo', 'crossview_tiny_2_multi', 'crossview_tiny_3_slow',
         'crossview_tiny_4_depth',
         'crossview_small_1_heads', 'crossview_small_2_hard', 'crossview_small_3_volume',
         'crossview_small_4_pose', 'crossview_small_5_depth',
         'crossview_tiny_gpu', 'croco_tiny', 'croco_tiny_pairs', 'depth_tiny', 'joint_tiny',
         'pose_tiny', 'simipu_tiny'}
SMALL_PARAMETERS = 7_000_000   # at most, of the networks of two CPU cores
WIDE = {'crossview_small_gpu_1_croco': 15_500_000,   # at most, of those of one GPU
        'crossview_small_gpu_2_multi': 20_000_000}
DENSE_L = 437_417_890          # croco.md 3.4; a third channel adds 33
PARAMETERS = {                 # croco.md 2 and 3.4
    'croco_v1': 120_076_288, 'croco_v2_vitb_small': 120_076_288,
    'croco_v2_vitb_base': 200_269_824, 'croco_v2_vitl_base': 417_918_720,
    'crocostereo': DENSE_L, 'crocostereo_subtrain': DENSE_L, 'crocostereo_eth3d': DENSE_L,
    'crocostereo_finetune_kitti': DENSE_L, 'crocostereo_finetune_spring': DENSE_L,
    'crocoflow': DENSE_L + 33, 'crocoflow_finetune_kitti': DENSE_L + 33,
    'crocoflow_finetune_spring': DENSE_L + 33,
    **dict.fromkeys(('simipu_depth_kitti', 'simipu_depth_nyu'),
                    23_508_032 + 54_262_657),   # simipu.md 3 and 11
    'simipu_kitti': 23_508_032 + 1_778_432 + 8_663_424 + 2 * 2_234_752}   # simipu.md 10.2
HABITAT = 985_209 + 800_000 + 3_000 + 13_000
REAL = 1_070_414 + 2_014_789 + 655_464 + 144_228
SUBTRAIN = (200_000 + 70_908 + 30 * 24 + 50 * (45 + 171 + 132 + 335 + 14)
            + 216)   # of Booster, whose count without two scenes is not published
# croco.md 7: samples, batch, epochs, planned epochs, warm-up epochs, peak rate, precision
PRETRAINING = {
    'croco_v1': (HABITAT, 256, 400, 800, 40, 1.5e-4, 'fp16'),
    'croco_v2_vitb_small': (HABITAT + REAL, 256, 125, 250, 12, 1.5e-4, 'fp32'),
    'croco_v2_vitb_base': (HABITAT + REAL, 256, 125, 250, 12, 1.5e-4, 'fp32'),
    'croco_v2_vitl_base': (HABITAT + REAL, 512, 125, 250, 12, 3e-4, 'fp32')}
# croco.md 8: samples of an epoch, batch, images a pass, epochs, rate, crop, loss, start
DENSE = {
    'crocostereo': (309_496, 6, None, 32, 3e-5, (352, 704), 'LaplacianLossBounded2',
                    'croco_v2_vitl_base'),
    'crocostereo_subtrain': (SUBTRAIN, 6, None, 32, 3e-5, (352, 704), 'LaplacianLossBounded2',
                             'croco_v2_vitl_base'),
    'crocostereo_eth3d': (309_496, 6, None, 32, 3e-5, (352, 704), 'LaplacianLoss',
                          'croco_v2_vitl_base'),
    'crocostereo_finetune_kitti': (394, 6, 1, 20, 3e-5, (352, 1216), 'LaplacianLossBounded2',
                                   'crocostereo'),
    'crocostereo_finetune_spring': (5000, 6, None, 8, 3e-5, (352, 704), 'LaplacianLossBounded2',
                                    'crocostereo'),
    'crocoflow': (30_000, 8, None, 240, 2e-5, (320, 384), 'LaplacianLossBounded',
                  'croco_v2_vitl_base'),
    'crocoflow_finetune_kitti': (394, 8, 1, 150, 2e-5, (352, 1216), 'LaplacianLossBounded',
                                 'crocoflow'),
    'crocoflow_finetune_spring': (19_852, 8, None, 12, 2e-5, (320, 384), 'LaplacianLossBounded',
                                  'crocoflow')}
# simipu.md 11: images, batches of an epoch, crop, greatest depth [m], what is cut off, protocol
MONOCULAR = {
    'simipu_depth_kitti': ((23_158, 652), 1448, (352, 704), 80.0, ((352, 1216), None), 'garg'),
    'simipu_depth_nyu': ((24_231, 654), 1515, (416, 544), 10.0, (None, (45, 472, 43, 608)),
                         'nyu')}
MIXTURES = {'crocostereo': 309_496, 'crocostereo_eth3d': 309_496, 'crocoflow': 793_052,
            'crocostereo_subtrain': SUBTRAIN - 216}


def test_every_recipe_has_its_numbers_here():
    assert set(RECIPES) == SMALL | set(WIDE) | {f'official/{name}' for name in PARAMETERS}
    assert PRETRAINING.keys() | DENSE.keys() | MONOCULAR.keys() | {'simipu_kitti'} \
        == PARAMETERS.keys()


@pytest.mark.parametrize('name', RECIPES)
def test_the_network_of_each_recipe_has_the_published_size(name):
    config = load_config(RunConfig, RECIPES[name])
    with torch.device('meta'):
        model = TASKS[config.task](config).build()
    count = sum(p.numel() for p in model.parameters())
    if not name.startswith('official/'):
        assert count <= WIDE.get(name, SMALL_PARAMETERS)
    else:
        assert count == PARAMETERS[name.removeprefix('official/')]


@pytest.mark.parametrize('name', PRETRAINING)
def test_pretraining_recipes_are_those_of_the_paper(name):
    samples, batch, epochs, planned, warmup, peak, precision = PRETRAINING[name]
    config = load_config(RunConfig, RECIPES[f'official/{name}'])
    epoch = steps_per_epoch(batch, samples)
    assert sum(use.repeat * use.count for use in config.data.mixture) == samples
    assert (config.batch_size, config.steps) == (batch, epochs * epoch)
    assert config.precision == precision and config.data.crop_hw == (224, 224)
    assert config.pixel_loss.normalised and config.pixel_loss.masked_only
    _check_schedule(config, peak, warmup * epoch, planned * epoch)


@pytest.mark.parametrize('name', DENSE)
def test_fine_tuning_recipes_are_those_of_the_paper(name):
    samples, batch, micro, epochs, rate, crop_hw, loss, start = DENSE[name]
    config = load_config(RunConfig, RECIPES[f'official/{name}'])
    epoch = steps_per_epoch(batch, samples)
    assert (config.batch_size, config.micro_batch, config.steps) == (batch, micro, epochs * epoch)
    assert config.data.crop_hw == crop_hw and config.precision == 'fp32'
    assert config.model.start_from == f'runs/{start}'
    assert (config.data.validation_mode, config.data.validation_overlap) == ('tiled', 0.7)
    total = sum(use.repeat * use.count for use in config.data.mixture if use.count)
    assert total == MIXTURES.get(name, samples)
    with torch.device('meta'):
        head = TASKS[config.task](config).build().config.heads[config.task]
    assert isinstance(head, DptHeadConfig) and official_criterion(head).name == loss
    _check_schedule(config, rate, epoch, config.steps)


@pytest.mark.parametrize('name', MONOCULAR)
def test_depth_recipes_are_those_of_simipu(name):
    counts, epoch, crop_hw, greatest, cut, protocol = MONOCULAR[name]
    config = load_config(RunConfig, RECIPES[f'official/{name}'])
    optimizer, views = config.optimizer, config.data.monocular
    assert tuple(use.count for use in (*config.data.mixture, *config.data.validation)) == counts
    assert (config.batch_size, config.steps, epoch) == (16, 24 * epoch, -(-counts[0] // 16))
    assert config.data.num_validation == counts[1] and config.validate_every == 6 * epoch
    assert config.data.crop_hw == crop_hw and (views.bottom_hw, views.border) == cut
    assert config.depth_protocol == DepthProtocol(protocol, 1e-3, greatest)
    assert optimizer.betas == (0.95, 0.99) and optimizer.clip_norm == 35 and optimizer.decay_all
    assert optimizer.weight_decay == 0.01 and optimizer.ema_decay == 0
    assert config.model.start_from.startswith('SimIPU_')
    with torch.device('meta'):
        model = TASKS['depth'](config).build()
    assert model.config.head.max_depth_m == greatest
    rates = [learning_rate(optimizer, at, at, config.steps, 16)
             for at in (0, round(0.3 * config.steps) - 1, config.steps - 1)]
    assert rates == pytest.approx([1e-4 / 25, 1e-4, 1e-4 / 2500], rel=1e-6)


def test_the_recipe_of_simipu_is_the_released_one():
    config = load_config(RunConfig, RECIPES['official/simipu_kitti'])
    epoch = steps_per_epoch(32, 3712)   # simipu.md 8: 116 batches
    assert [use.count for use in config.data.mixture] == [3712] and epoch == 116
    assert (config.batch_size, config.micro_batch, config.steps) == (32, 4, 100 * epoch)
    assert config.optimizer.epoch_steps == epoch and config.optimizer.clip_norm == 0
    assert config.model.contrast == {'reference': 'faithful'}
    assert config.data.clouds == ContrastiveViewConfig()   # simipu.md 1.3
    assert config.contrast == ContrastConfig(0.07, 'batch', 1.0, 1.0)
    assert config.precision == 'fp32'


def _check_schedule(config, peak, warmup, planned):
    """Check the rate at the peak, between and at the end of the cosine, and what has no name."""
    optimizer = config.optimizer
    assert optimizer.betas == (0.9, 0.95) and optimizer.weight_decay == 0.05
    assert optimizer.clip_norm == 0 and optimizer.ema_decay == 0 and config.seed == 0
    end = optimizer.schedule_steps or config.steps
    assert (end, optimizer.warmup_steps) == (planned, warmup)

    def rate(step):
        return learning_rate(optimizer, step, step, end, config.batch_size)
    assert rate(warmup / 2) == pytest.approx(peak / 2)
    assert rate(warmup) == pytest.approx(peak)
    third = warmup + (planned - warmup) / 3
    assert rate(third) == pytest.approx(peak * 0.75)       # (1 + cos 60 deg) / 2
    assert rate(planned) == pytest.approx(0, abs=1e-12)


@pytest.fixture(scope='session')
def datasets(tmp_path_factory):
    """Return a function that writes the data sets of a run below its task's folder, each once."""
    base, done = tmp_path_factory.mktemp('datasets'), set()

    def write(config):
        root = base / config.task   # the fixtures of KITTI's stereo and flow differ in size
        for use in (*config.data.mixture, *config.data.validation):
            folder = root / (use.folder or use.name)
            if (use.name, folder) not in done:
                if use.name.startswith('spring') and importlib.util.find_spec('h5py') is None:
                    pytest.skip('h5py is not installed')
                LAYOUTS[use.name](folder)
                done.add((use.name, folder))
        return root
    return write


@pytest.fixture(scope='session')
def shards(tmp_path_factory):
    """Return a folder of five pairs, as `crossview pairs` writes it."""
    folder = tmp_path_factory.mktemp('shards')
    writer = ShardWriter(folder, 0)
    for k in range(5):
        target, reference = (cv2.imencode('.jpg', view[..., ::-1])[1].tobytes()
                             for view in stereo_pair(k))
        writer.add('pairs', f'{k:08d}', {'target.jpg': target, 'reference.jpg': reference,
                                         'json': b'{}'})
    writer.close()
    write_index(folder)
    return folder


@pytest.mark.parametrize('name', RECIPES)
def test_each_recipe_takes_two_steps_of_its_smoke_run(name, datasets, shards, records, pairs,
                                                      frames, tmp_path):
    config = smoke_run(load_config(RunConfig, RECIPES[name]))
    data = {'datasets': lambda: {'root': str(datasets(config))},
            'pairs': lambda: {'folder': str(shards)}, 'rendered': dict}[config.data.source]()
    config = replace(config, data=replace(config.data, **data),
                     engine=replace(config.engine, tensorboard=False))
    recipe = tmp_path / 'run.yaml'
    recipe.write_text(dump_yaml(to_dict(config)))
    verb = next(verb for verb, tasks in TASKS_OF_VERB.items() if config.task in tasks)
    rendered = {'croco': pairs, 'simipu': frames, 'joint': frames}
    cache = rendered.get(config.task, records)[0].parent

    reports = []
    trainer = open_run(verb, recipe, [], tmp_path / 'run', cache, False, 'cpu', 0, reports.append)
    trainer.fit()

    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    assert trainer.step == config.steps == 2
    losses = [line['loss'] for line in logged if 'loss' in line]
    assert losses and all(math.isfinite(loss) for loss in losses)
    measured = {k: v for line in logged for k, v in line.items() if k.startswith('val_')}
    assert measured and all(math.isfinite(value) for value in measured.values())
    assert sum(p.numel() for p in trainer.model.parameters()) < 300_000
