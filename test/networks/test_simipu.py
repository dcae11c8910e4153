# SPDX-License-Identifier: Apache-2.0
"""Promises of SimIPU: one step of the reference, its variants, and what the fixes change."""
from dataclasses import replace
import json

from crossview_ros.config import from_dict, to_dict
from crossview_ros.networks.croco import CroCoConfig, CroCoEncoder
from crossview_ros.networks.point_encoder import (
    LevelConfig, PointEncoderConfig, RingConfig, SamplerConfig)
from crossview_ros.networks.resnet import ResNetConfig
from crossview_ros.networks.simipu import (
    CloudAndImage, Geometry, MomentumConfig, SimIPU, SimIPUConfig)
from crossview_ros.networks.simipu_keys import from_official_key
from crossview_ros.training.contrastive_losses import match_points, simipu_losses
import numpy as np
import pytest
import simipu_golden as golden
import torch

POINTS = PointEncoderConfig(1, (LevelConfig((SamplerConfig('distance', 16),),
                                            (RingConfig(0.5, 4, (4, 8)),), 12),))
SMALL = SimIPUConfig(resnet=ResNetConfig((1, 1, 1, 1), width=4), points=POINTS, project_dim=8)
VIT = CroCoConfig(enc_embed_dim=24, enc_num_layers=2, enc_num_heads=2, dec_embed_dim=16,
                  dec_num_layers=1, dec_num_heads=2, position='rope')


def step_model(data, momentum):
    """Build the projectors of the step files around branches that are not run."""
    level = LevelConfig((SamplerConfig('distance', 4),), (RingConfig(1.0, 2, (2,)),), 1024)
    config = SimIPUConfig(resnet=ResNetConfig((1, 1, 1, 1)),
                          points=PointEncoderConfig(1, (level,)), project_hidden=16,
                          project_dim=8, reference='faithful', momentum=momentum)
    model = SimIPU(config).train()
    result = model.load_state_dict(golden.weights(data, from_official_key), strict=False)
    assert not result.unexpected_keys
    return model


def step_inputs(data):
    encoded = CloudAndImage(*(golden.tensor(data, name).requires_grad_('feat' in name)
                              for name in ('img_feat', 'xyz_ori', 'feat_ori', 'xyz_t', 'feat_t')))
    metas = [f'meta{i}_' for i in range(2)]
    back = [golden.point_transform(data, meta).lidar_from_view()[:3] for meta in metas]
    images = [golden.image_transform(data[f'{meta}scale_factor'][:2], bool(data[f'{meta}flip']),
                                     int(data[f'{meta}img_shape'][1])) for meta in metas]
    return encoded, Geometry(
        torch.tensor(np.array(back, np.float32)),
        torch.stack([golden.tensor(data, f'{meta}lidar2img')[:3] for meta in metas]),
        torch.stack(images),
        torch.tensor(np.array([data[f'{meta}pad_shape'][:2] for meta in metas])),
        torch.tensor(data['img_feat'].shape[-2:]) * 32)


@pytest.mark.parametrize('name, momentum', [('b_pretrain_step', None),
                                            ('b_pretrain_step_moco', MomentumConfig(96))])
def test_one_step_is_that_of_the_reference(shared_dir, name, momentum):
    data = golden.load(shared_dir, name)
    model = step_model(data, momentum)
    encoded, geometry = step_inputs(data)
    if momentum:
        model.queue.copy_(golden.tensor(data, 'queue_before'))
    output = model.project(encoded, geometry)
    terms = simipu_losses(output, float(data['T']))
    check_pairs(data, output)
    for ours, official in (('inter', 'cross_loss'), ('intra', 'intro_loss'),
                           ('inter_top10th_percent', 'cross_acc_top1'),
                           ('inter_top_half_percent', 'cross_acc_top5'),
                           ('intra_top1_percent', 'intro_acc_top1'),
                           ('intra_top5_percent', 'intro_acc_top5')):
        # README: losses 1e-4
        assert float(terms[ours].detach()) == pytest.approx(np.ravel(
            data[f'out_{official}'])[0], abs=1e-4)
    check_gradients(data, model, encoded, terms)
    state = model.state_dict()
    for key, value in golden.weights(data, from_official_key, 'bn_after.').items():
        np.testing.assert_allclose(state[key], value, atol=1e-4, rtol=1e-4, err_msg=key)
    if momentum:
        model.enqueue(output.features)
        np.testing.assert_array_equal(model.queue, data['queue_after'])
        np.testing.assert_array_equal(model.queue_ptr, data['queue_ptr_after'])


def check_pairs(data, output):
    match = match_points(output.xyz, output.view_xyz)
    for i in range(2):
        cost = torch.cdist(output.xyz[i], output.view_xyz[i],
                           compute_mode='donot_use_mm_for_euclid_dist')
        np.testing.assert_allclose(cost.detach(), data[f'match{i}_cost'], atol=1e-4)
        np.testing.assert_array_equal(match[i][data[f'match{i}_row']], data[f'match{i}_col'])


