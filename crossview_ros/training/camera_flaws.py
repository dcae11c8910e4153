# SPDX-License-Identifier: Apache-2.0
"""What cameras do to images: blur, vignetting, imperfect rectification, lossy compression."""
import math

from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.training.augmentation import Batch, VIEWS
import torch
from torch import Tensor
import torch.nn.functional as F

BLUR_SHARE = 0.35       # of samples
BLUR_PX = 1.6           # standard deviation along the motion
BLUR_REACH = 4          # [px] of the kernel to each side
VIGNETTE = 0.6          # of the light that is missing in the corners
ROW_SHIFT_PX = 0.6      # standard deviations of the right image's rows
ROLL_RAD = math.radians(0.12)
ROW_SCALE = 0.002
JPEG_SHARE = 0.35       # of samples
JPEG_STEP = 0.01, 0.06   # of the quantised cosines, of the range from black to white
BLOCK = 8               # [px] side of JPEG's blocks


def add_flaws(batch: Batch, strength: float, draw: Draw) -> Batch:
    """
    Make rendered views look as cameras and their drivers deliver them.

    What belongs to a camera or a moment is shared: vignetting by all views, motion blur by the
    two views of a moment. Disparity and flow stay what the true cameras see.

    :param batch: ``left`` and perhaps ``previous``, ``right`` (B, 3, H, W) in [0, 1].
    :param strength: 0 leaves the images alone; 1 is the usual amount.
    """
    if strength == 0:
        return batch
    count = len(batch['left'])
    out = dict(batch)
    if 'right' in batch:
        out['right'] = shift_rows(batch['right'], strength * draw.normal((count, 3)))
    corner = strength * VIGNETTE * draw.uniform((count,)) ** 2
    blurs = [_kernels(count, strength, draw) for _ in range(2)]   # of this moment, of the last
    for name in (name for name in VIEWS if name in batch):
        image = _convolve(out[name], blurs[name == 'previous'])
        image = image * _falloff(image, corner)
        out[name] = compress(image, _jpeg_steps(count, strength, draw)).clamp(0, 1)
    return out


def shift_rows(image: Tensor, errors: Tensor) -> Tensor:
    """
    Move an image up or down as a rectification that is a little wrong would.

    :param image: (B, 3, H, W).
    :param errors: (B, 3) of the shift, the roll and the scale of the rows, in the standard
        deviations above. Columns stay, so that the disparity is what it was.
    """
    rows, cols = image.shape[-2:]
    errors = errors.to(image)
    shift, roll, scale = (errors[:, i, None, None] for i in range(3))
    y = torch.arange(rows, device=image.device, dtype=image.dtype)[:, None] - (rows - 1) / 2
    x = torch.arange(cols, device=image.device, dtype=image.dtype) - (cols - 1) / 2
    moved = y * (1 + ROW_SCALE * scale) + ROLL_RAD * roll * x + ROW_SHIFT_PX * shift
    grid = torch.stack((torch.broadcast_to(2 * x / (cols - 1), moved.shape),
                        2 * moved / (rows - 1)), -1)
    return F.grid_sample(image, grid, padding_mode='border', align_corners=True)


def compress(image: Tensor, step: Tensor) -> Tensor:
    """
    Round the cosines of blocks of 8 x 8 pixels, the finer ones more coarsely, as JPEG does.

    :param image: (B, 3, H, W) in [0, 1].
    :param step: (B,) of the coarsest cosine; 0 leaves an image alone.
    """
    rows, cols = image.shape[-2:]
    step = step.to(image)[:, None, None, None, None, None]
    basis = _cosines(image)
    padded = F.pad(image, (0, -cols % BLOCK, 0, -rows % BLOCK), mode='replicate')
    blocks = padded.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)
    order = torch.arange(BLOCK, device=image.device, dtype=image.dtype)
    steps = step * (1 + 0.5 * (order[:, None] + order)) * BLOCK / 2
    cosines = basis @ blocks @ basis.T
    rounded = torch.where(step > 0, torch.round(cosines / steps.clamp(min=1e-6)) * steps, cosines)
    blocks = (basis.T @ rounded @ basis).transpose(3, 4)
    return blocks.flatten(4, 5).flatten(2, 3)[..., :rows, :cols]


def _cosines(like: Tensor) -> Tensor:
    """Return the orthonormal cosine transform (8, 8)."""
    place = torch.arange(BLOCK, device=like.device, dtype=like.dtype)
    basis = torch.cos(torch.pi / BLOCK * place[:, None] * (place + 0.5)) * (2 / BLOCK) ** 0.5
    basis[0] /= 2 ** 0.5
    return basis


def _jpeg_steps(count: int, strength: float, draw: Draw) -> Tensor:
    chosen = draw.uniform((count,)) < strength * JPEG_SHARE
    return torch.where(chosen, draw.log_uniform((count,), *JPEG_STEP), 0.0)


def _kernels(count: int, strength: float, draw: Draw) -> Tensor:
    """Return (B, K, K) blurs of unit sum: long in one direction, as of a moving camera."""
    chosen = draw.uniform((count,)) < strength * BLUR_SHARE
    along = BLUR_PX * draw.normal((count,)).abs() + 0.1
    across = along * draw.uniform((count,), 0.1, 1.0)
    angle = draw.uniform((count,), 0, torch.pi)
    along, across = (torch.where(chosen, sigma, 0.0).clamp(min=0.05)[:, None, None]
                     for sigma in (along, across))
    steps = torch.arange(-BLUR_REACH, BLUR_REACH + 1, device=angle.device)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    u, v = cos * steps + sin * steps[:, None], cos * steps[:, None] - sin * steps
    kernel = torch.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2))
    return kernel / kernel.sum((1, 2), keepdim=True)


def _convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """Blur each image (B, 3, H, W) with its own kernel."""
    weight = kernel.to(image).repeat_interleave(image.shape[1], 0)[:, None]
    padded = F.pad(image, [BLUR_REACH] * 4, mode='replicate').flatten(0, 1)[None]
    return F.conv2d(padded, weight, groups=len(weight))[0].unflatten(0, image.shape[:2])


def _falloff(image: Tensor, corner: Tensor) -> Tensor:
    """Return the share of light (B, 1, H, W) that arrives; ``corner`` (B,) is lost there."""
    rows, cols = image.shape[-2:]
    y = torch.linspace(-1, 1, rows, device=image.device)[:, None]
    x = torch.linspace(-1, 1, cols, device=image.device)
    return 1 - corner.to(image)[:, None, None, None] * (x ** 2 + y ** 2) / 2
