# SPDX-License-Identifier: Apache-2.0
"""The pixel loss is the reference's, and predictions become images in the target's colours."""
from crossview_ros.networks.patches import patchify
from crossview_ros.training.pixel_loss import patch_statistics, pixel_loss, reconstruct
import numpy as np
import pytest
import torch

GOLDEN = 'reference/golden/croco/losses_metrics.npz'


@pytest.fixture(scope='module')
def golden(shared_dir):
    with np.load(shared_dir / GOLDEN) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files if key.startswith('pix/')}


@pytest.mark.parametrize('normalised', [True, False])
@pytest.mark.parametrize('masked', [True, False])
def test_loss_and_gradient_are_the_reference_numbers(golden, normalised, masked):
    variant = f'norm{int(normalised)}_masked{int(masked)}'
    patches = golden['pix/pred'].clone().requires_grad_()

    loss = pixel_loss(patches, golden['pix/target'], golden['pix/mask'] if masked else None,
                      normalised)
    loss.backward()

    # float32 rounding in another order; the golden README asks for 2e-6 and 1e-7
    torch.testing.assert_close(loss, golden[f'pix/loss_{variant}'], rtol=2e-6, atol=0)
    torch.testing.assert_close(patches.grad, golden[f'pix/grad_{variant}'], rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize('name', ['pretrain_v1_cosine', 'pretrain_v2_rope100'])
def test_losses_of_the_reference_networks_come_back(shared_dir, name):
    with np.load(shared_dir / f'reference/golden/croco/{name}.npz') as file:
        data = {key: torch.from_numpy(file[key]) for key in file.files
                if key.startswith(('in/', 'out/'))}
    truth = patchify(data['in/img1'], 16)
    assert torch.equal(truth, data['out/target'])
    for key, arguments in (('loss_norm', (data['in/mask'], True)),
                           ('loss_raw', (data['in/mask'], False)),
                           ('loss_norm_all', (None, True))):
        loss = pixel_loss(data['out/pred'], truth, *arguments)
        torch.testing.assert_close(loss, data[f'out/{key}'], rtol=2e-6, atol=0)


def test_loss_of_a_hand_made_patch():
    truth = torch.tensor([[[0.0, 2.0, 4.0], [5.0, 5.0, 5.0]]])   # unbiased variance 4, and 0
    mask = torch.tensor([[True, False]])
    # normalised truth is (-1, 0, 1), up to the 1e-6 under the root
    assert pixel_loss(torch.zeros(1, 2, 3), truth, mask).item() == pytest.approx(2 / 3, rel=1e-6)
    assert pixel_loss(torch.zeros(1, 2, 3), truth, ~mask).item() == 0
    assert pixel_loss(torch.zeros(1, 2, 3), truth, mask, normalised=False).item() \
        == pytest.approx(20 / 3)


def test_only_hidden_patches_get_a_gradient():
    torch.manual_seed(0)
    patches = torch.randn(2, 6, 12, requires_grad=True)
    mask = torch.tensor([[True, False, True, False, True, False]] * 2)
    pixel_loss(patches, torch.randn(2, 6, 12), mask).backward()
    assert (patches.grad[mask] != 0).all() and (patches.grad[~mask] == 0).all()


def test_a_perfect_normalised_prediction_gives_the_image_back():
    image = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    truth = patchify(image, 8)
    mean, std = patch_statistics(truth)
    rebuilt = reconstruct((truth - mean) / std, image, 8)
    torch.testing.assert_close(rebuilt, image, atol=1e-5, rtol=0)   # float32 rounding
    assert torch.equal(reconstruct(truth, image, 8, normalised=False), image)


def test_visible_patches_are_shown_as_they_are_and_hidden_ones_as_predicted():
    image = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, False, False, False, False, True]])   # 2 x 3 patches
    shown = reconstruct(torch.full((1, 6, 192), 7.0), image, 8, mask, normalised=False)
    assert (shown[..., :8, :8] == 7).all() and (shown[..., 8:, 16:] == 7).all()
    hidden = (shown == 7).all(1)[0]
    assert hidden.sum() == 2 * 64
    assert torch.equal(shown[0, :, ~hidden], image[0, :, ~hidden])
