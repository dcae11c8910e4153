# SPDX-License-Identifier: Apache-2.0
"""Promises of the point encoder: the reference's numbers level by level, and what it ignores."""
import json

from crossview_ros.config import from_dict, to_dict
from crossview_ros.networks.point_encoder import (
    LevelConfig, PointEncoder, PointEncoderConfig, RingConfig, SamplerConfig)
from crossview_ros.networks.simipu_keys import from_official_key
import numpy as np
import pytest
import simipu_golden as golden
import torch

TINY = PointEncoderConfig(1, (
    LevelConfig((SamplerConfig('distance', 24),), (RingConfig(0.5, 4, (4, 6)),
                                                   RingConfig(1.0, 4, (4, 8))), 8),
    LevelConfig((SamplerConfig('feature', 8, 0, 12), SamplerConfig('distance', 8, 12)),
                (RingConfig(2.0, 4, (8, 8)),), 10)))


def key_of_branch(key):
    return from_official_key(f'pts_backbone.{key}').removeprefix('point_branch.')


def test_each_level_gives_the_numbers_of_the_reference(shared_dir):
    data = golden.load(shared_dir, 'e2_encoder_small')
    encoder = PointEncoder(golden.encoder_config(json.loads(str(data['cfg_json']))['layers']))
    encoder.load_state_dict(golden.weights(data, key_of_branch))   # strict
    for mode in ('train', 'eval'):
        encoder.train(mode == 'train')
        with torch.no_grad():
            levels = encoder(golden.tensor(data, 'points'))
        for i, level in enumerate(levels):
            np.testing.assert_array_equal(level.index, data[f'{mode}_idx{i}'])
            np.testing.assert_array_equal(level.xyz, data[f'{mode}_xyz{i}'])
            # README: encoder features 2e-4
            np.testing.assert_allclose(level.features, data[f'{mode}_feat{i}'], atol=2e-4)
    state = encoder.state_dict()
    for key, value in golden.weights(data, key_of_branch, 'bn_after.').items():
        np.testing.assert_allclose(state[key], value, atol=2e-4, err_msg=key)


def test_the_released_encoder_has_its_size_and_1024_outputs():
    encoder = PointEncoder(PointEncoderConfig())
    assert sum(p.numel() for p in encoder.parameters()) == 1_778_432   # simipu.md 2
    samples = [sum(sampler.num_samples for sampler in level.samplers)
               for level in encoder.config.levels]
    assert samples == [4096, 2048, 1024] and encoder.out_channels == 1024


def test_coordinates_only_decide_who_is_grouped_with_whom():
    encoder = PointEncoder(TINY).eval()
    points = torch.rand(2, 60, 4)
    moved = points.clone()
    moved[..., :3] += torch.tensor([8.0, -4.0, 2.0])   # exact at this size: the same groups
    with torch.no_grad():
        first, second = encoder(points), encoder(moved)
    torch.testing.assert_close(second[-1].features, first[-1].features, atol=1e-5, rtol=0)


def test_an_index_names_the_point_of_the_input():
    points = torch.rand(2, 60, 4)
    for level in PointEncoder(TINY)(points):
        chosen = points[..., :3].gather(1, level.index[..., None].expand(-1, -1, 3))
        assert torch.equal(level.xyz, chosen)


def test_gradients_reach_every_weight():
    encoder = PointEncoder(TINY)
    encoder(torch.rand(2, 60, 4))[-1].features.square().sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert without == []
    assert encoder.levels[0].rings[0][0].conv.weight.grad.abs().sum() > 0


def test_weights_start_as_the_reference_draws_them():
    layer = PointEncoder(PointEncoderConfig()).levels[2].rings[2][2]
    # Kaiming normal, fan out 512, gain of ReLU
    assert float(layer.conv.weight.detach().std()) == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert not layer.conv.bias.any() and (layer.norm.weight == 1).all()
    assert layer.norm.eps == 1e-3 and layer.norm.momentum == 0.1


def test_the_config_survives_being_written():
    assert from_dict(PointEncoderConfig, to_dict(TINY)) == TINY


def test_what_does_not_fit_is_refused():
    encoder = PointEncoder(TINY)
    with pytest.raises(ValueError, match=r'points must be \(B, N, 4\)'):
        encoder(torch.rand(2, 60, 3))
    with pytest.raises(ValueError, match='not finite'):
        encoder(torch.full((2, 60, 4), torch.nan))
    with pytest.raises(ValueError, match='radii'):
        LevelConfig((SamplerConfig('distance', 4),),
                    (RingConfig(1.0, 4, (4,)), RingConfig(0.5, 4, (4,))), 8)


def levels(*samplers, **more):
    ring = RingConfig(0.5, 4, (4, 8))
    return PointEncoderConfig(1, tuple(LevelConfig((sampler,), (ring,), 6)
                                       for sampler in samplers), **more)


def test_first_points_are_what_sampling_by_distance_gives_once_more():
    points = torch.rand(2, 60, 4, generator=torch.Generator().manual_seed(3))
    outputs = []
    for again in ('distance', 'first'):
        torch.manual_seed(0)
        encoder = PointEncoder(levels(SamplerConfig('distance', 0.5), SamplerConfig(again, 12)))
        outputs.append(encoder.eval()(points)[-1])
    assert outputs[0].features.shape == (2, 6, 12)
    assert torch.equal(outputs[0].index, outputs[1].index)
    assert torch.equal(outputs[0].features, outputs[1].features)


def test_a_share_of_samples_follows_the_number_of_points():
    encoder = PointEncoder(levels(SamplerConfig('distance', 0.25), SamplerConfig('first', 999)))
    for count in (40, 80):
        assert encoder.eval()(torch.rand(1, count, 4))[-1].xyz.shape[1] == count // 4
    for wrong in (0, -0.5, 1.5):
        with pytest.raises(ValueError, match='share'):
            SamplerConfig('distance', wrong)


def test_relative_coordinates_tell_shapes_apart_and_no_places():
    torch.manual_seed(0)
    encoder = PointEncoder(levels(SamplerConfig('distance', 8), relative_xyz=True)).eval()
    points = torch.rand(1, 8, 4)
    points[..., 3] = 0.5
    shifted = points + torch.tensor([8.0, -4.0, 2.0, 0.0])
    stretched = points * torch.tensor([0.5, 1.0, 1.0, 1.0])
    here, there, other = (encoder(p)[-1].features for p in (points, shifted, stretched))
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)
    assert float((here - other).detach().abs().max()) > 1e-2
    blind = PointEncoder(levels(SamplerConfig('distance', 8))).eval()
    here, other = (blind(p)[-1].features for p in (points, stretched))
    assert torch.equal(here, other)   # all reflect alike: nothing is seen
