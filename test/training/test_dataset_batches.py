# SPDX-License-Identifier: Apache-2.0
"""Promises of batches from disk: repeatable, augmented, in the units of the images shown."""
from crossview_ros.config import from_dict
from crossview_ros.data.pair_shards import ShardWriter, write_index
from crossview_ros.errors import ConfigError, DatasetError
from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.networks.presets import crossview_tiny_croco
from crossview_ros.training.dataset_batches import open_dataset_batches
from crossview_ros.training.pairs import PairFileBatches
from crossview_ros.training.run_config import RunConfig
import cv2
from layouts import LAYOUTS
import numpy as np
import pytest
from textured_pairs import DISPARITY, FLOW, stereo_pair
import torch

KINDS = {'stereo': ('eth3d', {'left', 'right', 'disparity'}),
         'flow': ('sintel_flow', {'previous', 'left', 'flow'}),
         'depth': ('kitti_depth', {'left', 'depth', 'focal'}),
         'croco': ('habitat_pairs', {'target', 'reference'})}
TRUTH = {'disparity': 1, 'flow': 2, 'depth': 1}
SHAPES = {'focal': (3,)}


@pytest.fixture
def open_batches(tmp_path):
    """Return a function that opens the batches of a task on a written data set."""
    def open_all(task, **data):
        name = data.pop('name', None) or KINDS[task][0]
        root = tmp_path / 'sets'
        if not (root / name).exists():
            root.mkdir(exist_ok=True)
            LAYOUTS[name](root / name)
        split = 'selection' if name == 'kitti_depth' else 'train'
        use = {'name': name, 'split': split, 'repeat': 2, 'options': {}}
        config = from_dict(RunConfig, {
            'task': task, 'steps': 1, 'batch_size': 3, 'seed': 4, 'data': {
                'source': 'datasets', 'root': str(root), 'mixture': (use,), 'validation': (use,),
                'crop_hw': (32, 48), 'workers': 2, **data}}, 'test')
        return open_dataset_batches(config, Normalisation())
    return open_all


@pytest.mark.parametrize('task', KINDS)
def test_a_batch_is_a_function_of_seed_and_step_alone(open_batches, task):
    batches = open_batches(task)
    late = batches.training_batch(7)
    again = open_batches(task, workers=1)   # as a resumed run: nothing was read before
    assert late.keys() == KINDS[task][1]
    for name, value in again.training_batch(7).items():
        assert torch.equal(value.nan_to_num(-1), late[name].nan_to_num(-1)), name
        assert value.shape == SHAPES.get(name, (3, TRUTH.get(name, 3), 32, 48)), name
        assert value.dtype == torch.float32
    other = batches.training_batch(8)
    assert any(not torch.equal(other[name], late[name]) for name in KINDS[task][1])


def test_equal_samples_of_a_batch_are_augmented_each_in_its_own_way(open_batches):
    batches = open_batches('stereo')
    twins = next(step for step in range(50) if len({p % 3 for p in batches._places(step)}) < 3)
    batch = batches.training_batch(twins)
    places = [place % 3 for place in batches._places(twins)]
    first, second = (i for i, p in enumerate(places) if places.count(p) > 1)
    assert not torch.equal(batch['left'][first], batch['left'][second])


def test_disparity_is_in_pixels_of_the_stretched_image(open_batches):
    batches = open_batches('stereo', crop_hw=(32, 128))   # images are 64 wide
    seen = set()
    for step in range(10):
        disparity = batches.training_batch(step)['disparity']
        seen |= {round(v, 3) for v in disparity[disparity.isfinite()].unique().tolist()}
    least = DISPARITY * (128 + 8) / 64   # stretched at least to the crop and 8 px
    assert min(seen) == pytest.approx(least, abs=2e-3)


def test_validation_shows_the_middle_as_it_is_once(open_batches):
    batches = open_batches('flow', num_validation=5)
    parts = list(batches.validation_batches(2))
    assert [len(part['flow']) for part in parts] == [2, 2, 1]
    flow = torch.cat([part['flow'] for part in parts])
    known = flow.isfinite()
    expected = torch.tensor(FLOW).view(1, 2, 1, 1).expand_as(flow)
    torch.testing.assert_close(flow[known], expected[known], atol=1e-2, rtol=0)
    sample = batches.validation[0]
    norm = Normalisation()
    mean, std = (np.array(v).reshape(3, 1, 1) for v in (norm.mean, norm.std))
    shown = (sample.image1[8:40, 8:56].transpose(2, 0, 1) / 255 - mean) / std
    np.testing.assert_allclose(parts[0]['previous'][0], shown, atol=1e-5)
    again = list(batches.validation_batches(2))
    assert all(torch.equal(a['left'], b['left']) for a, b in zip(parts, again))


