# SPDX-License-Identifier: Apache-2.0
"""Promises of the DenseDepth decoder: the reference's depth and training loss."""
from crossview_ros.networks.heads.dense_depth import (
    DenseDepthConfig, DenseDepthHead, from_official_key, full_size_depth, mirrored_mean,
    resize_map)
from crossview_ros.training.depth_losses import sig_loss
import numpy as np
import pytest
import simipu_golden as golden
import torch


def test_depth_and_training_loss_are_those_of_the_reference(shared_dir):
    data = golden.load(shared_dir, 'g_densedepth_head')
    maps = [golden.tensor(data, f'feat{i}') for i in range(5)]
    config = DenseDepthConfig(tuple(x.shape[1] for x in maps), (12, 10, 8, 6, 5),
                              float(data['max_depth']))
    head = DenseDepthHead(config)
    head.load_state_dict(golden.weights(data, from_official_key))   # strict
    with torch.no_grad():
        depth = head(maps)
    # sums of some hundred products in float32, times 80 m
    np.testing.assert_allclose(depth, data['depth_lowres'], atol=1e-3, rtol=1e-5)
    full = full_size_depth(depth, data['depth_full'].shape[-2:], config.max_depth_m)
    np.testing.assert_allclose(full, data['depth_full'], atol=1e-3, rtol=1e-5)
    truth = golden.tensor(data, 'gt')
    loss = sig_loss(resize_map(depth, truth.shape[-2:]), truth)
    assert float(loss) == pytest.approx(float(data['train_loss']), abs=1e-5)


def test_the_released_decoder_has_its_size():
    with torch.device('meta'):
        head = DenseDepthHead(DenseDepthConfig())
    assert sum(p.numel() for p in head.parameters()) == 54_262_657   # simipu.md 11


def test_depth_is_clamped_before_it_is_resized():
    depth = torch.tensor([[[[-1.0, 9.0]]]])
    # 0.001 and 4 m at the ends, the middle of both between them
    full = full_size_depth(depth, (1, 3), 4.0).flatten()
    torch.testing.assert_close(full, torch.tensor([0.001, 2.0005, 4.0]))


def test_the_mirrored_estimate_is_turned_back_before_the_mean():
    depth, mirrored = torch.tensor([[[[1.0, 2, 3]]]]), torch.tensor([[[[5.0, 4, 3]]]])
    assert mirrored_mean(depth, mirrored).flatten().tolist() == [2, 3, 4]


def test_an_impossible_config_is_refused():
    with pytest.raises(ValueError, match='equally many'):
        DenseDepthConfig((4, 6), (4, 6, 8))
    with pytest.raises(ValueError, match='max_depth_m'):
        DenseDepthConfig(max_depth_m=0.0)
