# SPDX-License-Identifier: Apache-2.0
"""Depth of one view through the verb evaluate: golden figures, crops, flips, data sets."""
import json

from crossview_ros.cli.main import main
from crossview_ros.data import io
from crossview_ros.networks.checkpoint import save_weights
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import one_view_model, OneViewConfig
from crossview_ros.networks.heads import DptHeadConfig
from crossview_ros.networks.heads.dense_depth import DenseDepthConfig
from crossview_ros.networks.image_encoder import SIMIPU_NORMALISATION
from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.networks.resnet import ResNetConfig
from crossview_ros.networks.resnet_depth import ResNetDepthConfig, ResNetDepthModel
import numpy as np
import pytest
import simipu_golden as golden
import torch

OFFICIAL = {'a1': 'd1', 'a2': 'd2', 'a3': 'd3', 'log_10': 'log10'}   # its names -> ours


def figures(capsys, *arguments):
    """Return the rows and the means of a run of the verb."""
    assert main(['evaluate', 'depth', *map(str, arguments), '--json']) == 0
    data = json.loads(capsys.readouterr().out)
    plain = [{name: metric['value'] for name, metric in row['metrics'].items()}
             for row in (*data['scores'], *data['mean'])]
    return plain[:-1], plain[-1]


def expected(data, key):
    return {OFFICIAL.get(str(name), str(name)): pytest.approx(value, abs=1e-4)
            for name, value in zip(data['metric_names'], data[key])}


@pytest.mark.parametrize('crop', ['garg', 'eigen'])
def test_the_kitti_protocol_on_files_is_that_of_the_reference(shared_dir, tmp_path, capsys, crop):
    data = golden.load(shared_dir, 'f2_kitti_eval_crop')
    for name, key in (('gt', 'gt_u16_div256'), ('pred', 'pred_u16_div256')):
        io.write_scaled_png(tmp_path / f'{name}.png', data[key].astype(np.float32) / 256)
    _, mean = figures(capsys, '--estimate', tmp_path / 'pred.png', '--truth', tmp_path / 'gt.png',
                      '--crop', crop, '--kb-crop', '--min-depth', '1e-3', '--max-depth', '80')
    assert {name: mean[name] for name in mean if name != 'coverage'} \
        == expected(data, f'metrics_{crop}')


@pytest.mark.parametrize('key, suffix, greatest', [('metrics_kitti', '', 80),
                                                   ('metrics_nyu', '_nyu', 10)])
def test_ranges_on_files_are_those_of_the_reference(shared_dir, tmp_path, capsys, key, suffix,
                                                    greatest):
    data = golden.load(shared_dir, 'f_sigloss_metrics')
    for name in ('pred', 'gt'):
        np.save(tmp_path / f'{name}.npy', data[name + suffix].reshape(-1, 40))
    _, mean = figures(capsys, '--estimate', tmp_path / 'pred.npy', '--truth', tmp_path / 'gt.npy',
                      '--max-depth', greatest)
    assert {name: mean[name] for name in mean if name != 'coverage'} == expected(data, key)


def test_means_over_a_folder_leave_images_without_truth_out(shared_dir, tmp_path, capsys):
    data = golden.load(shared_dir, 'f_sigloss_metrics')
    for name in ('pred', 'gt'):
        (tmp_path / name).mkdir()
        for i, image in enumerate((*data[name][:, 0], (name == 'pred') * data[name][0, 0])):
            np.save(tmp_path / name / f'{i}.npy', image)
    rows, mean = figures(capsys, '--estimate', tmp_path / 'pred', '--truth', tmp_path / 'gt')
    assert len(rows) == 3 and rows[2]['abs_rel'] is None
    assert {name: mean[name] for name in mean if name != 'coverage'} \
        == expected(data, 'metrics_dataset_mean_with_empty')


@pytest.fixture
def model(tmp_path):
    """Return a function that writes a narrow network, and returns it and its file."""
    def save(normalisation=Normalisation()):
        torch.manual_seed(0)
        backbone = ResNetConfig((1, 1, 1, 1), width=4, norm_eps=1e-5)
        config = ResNetDepthConfig(backbone, DenseDepthConfig(
            backbone.out_channels, (16, 12, 8, 8, 4), 20.0), normalisation)
        network = ResNetDepthModel(config).eval()
        with torch.no_grad():
            network.head.leave.weight *= 1000   # depths that vary over the image
        save_weights(tmp_path / 'depth.safetensors', config, network.state_dict(), torch.float32)
        return network, tmp_path / 'depth.safetensors'
    return save


@pytest.fixture
def listed(tmp_path):
    """Write two images of 50 x 70 px with depth, and the list that names them."""
    rng = np.random.default_rng(0)
    (tmp_path / 'set').mkdir()
    for k in range(2):
        image = np.kron(rng.integers(0, 256, (5, 7, 3)), np.ones((10, 10, 1))).astype(np.uint8)
        io.write_image(tmp_path / f'set/{k}.png', image)
        io.write_scaled_png(tmp_path / f'set/{k}_depth.png',
                            rng.uniform(2, 30, (50, 70)).astype(np.float32))
    (tmp_path / 'set/test.txt').write_text('0.png 0_depth.png 700\n1.png 1_depth.png 700\n')
    return tmp_path / 'set'


def abs_rel(depth, truth):
    known = np.isfinite(truth)
    return float((np.abs(depth - truth)[known] / truth[known]).mean())


def network_input(image, norm):
    """Normalise by hand, height and width to multiples of 32 by repeating the edge."""
    image = image[..., ::-1] if norm.channels == 'bgr' else image
    image = (image / 255.0 - np.array(norm.mean)) / np.array(norm.std)
    rows, cols = (-(-side // 32) * 32 for side in image.shape[:2])
    image = image[np.minimum(np.arange(rows), image.shape[0] - 1)]
    image = image[:, np.minimum(np.arange(cols), image.shape[1] - 1)]
    return torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))


