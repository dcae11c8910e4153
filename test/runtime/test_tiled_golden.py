# SPDX-License-Identifier: Apache-2.0
"""Tiled inference gives the numbers of the reference, from uint8 images to the merged maps."""
from crossview_ros.geometry.tiling import TileLayout
from crossview_ros.runtime.backends import BackendOptions, open_backend
from crossview_ros.runtime.manifest import TilingSpec
from crossview_ros.runtime.options import PerceptionOptions
from crossview_ros.runtime.tiled_inference import make_inference
from dpt_folders import GOLDEN, golden_network, load_golden, load_official, write_folder
import numpy as np
import pytest

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
TOLERANCE = 1e-4        # README: reduced-head outputs may be held to it
# A float64 network is 9.6e-4 from the float32 reference: raw values of up to 29 px, whose weights
# e^(-15 tanh(c / 6)) amplify the rounding of c. Float32 gives 4e-4 (README: 5e-4).
TOLERANCE_FULL = 1e-3


def merged(folder, manifest, task, images, **options):
    """Return the prediction at the images' size and the blended raw log_scale."""
    backend = open_backend('torch', folder, manifest, BackendOptions('cpu'))
    inference = make_inference(backend, manifest,
                               PerceptionOptions(inference_mode='tiled', **options))
    views = [inference.encode(inference.prepare(image), [task]) for image in images]
    prediction = inference.predict(task, *views)
    value, log_scale = inference.restore(task, prediction)
    assert log_scale.shape == value.shape[:2] == images[0].shape[:2]
    return value.reshape(*value.shape[:2], -1).transpose(2, 0, 1), prediction.log_scale[0]


def to_uint8(normalised):
    """Undo the normalisation of a (1, 3, H, W) image, which was made of whole grey levels."""
    image = (normalised[0].transpose(1, 2, 0) * STD + MEAN) * 255
    whole = np.rint(image)
    assert np.abs(image - whole).max() < 1e-4
    return whole.astype(np.uint8)


@pytest.mark.parametrize('task, num', [*(('stereo', num) for num in range(4)),
                                       *(('flow', num) for num in range(2))])
@pytest.mark.parametrize('tile_batch', [1, 4])
def test_merged_maps_are_the_references(shared_dir, tmp_path, task, num, tile_batch):
    meta, data = load_golden(shared_dir / GOLDEN / f'tiled_{task}.npz')
    weights = {key[3:]: value for key, value in data.items() if key.startswith('sd/')}
    job = meta['jobs'][num]
    manifest = write_folder(
        tmp_path, {task: golden_network(task, meta['kwargs'], meta['head'], weights)},
        {task: meta['crop']}, tiling={task: {
            'window_hw': meta['crop'], 'overlap': job['overlap'], 'weight': job['mode']}})
    images = [to_uint8(data[f'j{num}/img{i}']) for i in (1, 2)]
    value, log_scale = merged(tmp_path, manifest, task, images, tile_batch=tile_batch)
    assert log_scale.shape[1:] == tuple(job['scaled_size'])
    np.testing.assert_allclose(value, data[f'j{num}/out_pred'][0], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(log_scale, data[f'j{num}/out_conf'], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize('name', ['tiled_stereo', 'tiled_flow'])
def test_windows_lie_where_the_references_do(shared_dir, name):
    meta, data = load_golden(shared_dir / GOLDEN / f'{name}.npz')
    for num, job in enumerate(meta['jobs']):
        spec = TilingSpec(tuple(meta['crop']), job['overlap'])
        layout = TileLayout.create((job['H'], job['W']), spec)
        assert layout.scaled_hw == tuple(job['scaled_size'])
        rows, cols = data[f'j{num}/offsets_y'], data[f'j{num}/offsets_x']
        assert layout.corners == tuple((y, x) for y in rows for x in cols)


@pytest.mark.parametrize('name, tolerance', [
    ('ckpt_stereo', TOLERANCE), ('ckpt_flow', TOLERANCE),
    ('ckpt_stereo_fullhead', TOLERANCE_FULL)])
def test_a_checkpoint_gives_its_expected_merged_maps(shared_dir, tmp_path, name, tolerance):
    folder = shared_dir / GOLDEN
    meta, data = load_golden(folder / f'{name}_expected.npz')
    task = meta['task']
    network = golden_network(task, meta['croco_args'], meta['head'],
                             load_official(folder / meta['file'], tmp_path))
    manifest = write_folder(tmp_path / 'model', {task: network}, {task: meta['crop']},
                            tiling={task: {'window_hw': meta['crop'],
                                           'weight': meta['tile_conf_mode']}})
    value, log_scale = merged(tmp_path / 'model', manifest, task,
                              [data[f'in/img{i}_u8'][0] for i in (1, 2)],
                              tile_overlap=meta['overlap'])
    np.testing.assert_allclose(value, data['out/tiled_pred'][0], atol=tolerance, rtol=0)
    np.testing.assert_allclose(log_scale, data['out/tiled_conf'], atol=tolerance, rtol=0)