def check_gradients(data, model, encoded, terms):
    leaves = {'img_feat': encoded.image_map, 'feat_ori': encoded.features,
              'feat_t': encoded.view_features}
    names = [key.removeprefix('gradnorm_cross.') for key in data
             if key.startswith('gradnorm_cross.') and 'conv1x1' not in key]
    tensors = [leaves[n] if n in leaves else model.get_parameter(from_official_key(n))
               for n in names]
    for loss, official in (('inter', 'cross'), ('intra', 'intro')):
        gradients = torch.autograd.grad(terms[loss], tensors, retain_graph=True,
                                        allow_unused=True)
        norms = [-1.0 if g is None else float(g.norm()) for g in gradients]
        expected = [float(data[f'gradnorm_{official}.{n}']) for n in names]
        # README: relative 2e-3; norms that are zero by analysis are noise up to 1e-3
        np.testing.assert_allclose(norms, expected, rtol=2e-3, atol=1e-3)
        reached = [norm for norm in norms if norm >= 0]
        total = float(data[f'gradnorm_{official}_total'])
        assert np.linalg.norm(reached) == pytest.approx(total, rel=2e-3)
    for loss, leaf, key in (('inter', 'img_feat', 'grad_img_feat_ch0_8'),
                            ('intra', 'feat_ori', 'grad_feat_ori_ch0_8')):
        gradient, = torch.autograd.grad(terms[loss], leaves[leaf], retain_graph=True)
        np.testing.assert_allclose(gradient[:, :8], data[key],
                                   atol=2e-3 * np.abs(data[key]).max())


def test_keys_and_shapes_are_those_of_the_released_configuration(shared_dir):
    path = shared_dir / 'reference/golden/simipu_facts/statedict_pretrain_full.json'
    official = {from_official_key(key): tuple(entry['shape'])
                for key, entry in json.loads(path.read_text())['keys'].items()}
    del official[None]   # the unused convolutions
    with torch.device('meta'):
        state = SimIPU(SimIPUConfig()).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == official


def test_keys_of_the_variants_have_their_place():
    config = replace(SMALL, momentum=MomentumConfig(96), inter_loss='simsiam')
    state = SimIPU(config).state_dict()
    for official in ('pts_backbone_k.SA_modules.0.mlps.0.layer1.bn.running_var', 'queue',
                     'queue_ptr', 'pts_backbone_k.aggregation_mlps.0.conv.weight',
                     'mlp_cross_img_pred.layer3.1.bias', 'mlp_cross_pts_pred.layer1.0.weight'):
        assert from_official_key(official) in state
    assert from_official_key('img_backbone_k.conv1.weight') is None


def random_batch(batch=2, image_hw=(64, 96)):
    """Return a batch whose images fill it only in part."""
    eye = torch.eye(4)[:3].expand(batch, -1, -1)
    rows, cols = image_hw
    camera = torch.tensor([[0, -50.0, 0, 0], [0, 0, -50, 0], [1, 0, 0, 0]])
    camera[0] += camera[2] * cols / 2
    camera[1] += camera[2] * rows / 2
    points = torch.rand(batch, 40, 4) * torch.tensor([4.0, 4, 2, 1])
    points += torch.tensor([6.0, -2, -1, 0])
    return {'image': torch.randn(batch, 3, *image_hw), 'points': points,
            'view_points': points.flip(1), 'lidar_from_view': eye,
            'lidar_to_image': camera.expand(batch, -1, -1),
            'image_transform': torch.eye(2, 3).expand(batch, -1, -1),
            'pad_hw': torch.tensor([list(image_hw)] * (batch - 1) + [[32, 64]])}


def losses_of(config, batch, seed=0):
    torch.manual_seed(seed)
    model = SimIPU(config)
    return model, simipu_losses(model(batch))


def trained_by(model, loss):
    """Name the parts that a loss moves."""
    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, [p for p in named.values() if p.requires_grad],
                                    retain_graph=True, allow_unused=True)
    names = [name for name, p in named.items() if p.requires_grad]
    return {name.split('.')[0] for name, g in zip(names, gradients) if g is not None}


def test_each_loss_trains_what_the_reference_says_and_the_fix_adds_the_point_side():
    batch = random_batch()
    for reference, inter_parts in (
            ('faithful', {'image_branch', 'image_inter'}),
            ('fixed', {'image_branch', 'image_inter', 'point_branch', 'point_inter'})):
        model, terms = losses_of(replace(SMALL, reference=reference), batch)
        assert trained_by(model, terms['inter']) == inter_parts
        assert trained_by(model, terms['intra']) == {'point_branch', 'point_intra'}


