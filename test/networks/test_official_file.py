# SPDX-License-Identifier: Apache-2.0
"""Official files of every layout are read; whatever else comes is refused, and never run."""
import argparse
import pickle

from crossview_ros.errors import CheckpointError
from crossview_ros.networks.checkpoint import load_model, load_multi_task, load_network
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.networks.downstream import (
    ModelConfig, MultiTaskModel, one_view_model, OneViewConfig)
from crossview_ros.networks.heads import DptHeadConfig
from crossview_ros.networks.official_file import parse_call, read_official
from official_models import official_state, training_args
import pytest
import torch

ARGUMENTS = {'img_size': (64, 96), 'enc_embed_dim': 16, 'enc_depth': 2, 'enc_num_heads': 2,
             'dec_embed_dim': 24, 'dec_depth': 8, 'dec_num_heads': 2, 'pos_embed': 'RoPE100'}
CALL = ('CroCoNet(img_size=(64, 96), enc_embed_dim=16, enc_depth=2, enc_num_heads=2, '
        "dec_embed_dim=24, dec_depth=8, dec_num_heads=2, pos_embed='RoPE100')")
BACKBONE = CroCoConfig(img_size=(64, 96), enc_embed_dim=16, enc_num_layers=2, enc_num_heads=2,
                       dec_embed_dim=24, dec_num_layers=8, dec_num_heads=2, position='rope')