def test_published_views_of_depth_are_cut_from_training_and_validation(open_batches):
    batches = open_batches('depth', monocular={'bottom_hw': (40, 60), 'flip_x_probability': 1.0,
                                               'rotation_probability': 0.0,
                                               'colour_probability': 0.0})
    shown = next(batches.validation_batches(2))
    sample = batches.validation[0]
    rows, cols = sample.depth.shape
    left = (cols - 60) // 2
    assert shown['left'].shape == (2, 3, 40, 60)
    np.testing.assert_array_equal(shown['depth'][0, 0],
                                  sample.depth[rows - 40:, left:left + 60])
    assert batches.training_batch(0)['left'].shape == (3, 3, 32, 48)
    plain = open_batches('depth', monocular={'rotation_probability': 0.0,
                                             'flip_x_probability': 0.0,
                                             'colour_probability': 0.0})
    assert next(plain.validation_batches(1))['left'].shape[-2:] == (rows, cols)
    window = plain.training_batch(0)['left'][0]
    norm = Normalisation()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (norm.mean, norm.std))
    window = ((window * std + mean) * 255).round().numpy().transpose(1, 2, 0)
    image = plain.training[plain._places(0)[0]].image
    assert any((image[y:y + 32, x:x + 48] == window).all()
               for y in range(rows - 31) for x in range(cols - 47))
    with pytest.raises(ConfigError, match="data.monocular is for task depth, got task 'flow'"):
        open_batches('flow', monocular={})


def test_a_network_that_takes_bgr_gets_it(open_batches):
    batches = open_batches('depth')
    rgb = next(batches.validation_batches(1))['left']
    norm = batches.normalisation
    batches.normalisation = Normalisation(norm.mean[::-1], norm.std[::-1], 'bgr')
    torch.testing.assert_close(next(batches.validation_batches(1))['left'], rgb.flip(1))


def test_damage_ends_the_run_or_is_skipped_and_counted(open_batches, tmp_path):
    open_batches('stereo')
    (tmp_path / 'sets/eth3d/two_view_training/electro_3l/im1.png').unlink()
    with pytest.raises(DatasetError, match='electro_3l/im1.png'):
        for step in range(2):   # an epoch of 6 places
            open_batches('stereo').training_batch(step)
    batches = open_batches('stereo', skip_damaged=True)
    assert batches.num_skipped == 0
    for step in range(2):
        assert torch.isfinite(batches.training_batch(step)['left']).all()
    assert batches.num_skipped == 1


def test_samples_of_another_kind_and_tasks_without_data_sets_are_refused(open_batches):
    with pytest.raises(ConfigError, match="task 'stereo' needs a StereoSample, but 'clean/alley"):
        open_batches('stereo', name='sintel_flow').training_batch(0)
    with pytest.raises(ConfigError, match="task 'pose' trains on rendered records only"):
        open_batches('pose', name='eth3d')
    with pytest.raises(ConfigError, match='must hold a batch of 3'):
        open_batches('stereo', epoch_size=2)


def test_pairs_of_bags_are_read_masked_and_held_out_at_the_end(tmp_path):
    writer = ShardWriter(tmp_path, 0)
    for k in range(6):
        views = [cv2.imencode('.png', view[..., ::-1])[1].tobytes() for view in stereo_pair(k)]
        writer.add('pairs', f'{k:08d}', {'target.jpg': views[0], 'reference.jpg': views[1],
                                         'json': b'{}'})
    writer.close()
    write_index(tmp_path)
    config = from_dict(RunConfig, {'task': 'croco', 'steps': 1, 'batch_size': 2, 'data': {
        'source': 'pairs', 'folder': str(tmp_path), 'crop_hw': (32, 48), 'num_validation': 3}},
        'test')
    architecture = crossview_tiny_croco()
    views = open_dataset_batches(config, Normalisation())
    batches = PairFileBatches(views, architecture)

    assert len(views.training) == len(views.validation) == 3
    np.testing.assert_array_equal(views.validation[0].target, stereo_pair(3)[0])
    batch, again = (batches.training_batch(5) for _ in range(2))
    assert batch['mask'].sum(1).tolist() == [5, 5]   # int(0.9 * 2 * 3)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    assert not torch.equal(batch['mask'], batches.training_batch(6)['mask'])
    held = list(batches.validation_batches(2))
    references = torch.cat([part['reference'] for part in held])
    wrong = torch.cat([part['wrong_reference'] for part in held])
    assert torch.equal(wrong, references.roll(-1, 0)) and len(references) == 3
    with pytest.raises(ConfigError, match='holds 6 pairs: too few'):
        open_dataset_batches(from_dict(RunConfig, {
            'task': 'croco', 'steps': 1, 'batch_size': 4, 'data': {
                'source': 'pairs', 'folder': str(tmp_path), 'num_validation': 3}}, 'test'),
            Normalisation())