def test_the_fix_changes_no_value_where_all_images_fill_the_batch():
    batch = random_batch()
    batch['pad_hw'] = torch.tensor([[64, 96], [64, 96]])
    _, faithful = losses_of(replace(SMALL, reference='faithful'), batch)
    _, fixed = losses_of(SMALL, batch)
    torch.testing.assert_close(fixed['inter'], faithful['inter'], atol=1e-6, rtol=0)


def test_the_fix_looks_features_up_where_the_image_lies_in_the_batch():
    # A map that tells its own column: cell k of a 96 px wide batch says k
    model = SimIPU(SMALL).eval()
    model.image_inter = torch.nn.Identity()
    seen = {}
    for reference in ('fixed', 'faithful'):
        model.config = replace(SMALL, reference=reference)
        columns = torch.arange(4.0).expand(1, 1, 3, 4)
        encoded = CloudAndImage(columns, torch.tensor([[[2.0, 0, 0]] * 2]), torch.zeros(1, 12, 2),
                                torch.zeros(1, 2, 3), torch.zeros(1, 12, 2))
        camera = torch.tensor([[[32.0, 0, 0, 0], [32, 0, 0, 0], [1, 0, 0, 0]]])   # u = v = 32
        geometry = Geometry(torch.eye(4)[None, :3], camera, torch.eye(2, 3)[None],
                            torch.tensor([[64, 64]]), torch.tensor([96, 128]))
        seen[reference] = model.project(encoded, geometry).inter_query[0, 0]
    # u / width * (columns - 1)
    assert float(seen['fixed']) == pytest.approx(32 / 128 * 3)
    assert float(seen['faithful']) == pytest.approx(32 / 64 * 3)


def test_the_vit_of_croco_serves_as_image_branch_and_goes_back():
    config = replace(SMALL, resnet=None, vit=VIT)
    model, terms = losses_of(config, random_batch())
    assert 'image_branch' in trained_by(model, terms['inter'])
    encoder = CroCoEncoder(VIT)
    encoder.load_state_dict(model.image_branch.state_dict())   # strict
    image = torch.randn(1, 3, 32, 64)
    expected = encoder(image).tokens[-1][0].T.reshape(24, 2, 4)   # rows of patches
    torch.testing.assert_close(model.image_map(image)[0], expected)


def test_the_key_branch_follows_slowly_and_only_in_training():
    model = SimIPU(replace(SMALL, momentum=MomentumConfig(64, decay=0.75)))
    weight = model.point_branch.levels[0].aggregate.conv.weight
    slow = model.point_branch_key.levels[0].aggregate.conv.weight
    start = slow.clone()
    with torch.no_grad():
        weight += 1.0
    batch = random_batch()
    model.eval()(batch)
    assert torch.equal(slow, start)
    model.train()(batch)
    torch.testing.assert_close(slow, start + 0.25)
    assert not slow.requires_grad


def test_the_queue_keeps_the_newest_rows_and_adds_negatives():
    model = SimIPU(replace(SMALL, momentum=MomentumConfig(64)))
    # each column has unit length when drawn
    torch.testing.assert_close(model.queue.norm(dim=0), torch.ones(12))
    output = model(random_batch())
    assert output.queue.shape == (64, 8)
    for value in (1.0, 2.0, 3.0):
        model.enqueue(torch.full((2, 12, 16), value))   # 32 rows
    assert model.queue[:, 0].tolist() == [3.0] * 32 + [2.0] * 32
    simipu_losses(output)['intra'].backward()   # what came since does not disturb the gradient
    with pytest.raises(ValueError, match='multiple'):
        model.enqueue(torch.zeros(1, 12, 24))


def test_predictors_of_the_crosswise_loss_get_no_gradient():
    model, terms = losses_of(replace(SMALL, inter_loss='simsiam', reference='faithful'),
                             random_batch())
    assert trained_by(model, terms['inter']) \
        == {'image_branch', 'image_inter', 'point_branch', 'point_inter'}


def test_a_step_lowers_the_losses():
    batch = random_batch()
    torch.manual_seed(0)
    model = SimIPU(SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    totals = []
    for _ in range(15):
        terms = simipu_losses(model(batch))
        loss = terms['intra'] + terms['inter']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(float(loss.detach()))
    assert np.isfinite(totals).all() and totals[-1] < 0.8 * totals[0]


@pytest.mark.parametrize('config', [SMALL, replace(SMALL, resnet=None, vit=VIT),
                                    replace(SMALL, momentum=MomentumConfig(64))])
def test_the_config_survives_being_written(config):
    assert from_dict(SimIPUConfig, to_dict(config)) == config


def test_one_image_branch_is_asked_for():
    for branches in ({'resnet': None}, {'vit': VIT}):
        with pytest.raises(ValueError, match='one image branch'):
            SimIPUConfig(**branches)