HEAD = DptHeadConfig(1, 'symmetric', layer_dims=(4, 6, 8, 10), feature_dim=8, last_dim=4)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes an official file."""
    def save(model, **content):
        torch.save({'model': model, **content}, tmp_path / 'file.pth')
        return tmp_path / 'file.pth'
    return save


@pytest.fixture
def completion():
    return official_state(CroCo(BACKBONE))


@pytest.fixture
def stereo():
    return official_state(MultiTaskModel(ModelConfig(BACKBONE, {'stereo': HEAD})))


def stereo_args(**changes):
    args = training_args('stereo', 'LaplacianLossBounded2()', ARGUMENTS)
    return argparse.Namespace(**{**vars(args), **changes})


@pytest.mark.parametrize('content', [
    {'croco_kwargs': ARGUMENTS},
    {'args': argparse.Namespace(model=CALL, seed=0), 'optimizer': {'state': {}}, 'scaler': {}}])
def test_each_layout_of_a_pretraining_file_names_its_architecture(write, completion, content):
    model = load_model(write(completion, **content))
    assert model.config == BACKBONE
    for name, value in official_state(model).items():
        assert torch.equal(value, completion[name])


def test_a_file_of_the_first_release_has_the_default_architecture(write):
    with torch.device('meta'):
        model = CroCo(CroCoConfig())
    # shapes are all that counts here: one zero stands for each tensor
    state = {name: torch.zeros(()).expand(value.shape)
             for name, value in official_state(model).items()}
    official = read_official(write(state))
    assert official.config == CroCoConfig() and official.settings == {}


@pytest.mark.parametrize('loss, scale, scale_range', [
    ('L1Loss()', 'none', None),
    ('LaplacianLoss(max_gtnorm=None)', 'exp', None),
    ('LaplacianLossBounded()', 'bounded', (0.25, 4.0)),
    ('LaplacianLossBounded(256, b=5)', 'bounded', (0.25, 5.0)),
    ('LaplacianLossBounded2()', 'symmetric', (3.0, 3.0)),
    ('LaplacianLossBounded2(max_gtnorm=40., a=2.0, b=5.0)', 'symmetric', (2.0, 5.0))])
def test_the_loss_says_what_the_last_channel_means(write, loss, scale, scale_range):
    head = DptHeadConfig(2, scale, layer_dims=(4, 6, 8, 10), feature_dim=8, last_dim=4,
                         scale_range=scale_range)
    config = ModelConfig(BACKBONE, {'flow': head})
    path = write(official_state(MultiTaskModel(config)), args=training_args(
        'flow', loss, ARGUMENTS))
    assert load_multi_task(path).config == config
    image = torch.zeros(1, 3, 64, 96)
    out = load_model(path, 'flow')(image, image)
    assert out.value.shape == (1, 2, 64, 96) and (out.log_scale is None) == (scale == 'none')


def test_a_memory_that_is_not_normalised_has_no_such_weights(write, stereo):
    state = {name: value for name, value in stereo.items() if '.norm_y.' not in name}
    path = write(state, args=stereo_args(croco_args={**ARGUMENTS, 'norm_im2_in_dec': False}))
    assert not load_network(path).config.backbone.norm_memory


def test_position_tables_are_those_of_the_file_and_the_unused_one_is_ignored(write):
    backbone = CroCoConfig(**{**vars(BACKBONE), 'position': 'cosine', 'enc_num_layers': 4})
    state = official_state(one_view_model(OneViewConfig(backbone, DptHeadConfig(
        1, 'none', layer_dims=(4, 6, 8, 10), feature_dim=8, last_dim=4))))
    state['enc_pos_embed'] = torch.randn(24, 16)
    state['dec_pos_embed'] = torch.zeros(196, 24)   # of another size: it was never resampled
    model = load_model(write(state, croco_kwargs={**ARGUMENTS, 'enc_depth': 4,
                                                  'pos_embed': 'cosine'}))
    assert torch.equal(model.encoder.pos_embed, state['enc_pos_embed'])
    assert model(torch.zeros(2, 3, 64, 96)).value.shape == (2, 1, 64, 96)


@pytest.mark.parametrize('drop', ['head.dpt.act_postprocess.', 'head.dpt.act_1_postprocess.'])
def test_one_of_two_names_is_enough(write, stereo, drop):
    state = {name: value for name, value in stereo.items() if not name.startswith(drop)}
    assert len(state) < len(stereo)
    loaded = official_state(load_network(write(state, args=stereo_args())))
    assert all(torch.equal(loaded[name], value) for name, value in stereo.items())


def test_two_names_with_different_values_are_refused(write, stereo):
    name = 'head.dpt.scratch.layer_rn.2.weight'
    path = write({**stereo, name: stereo[name] + 1}, args=stereo_args())
    with pytest.raises(CheckpointError, match=r'file.pth: head.dpt.scratch.layer3_rn.weight and '
                       r'head.dpt.scratch.layer_rn.2.weight are two names of one tensor'):
        load_model(path)


def test_names_in_errors_are_those_of_the_file(write, stereo):
    state = dict(stereo)
    del state['enc_norm.weight']
    state['prediction_head.weight'] = torch.zeros(2, 2)
    state['head.dpt.head.2.bias'] = torch.zeros(5)
    with pytest.raises(CheckpointError, match=r'file.pth: .*missing enc_norm.weight; unknown '
                       r'prediction_head.weight; shape head.dpt.head.2.bias \(5,\) instead of '
                       r'\(4,\)'):
        load_model(write(state, args=stereo_args()))


@pytest.mark.parametrize('change, message', [
    ({'task': 'depth'}, "needs args.task, 'stereo' or 'flow'.*got 'depth'"),
    ({'criterion': None}, 'needs .*args.criterion; got .*None'),
    ({'criterion': 'MSELoss()'}, r"unknown loss 'MSELoss\(\)'; known: L1Loss"),
    ({'criterion': 'LaplacianLossBounded2(c=1)'}, 'unknown loss'),
    ({'criterion': 'LaplacianLossBounded2(a=None)'}, 'needs numbers for a and b'),
    ({'criterion': '__import__("os").system("true")'}, 'expected a name with literal arguments'),
    ({'criterion': 'L1Loss()'}, 'stereo with .* has 1 channels, but the head gives 2'),
    ({'task': 'flow'}, 'flow with .* has 3 channels, but the head gives 2'),
    ({'crop': [1, 2, 3]}, r'args.crop to be .height, width., got .1, 2, 3'),
    ({'croco_args': {**ARGUMENTS, 'dec_depth': 9}}, 'hooks have a default for 8, 12, 24'),
    ({'croco_args': {**ARGUMENTS, 'enc_num_heads': 0}}, 'enc_num_heads must be greater than 0'),
    ({'croco_args': {**ARGUMENTS, 'dec_depth': 10 ** 9}}, '1000000000 decoder blocks, got'),
    ({'croco_args': {**ARGUMENTS, 'dropout': 0.1}}, "unknown CroCo argument 'dropout'"),
    ({'croco_args': 'RoPE100'}, "expected 'args.croco_args' to be a dict, got 'RoPE100'")])
def test_options_that_do_not_fit_are_refused(write, stereo, change, message):
    with pytest.raises(CheckpointError, match=f'file.pth: .*{message}'):
        load_model(write(stereo, args=stereo_args(**change)))


@pytest.mark.parametrize('call', ['DUSt3R()', 'CroCoNet(64)', 'CroCoNet(**{})', 'CroCoNet',
                                  'CroCoNet(img_size=open("/etc/passwd"))', 'a.CroCoNet()', '',
                                  'CroCoNet(' * 5000])
def test_only_a_constructor_with_literal_arguments_is_read(write, completion, call):
    with pytest.raises(CheckpointError, match='file.pth: expected'):
        load_model(write(completion, args=argparse.Namespace(model=call)))


def test_a_call_is_read_without_running_it():
    assert parse_call(" f(1, 'x', a=None, b=(1, -2.5)) ") == ('f', [1, 'x'],
                                                              {'a': None, 'b': (1, -2.5)})


class Hostile:
    """An object whose unpickling writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (exec, (f'open({str(self.path)!r}, "w").write("gotcha")',))


