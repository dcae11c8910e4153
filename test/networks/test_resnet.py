# SPDX-License-Identifier: Apache-2.0
"""Promises of the ResNet: the official keys and sizes, and the strides of its maps."""
import json

from crossview_ros.networks.resnet import ResNet, ResNetConfig
import numpy as np
import pytest
import torch
from torch import nn


def test_keys_and_shapes_are_those_of_the_released_file(shared_dir):
    path = shared_dir / 'reference/golden/simipu_facts/statedict_backbone_only.json'
    listed = {key.removeprefix('backbone.'): tuple(entry['shape'])
              for key, entry in json.loads(path.read_text())['keys'].items()}
    with torch.device('meta'):
        state = ResNet(ResNetConfig()).state_dict()
    assert len(listed) == 318
    assert {key: tuple(value.shape) for key, value in state.items()} == listed


def test_it_has_the_released_number_of_parameters():
    with torch.device('meta'):
        network = ResNet(ResNetConfig())
    assert sum(p.numel() for p in network.parameters()) == 23_508_032   # simipu.md 3
    norm = network.layer3[2].bn2
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)


def test_maps_shrink_by_powers_of_two():
    config = ResNetConfig((1, 2, 1, 1), width=4)
    maps = ResNet(config)(torch.randn(1, 3, 64, 96))
    assert tuple(x.shape[1] for x in maps) == config.out_channels
    assert [tuple(x.shape[2:]) for x in maps] == [(64 // s, 96 // s) for s in (2, 4, 8, 16, 32)]


def test_a_block_adds_its_input_back():
    # with the last norm at zero only the shortcut is left, and that is positive already
    block = ResNet(ResNetConfig((1, 2, 1, 1), width=4)).layer2[1]
    nn.init.zeros_(block.bn3.weight)
    x = torch.rand(2, 32, 8, 8)
    assert torch.equal(block(x), x)


def test_the_stride_sits_in_the_middle_convolution():
    block = ResNet(ResNetConfig((1, 1, 1, 1), width=4)).layer2[0]
    assert [conv.stride for conv in (block.conv1, block.conv2, block.conv3)] \
        == [(1, 1), (2, 2), (1, 1)]


def test_no_norm_starts_at_zero():
    network = ResNet(ResNetConfig((1, 1, 1, 1), width=4))
    weights = [m.weight.detach() for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    np.testing.assert_array_equal(torch.cat(weights), 1)


def test_an_impossible_config_is_refused():
    with pytest.raises(ValueError, match='positive'):
        ResNetConfig(width=0)