@pytest.mark.parametrize('norm', [Normalisation(), SIMIPU_NORMALISATION])
@torch.no_grad()
def test_a_network_is_scored_on_a_data_set_with_and_without_the_mirrored_image(
        model, listed, capsys, norm):
    network, path = model(norm)
    arguments = (listed, '--dataset', 'listed_depth', '--model', path)
    plain, mean = figures(capsys, *arguments)
    flipped, _ = figures(capsys, *arguments, '--flip-test')
    assert len(plain) == 2 and mean['abs_rel'] == pytest.approx(
        (plain[0]['abs_rel'] + plain[1]['abs_rel']) / 2)
    image, truth = io.read_image(listed / '1.png'), io.read_scaled_png(listed / '1_depth.png')
    shown = network_input(image, norm)
    rows, cols = truth.shape
    once = network(shown).value
    twice = (once + network(shown.flip(-1)).value.flip(-1)) / 2
    once, twice = (depth[0, 0, :rows, :cols].numpy() for depth in (once, twice))
    assert plain[1]['abs_rel'] == pytest.approx(abs_rel(once, truth), rel=1e-4)
    assert flipped[1]['abs_rel'] == pytest.approx(abs_rel(twice, truth), rel=1e-4)
    assert plain[1]['abs_rel'] != pytest.approx(flipped[1]['abs_rel'], rel=1e-3)


@torch.no_grad()
def test_the_network_sees_the_window_at_the_bottom(model, tmp_path, capsys, rng):
    network, path = model()
    image = rng.integers(0, 256, (360, 1230, 3), dtype=np.uint8)
    truth = rng.uniform(2, 30, (360, 1230)).astype(np.float32)
    (tmp_path / 'set').mkdir()
    io.write_image(tmp_path / 'set/a.png', image)
    io.write_scaled_png(tmp_path / 'set/depth.png', truth)
    (tmp_path / 'set/test.txt').write_text('a.png depth.png 700\n')
    _, mean = figures(capsys, tmp_path / 'set', '--dataset', 'listed_depth', '--model', path,
                      '--kb-crop', '--crop', 'garg')
    truth = io.read_scaled_png(tmp_path / 'set/depth.png')[8:, 7:1223]
    depth = network(network_input(image[8:, 7:1223], Normalisation())).value[0, 0].numpy()
    assert mean['abs_rel'] == pytest.approx(abs_rel(depth[143:349, 43:1172],
                                                    truth[143:349, 43:1172]), rel=1e-4)


@torch.no_grad()
def test_the_left_images_of_pairs_serve_too(model, tmp_path, capsys, rng):
    network, path = model()
    folder = tmp_path / 'pair'
    folder.mkdir()
    image = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    for name in ('left.png', 'right.png'):
        io.write_image(folder / name, image)
    io.write_pfm(folder / 'disp_gt.pfm', np.full((64, 96), 10, np.float32))
    (folder / 'calib.json').write_text(json.dumps({
        'fx': 60, 'fy': 60, 'cx_left': 40, 'cx_right': 40, 'cy': 30, 'baseline_m': 0.5}))
    _, mean = figures(capsys, folder, '--model', path)
    depth = network(network_input(image, Normalisation())).value[0, 0].numpy()
    assert mean['abs_rel'] == pytest.approx(abs_rel(depth, np.full((64, 96), 3.0)), rel=1e-4)


@pytest.mark.parametrize('arguments, message', [
    (['{set}', '--dataset', 'listed_depth'], 'depth from one view needs --model'),
    (['{set}', '--dataset', 'nothing', '--model', '{model}'], 'expected one PATH and a data set'),
    (['{set}', '--dataset', 'listed_depth', '--model', '{model}', '--option', 'a=b'],
     "impossible options {'a': 'b'}"),
    (['{set}', '--dataset', 'listed_depth', '--split', 'nothing', '--model', '{model}'],
     "no split 'nothing'; known: test"),
    (['--estimate', 'a.png', '--truth', 'b.png', '--flip-test'], '--estimate brings answers'),
    (['{set}', '--dataset', 'listed_depth', '--model', '{croco}'], 'takes no image of 50 x 70'),
    (['{set}', '--model', '{model}', '--baseline', 'sgbm'], 'scored one after the other'),
    (['{set}', '--model', 'crossview_tiny', '--flip-test'], '--flip-test is for models of one'),
    (['{set}', '--dataset', 'listed_depth', '--model', '{model}', '--max-depth', '0.0005'],
     'min_depth < max_depth'),
    (['{set}', '--dataset', 'listed_depth', '--model', '{model}', '--kb-crop'],
     'at least 352 x 1216 px')])
def test_what_cannot_be_done_is_told_in_one_line(model, listed, capsys, arguments, message):
    _, path = model()
    backbone = CroCoConfig(img_size=(32, 32), enc_embed_dim=16, enc_num_layers=4, enc_num_heads=2)
    config = OneViewConfig(backbone, DptHeadConfig(1, 'exp', layer_dims=(4, 4, 4, 4),
                                                   feature_dim=4, last_dim=4), value='exp')
    save_weights(path.with_name('croco.safetensors'), config, one_view_model(config).state_dict())
    places = {'{set}': str(listed), '{model}': str(path),
              '{croco}': str(path.with_name('croco.safetensors'))}
    assert main(['evaluate', 'depth', *(places.get(text, text) for text in arguments)]) == 1
    error = capsys.readouterr().err
    assert message in error and 'Traceback' not in error
