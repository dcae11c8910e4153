# SPDX-License-Identifier: Apache-2.0
"""Promises of the pose head: a rigid motion, the identity at first, a gradient for all of it."""
from crossview_ros.config import from_dict, to_dict
from crossview_ros.networks.checkpoint import load_model, save_weights
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import PoseHead, PoseHeadConfig
from crossview_ros.networks.heads.pose import rotation_from_six
import pytest
import torch

BACKBONE = CroCoConfig(enc_embed_dim=32, enc_num_layers=2, enc_num_heads=2, dec_embed_dim=16,
                       dec_num_layers=1, dec_num_heads=2, position='rope')
CONFIG = ModelConfig(BACKBONE, {'pose': PoseHeadConfig(8)})


def moved_head():
    """Return a head whose answer depends on the tokens."""
    head = PoseHead(PoseHeadConfig(8), 16)
    torch.nn.init.normal_(head.leave.weight)
    return head


def test_a_fresh_network_answers_the_identity_for_any_views():
    model = MultiTaskModel(CONFIG).task('pose').eval()
    with torch.no_grad():
        out = model(torch.randn(2, 3, 32, 48), torch.randn(2, 3, 32, 48))
    assert torch.equal(out.T_1_2, torch.eye(4).expand(2, 4, 4))
    assert out.log_scale.shape == (2, 6)


def test_the_answer_is_rigid_and_float32_under_bfloat16_too():
    head = moved_head()
    tokens = torch.randn(5, 6, 16)
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            T = head([tokens.to(dtype)], (2, 3)).T_1_2
        assert T.dtype == torch.float32
        rotation = T[:, :3, :3]
        # float32 rounding of nine products of numbers up to one
        torch.testing.assert_close(rotation @ rotation.transpose(1, 2),
                                   torch.eye(3).expand(5, 3, 3), atol=2e-6, rtol=0)
        torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(5), atol=2e-6, rtol=0)
        assert torch.equal(T[:, 3], torch.tensor([0.0, 0, 0, 1]).expand(5, 4))
        assert (rotation - torch.eye(3)).abs().max() > 0.1


def test_six_numbers_of_a_rotation_give_it_back_and_others_the_nearest_frame():
    angle = torch.tensor(0.3)
    c, s = angle.cos(), angle.sin()
    rotation = torch.stack((torch.stack((c, -s, 0 * c)), torch.stack((s, c, 0 * c)),
                            torch.tensor([0.0, 0, 1])))
    six = torch.cat((rotation[:, 0], rotation[:, 1]))
    torch.testing.assert_close(rotation_from_six(six), rotation)
    # the length of the first column and any share of it in the second do not matter
    stretched = torch.cat((3 * six[:3], 0.5 * six[3:] - 4 * six[:3]))
    torch.testing.assert_close(rotation_from_six(stretched), rotation)


def test_the_place_of_a_token_counts():
    head = moved_head()
    tokens = torch.randn(1, 6, 16)
    shuffled = tokens[:, [5, 4, 3, 2, 1, 0]]
    assert not torch.allclose(head([tokens], (2, 3)).T_1_2, head([shuffled], (2, 3)).T_1_2)


def test_every_weight_gets_a_gradient():
    head = moved_head()
    out = head([torch.randn(4, 6, 16)], (2, 3))
    (out.T_1_2.square().sum(0) * torch.randn(4, 4)).sum().backward(retain_graph=True)
    out.log_scale.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_a_saved_network_is_loaded_by_its_task(tmp_path):
    model = MultiTaskModel(CONFIG).eval()
    torch.nn.init.normal_(model.heads['pose'].leave.weight, std=0.1)
    save_weights(tmp_path / 'pose.safetensors', CONFIG, model.state_dict(), torch.float32)
    views = torch.randn(2, 1, 3, 32, 48)
    loaded = load_model(tmp_path / 'pose.safetensors', 'pose')
    with torch.no_grad():
        torch.testing.assert_close(loaded(*views).T_1_2, model.task('pose')(*views).T_1_2)
    assert from_dict(ModelConfig, to_dict(CONFIG)) == CONFIG


@pytest.mark.parametrize('values', [{'pose_dim': 0}, {'pose_dim': 8, 'mlp_ratio': 0.0}])
def test_impossible_widths_are_refused(values):
    with pytest.raises(ValueError, match='must be positive'):
        PoseHeadConfig(**values)