@pytest.mark.parametrize('zipped', [True, False])
def test_nothing_in_a_hostile_file_is_run(tmp_path, zipped, completion):
    path, trace = tmp_path / 'hostile.pth', tmp_path / 'trace'
    torch.save({'model': completion, 'args': Hostile(trace)}, path,
               _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match='hostile.pth: expected weights and plain values, '
                       'but it holds something else .*was not opened') as refusal:
        load_model(path)
    assert not trace.exists()
    assert 'weights_only' not in str(refusal.value)   # torch's own advice would open the door
    if zipped:
        assert 'exec' in str(refusal.value)


def test_a_bare_pickle_is_refused_too(tmp_path):
    path, trace = tmp_path / 'bare.pth', tmp_path / 'trace'
    for protocol in (0, 2):
        path.write_bytes(pickle.dumps(Hostile(trace), protocol))
        with pytest.raises(CheckpointError, match='bare.pth: expected'):
            load_model(path)
    assert not trace.exists()


def test_the_older_file_format_of_pytorch_is_read(tmp_path, completion):
    path = tmp_path / 'old.pth'
    torch.save({'model': completion, 'croco_kwargs': ARGUMENTS}, path,
               _use_new_zipfile_serialization=False)
    assert load_model(path).config == BACKBONE


@pytest.mark.parametrize('content, message', [
    (b'', 'expected a PyTorch checkpoint, got no bytes'),
    (b'<html>404</html>', "got a file that begins with b'<htm'; is this the right file"),
    (b'\x89PNG\r\n\x1a\n' + bytes(50), 'expected a PyTorch checkpoint'),
    (b'PK\x03\x04' + bytes(50), 'its end is missing; fetch it again'),
    (b'\x80\x02' + bytes(50), 'bad.pth: expected')])
def test_what_is_no_checkpoint_is_refused(tmp_path, content, message):
    (tmp_path / 'bad.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=f'bad.pth: .*{message}|{message}'):
        load_model(tmp_path / 'bad.pth')


def test_a_damaged_file_gives_one_kind_of_error(tmp_path, write, completion, rng):
    whole = write(completion, croco_kwargs=ARGUMENTS).read_bytes()
    path = tmp_path / 'damaged.pth'
    for size in rng.integers(1, len(whole), 20):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match='damaged.pth: '):
            load_model(path)
    start = whole.index(b'data.pkl') + 64   # the pickle is at the start
    for _ in range(60):
        data = bytearray(whole)
        data[start + rng.integers(2000)] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            load_model(path)   # a changed option or number may still make a network
        except CheckpointError as error:
            assert 'damaged.pth' in str(error)


@pytest.mark.parametrize('content, message', [
    ({'state_dict': {}}, r"weights in 'model', got the entries \['state_dict'\]"),
    ([1, 2], "weights in 'model', got a list"),
    ({'model': [1]}, "weights in 'model', got the entries"),
    ({'model': {'mask_token': 'x'}}, "a tensor of floats for 'mask_token', got str"),
    ({'model': {'mask_token': torch.zeros(1, dtype=torch.int64)}}, 'got torch.int64'),
    ({'model': {'backbone.conv1.weight': torch.zeros(1)}}, 'got unknown backbone.conv1.weight'),
    ({'model': {}, 'args': 3}, "expected 'args' to be the options .*got a int"),
    ({'model': {}}, 'expected the weights of 12 encoder and 8 decoder blocks, got 0')])
def test_other_checkpoints_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=f'other.pth: .*{message}'):
        load_model(tmp_path / 'other.pth')


def test_a_task_that_the_file_lacks_is_refused(write, stereo, completion):
    path = write(stereo, args=stereo_args())
    assert load_model(path, 'stereo').head.config == HEAD
    with pytest.raises(CheckpointError, match=r"file.pth' has no task 'flow'; it has \['stereo'"):
        load_model(path, 'flow')
    path = write(completion, croco_kwargs=ARGUMENTS)
    with pytest.raises(CheckpointError, match="is a pre-training model, which has no task 'flow'"):
        load_model(path, 'flow')
    with pytest.raises(CheckpointError, match='two views with heads, got a CroCo'):
        load_multi_task(path)


def test_a_folder_without_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match='neither a model folder'):
        load_model(tmp_path)


def test_a_loaded_model_outlives_its_file(write, completion):
    path = write(completion, croco_kwargs=ARGUMENTS)
    model = load_model(path)
    with path.open('r+b') as file:   # the same pages of the disk
        file.write(bytes(path.stat().st_size))
    assert torch.equal(model.head.weight, completion['prediction_head.weight'])
