# SPDX-License-Identifier: Apache-2.0
"""Promises that keep a forward pass quick: constants stay, and the host never waits."""
import dataclasses
import subprocess
import sys

from crossview_ros.networks.croco import CroCo, CroCoConfig, CroCoEncoder
from crossview_ros.networks.heads import DptHead, DptHeadConfig
from crossview_ros.networks.linear import Linear
from crossview_ros.networks.patches import random_mask
from crossview_ros.networks.position import RoPE2D
import pytest
import torch
import torch.nn.functional as F

CPU = torch.device('cpu')
CONFIG = CroCoConfig(img_size=(32, 64), patch_size=8, position='rope', enc_embed_dim=16,
                     enc_num_layers=2, enc_num_heads=2, dec_embed_dim=16, dec_num_layers=1,
                     dec_num_heads=2)


@pytest.mark.filterwarnings('ignore')   # tracing is deprecated, but ONNX export rests on it
def test_a_trace_reads_the_tables_that_exist_and_leaves_none_behind():
    rope = RoPE2D(8)
    table = rope((2, 3), CPU)[0]

    def add(x):
        return x + rope((2, 3), CPU)[0] + rope((1, 6), CPU)[0]

    traced = torch.jit.trace(add, torch.zeros(6, 8), check_trace=False)
    assert [node.kind() for node in traced.graph.nodes()].count('aten::cos') == 1   # of (1, 6)
    assert rope((2, 3), CPU)[0] is table
    assert list(rope._tables) == [((2, 3), 'cpu')]


@pytest.mark.parametrize('position', ['rope', 'cosine'])
@pytest.mark.parametrize('stem', ['patch', 'conv'])
def test_both_views_in_one_go_are_what_they_are_alone(position, stem):
    torch.manual_seed(0)
    encoder = CroCoEncoder(dataclasses.replace(CONFIG, position=position, stem=stem,
                                               stem_dims=(8, 8, 8)))
    target, reference = torch.randn(2, 2, 3, 32, 64)
    mask = random_mask(2, 32, 0.75)
    visible, memory = encoder.encode_pair(target, reference, mask)
    torch.testing.assert_close(visible, encoder(target, mask).tokens[-1])
    torch.testing.assert_close(memory, encoder(reference).tokens[-1])


def test_inference_and_training_give_the_same_product():
    torch.manual_seed(0)
    layer, x = Linear(96, 160), torch.randn(2, 7, 96)
    expected = F.linear(x.double(), layer.weight.double(), layer.bias.double()).float()
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected)
        assert layer(x).shape == (2, 7, 160)
    trained = layer(x)
    torch.testing.assert_close(trained, expected)
    trained.sum().backward()   # oneDNN's product has no gradient
    assert layer.weight.grad is not None


@pytest.mark.parametrize('call', ['drawn', 'told'])
def test_a_known_number_of_visible_patches_needs_no_look_at_the_mask(call):
    # on the meta device nothing can be looked at: int(), item() and tolist() raise
    model = CroCo(CONFIG).to('meta')
    model.encoder.rope._tables.clear()
    images = torch.zeros(2, 2, 3, 32, 64, device='meta')
    mask = torch.zeros(2, 32, dtype=torch.bool, device='meta')
    out = model(*images) if call == 'drawn' else model.complete(*images, mask, num_visible=4)
    assert out.patches.shape == (2, 32, 192)


def test_counting_the_visible_patches_gives_what_the_caller_would_say():
    encoder = CroCoEncoder(CONFIG).eval()
    image, mask = torch.randn(2, 3, 32, 64), random_mask(2, 32, 0.75)
    counted, told = encoder(image, mask), encoder(image, mask, num_visible=8)
    assert torch.equal(counted.tokens[-1], told.tokens[-1]) and told.tokens[-1].shape[1] == 8


def test_the_residual_stream_is_contiguous():
    tokens = CroCoEncoder(CONFIG)(torch.randn(2, 3, 32, 64)).tokens
    assert all(t.is_contiguous() for t in tokens)


def test_the_last_layer_of_a_fusion_may_run_before_the_doubling():
    backbone = CroCoConfig(enc_num_layers=2, dec_num_layers=2, enc_embed_dim=16, enc_num_heads=2,
                           dec_embed_dim=16, dec_num_heads=2)
    head = DptHead(DptHeadConfig(1, 'none', (0, 1, 2, 3), (4, 4, 4, 4), 8, 4), backbone).double()
    fuse, x = head.fuse[3], torch.randn(1, 8, 4, 6, dtype=torch.float64)
    doubled = F.interpolate(fuse.residual2(x), scale_factor=2.0, mode='bilinear',
                            align_corners=True)
    torch.testing.assert_close(fuse(x), fuse.leave(doubled))   # the order of croco.md 3.4


def test_building_a_model_without_memory_loads_no_compiler():
    code = ('import sys, torch\n'
            'from crossview_ros.networks.croco import CroCo, CroCoConfig\n'
            'from crossview_ros.networks.downstream import MultiTaskModel\n'
            'from crossview_ros.networks.presets import crossview_tiny\n'
            'with torch.device("meta"):\n'
            '    CroCo(CroCoConfig()), MultiTaskModel(crossview_tiny())\n'
            'print("torch._dynamo" in sys.modules)\n')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          timeout=60, check=True)
    assert done.stdout.strip() == 'False'
