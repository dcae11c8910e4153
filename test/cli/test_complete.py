# SPDX-License-Identifier: Apache-2.0
"""The verb complete: the picture, the numbers, and what it refuses."""
from crossview_ros.cli.complete import complete, load_completion, working_size
from crossview_ros.cli.main import main
from crossview_ros.config import from_dict, to_dict
from crossview_ros.data.io import read_image, write_image
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import MatchingHeadConfig
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
import numpy as np
import pytest
import torch

SMALL = {'patch_size': 8, 'enc_embed_dim': 16, 'enc_num_layers': 1, 'enc_num_heads': 2,
         'dec_embed_dim': 16, 'dec_num_layers': 1, 'dec_num_heads': 2, 'img_size': (32, 48)}


def save_run(folder, task, model):
    run = RunFolder(folder)
    config = from_dict(RunConfig, {'task': task, 'steps': 1}, 'test')
    run.create(config)
    run.save({'config': to_dict(config), 'architecture': to_dict(model.config),
              'average': model.state_dict(), 'step': 1, 'elapsed_s': 1.0, 'best_score': 1.0})
    return folder


@pytest.fixture
def model():
    torch.manual_seed(0)
    return CroCo(CroCoConfig(position='rope', **SMALL)).eval()


@pytest.fixture
def images(tmp_path):
    """Write two random images of 50 x 80 pixels."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f'{name}.png' for name in ('target', 'reference')]
    for path in paths:
        write_image(path, rng.integers(0, 256, (50, 80, 3), dtype=np.uint8))
    return paths


def test_the_verb_writes_a_picture_and_prints_the_scores(model, images, tmp_path, capsys):
    run = save_run(tmp_path / 'run', 'croco', model)
    picture = tmp_path / 'new' / 'picture.png'
    assert main(['complete', *map(str, images), '--model', str(run), '--out', str(picture),
                 '--mask-ratio', '0.5']) == 0
    out = capsys.readouterr().out
    # short side 50 -> 32, long side 80 -> 51, cut to a multiple of 8
    assert '32x48 (h x w)' in out and '12 of 24 patches' in out
    assert 'loss of hidden patches' in out and 'PSNR of hidden patches' in out and 'dB' in out
    rows, cols = read_image(picture).shape[:2]
    assert cols > 4 * rows > 400   # four panels side by side, large enough to look at
    assert {path.name for path in tmp_path.glob('**/*.png')} == {
        'target.png', 'reference.png', 'picture.png'}


def test_panels_show_what_they_say(model, images):
    target, reference = map(read_image, images)
    panels = complete(model, target, reference, 0.5, seed=3).panels
    assert list(panels) == ['masked target', 'reference', 'completion', 'truth']
    assert all(panel.shape == (32, 48, 3) for panel in panels.values())
    hidden = (panels['masked target'] == np.rint(
        255 * np.array([0.485, 0.456, 0.406]))).all(2)
    assert hidden.mean() == 0.5
    for name in ('masked target', 'completion'):
        assert np.array_equal(panels[name][~hidden], panels['truth'][~hidden])
    assert (panels['completion'][hidden] != panels['truth'][hidden]).mean() > 0.5


def test_masks_follow_from_the_seed_and_the_share_of_the_model(model, images):
    target, reference = map(read_image, images)
    results = [complete(model, target, reference, seed=seed) for seed in (0, 0, 1)]
    masked = [result.panels['masked target'] for result in results]
    assert np.array_equal(masked[0], masked[1]) and not np.array_equal(masked[0], masked[2])
    assert results[0].num_hidden == int(0.9 * 24)


def test_scores_are_those_of_the_picture(model, images):
    target, reference = map(read_image, images)
    result = complete(model, target, reference, 0.5)
    scores = {label: value for label, value, _ in result.scores}
    hidden = (result.panels['masked target'] != result.panels['truth']).any(2)
    hidden = np.kron(hidden.reshape(4, 8, 6, 8).any((1, 3)), np.ones((8, 8), bool))
    error = (result.panels['completion'].astype(float) - result.panels['truth'])[hidden]
    assert scores['PSNR of hidden patches'] == pytest.approx(
        10 * np.log10(255 ** 2 / np.mean(error ** 2)), abs=1e-6)
    assert 0.5 < scores['loss of hidden patches'] < 10   # untrained: about 1 and the output's own


@pytest.mark.parametrize('position, size_hw, expected', [
    ('cosine', (480, 640), (32, 48)),    # one size only
    ('rope', (480, 640), (32, 40)),      # 42.7 cut to a multiple of 8
    ('rope', (640, 480), (40, 32)),
    ('rope', (16, 16), (32, 32))])
def test_the_working_size_is_one_that_the_network_takes(position, size_hw, expected):
    assert working_size(CroCoConfig(position=position, **SMALL), size_hw) == expected


def test_a_cosine_model_takes_images_of_any_size():
    model = CroCo(CroCoConfig(**SMALL)).eval()
    target, reference = np.zeros((70, 30, 3), np.uint8), np.zeros((20, 90, 3), np.uint8)
    assert complete(model, target, reference).panels['completion'].shape == (32, 48, 3)


def test_a_run_gives_its_averaged_weights(model, tmp_path):
    loaded = load_completion(str(save_run(tmp_path / 'run', 'croco', model)))
    assert loaded.config == model.config and not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_other_models_are_refused(images, tmp_path, capsys):
    sizes = {'feature_dim': 16, 'hidden_dim': 8, 'fine_hidden_dim': 8, 'fine_dim': 8}
    backbone = CroCoConfig(**{**SMALL, 'patch_size': 16}, position='rope', stem='conv',
                           stem_dims=(8, 8, 16))
    stereo = MultiTaskModel(ModelConfig(backbone, {
        'stereo': MatchingHeadConfig('row', fine_radius=2, **sizes)}))
    run = save_run(tmp_path / 'stereo', 'stereo', stereo)
    for name in (str(run), 'crossview_tiny'):
        assert main(['complete', *map(str, images), '--model', name, '--out',
                     str(tmp_path / 'x.png')]) == 1
        assert f"'{name}' is no pre-training model" in capsys.readouterr().err


def test_files_that_are_no_images_and_wrong_shares_are_told(model, images, tmp_path, capsys):
    run = save_run(tmp_path / 'run', 'croco', model)
    rubbish = tmp_path / 'rubbish.png'
    rubbish.write_bytes(b'no image')
    rest = ['--model', str(run), '--out', str(tmp_path / 'x.png')]
    assert main(['complete', str(images[0]), str(rubbish), *rest]) == 1
    assert 'rubbish.png' in capsys.readouterr().err
    assert main(['complete', *map(str, images), *rest, '--mask-ratio', '1.5']) == 2
    assert 'a share between 0 and 1, got 1.5' in capsys.readouterr().err
    assert main(['complete', *map(str, images), *rest, '--mask-ratio', '0.01']) == 1
    assert 'hides none of the 24 patches' in capsys.readouterr().err
