# SPDX-License-Identifier: Apache-2.0
"""Batch augmentations in torch: crop and scale for all views or each view alone, colour."""
from crossview_ros.data.synthetic.draw import Draw
import torch
from torch import Tensor
import torch.nn.functional as F

VIEWS = ('previous', 'left', 'right')
FIELDS_PX = ('disparity', 'flow')              # values in px: scaled with the image
MASKS = ('left_occluded', 'previous_occluded')
Batch = dict[str, Tensor]


def normalise(images: Tensor, mean: tuple, std: tuple, channels: str = 'rgb') -> Tensor:
    """Turn (B, 3, H, W) RGB in [0, 1] into network input, as `Normalisation` describes it."""
    if channels == 'bgr':
        images = images.flip(1)
    mean, std = (torch.tensor(v, device=images.device).view(3, 1, 1) for v in (mean, std))
    return (images - mean) / std


def crop_and_scale(batch: Batch, crop_hw: tuple[int, int], scale_range: tuple[float, float],
                   generator: torch.Generator, flip_axis: int = -2) -> Batch:
    """
    Enlarge by one random factor, cut one random window, and flip at random.

    Images are interpolated; fields are taken from the nearest pixel, so that object borders stay
    sharp; disparity [px], flow [px] and focal length [px] are multiplied by the factor, depth [m]
    is not.

    :param batch: Float images (B, 3, H, W) in [0, 1], float fields, bool masks; ``focal`` (B,).
    :param generator: Of the CPU, wherever the batch lies.
    :param flip_axis: -2: top to bottom; -1: left to right, for batches of one view.
    """
    rows, cols = batch['left'].shape[-2:]
    low, high = scale_range
    scale = low + (high - low) * torch.rand((), generator=generator).item()
    size = max(crop_hw[0], round(rows * scale)), max(crop_hw[1], round(cols * scale))
    top, left = (int(torch.randint(s - c + 1, (), generator=generator))
                 for s, c in zip(size, crop_hw))
    flip = torch.rand((), generator=generator).item() < 0.5
    factors = torch.tensor((size[1] / cols, size[0] / rows))           # (u, v)
    out = {}
    for name, field in batch.items():
        if name == 'focal':
            out[name] = field * factors[0]
            continue
        if name in VIEWS:
            field = F.interpolate(field, size, mode='bilinear', antialias=scale < 1)
        else:
            nearest = F.interpolate(field.float(), size, mode='nearest-exact')
            if name in FIELDS_PX:
                nearest = nearest * factors[:field.shape[1]].view(-1, 1, 1).to(field)
            field = nearest.to(field.dtype)
        field = field[..., top:top + crop_hw[0], left:left + crop_hw[1]]
        if flip:
            field = field.flip(flip_axis)
            if name == 'flow':
                field = torch.cat((field[:, :1], -field[:, 1:]), 1)
        out[name] = field
    return out


def middle(batch: Batch, crop_hw: tuple[int, int]) -> Batch:
    """Cut the window in the middle of all images and fields (B, C, H, W); the rest stays."""
    rows, cols = crop_hw

    def cut(value: Tensor) -> Tensor:
        top, left = (value.shape[-2] - rows) // 2, (value.shape[-1] - cols) // 2
        return value[..., top:top + rows, left:left + cols]
    return {name: cut(value) if value.ndim == 4 else value for name, value in batch.items()}


def flip_pose_views(batch: Batch, generator: torch.Generator) -> Batch:
    """
    Mirror two views left to right, top to bottom, and swap them in time, each at random.

    A mirror M = diag(-1, 1, 1, 1) turns the motion T of the camera into M T M.

    :param batch: ``previous``, ``left`` (B, 3, H, W), ``T_previous_left`` (B, 4, 4).
    :param generator: Of the CPU, wherever the batch lies.
    """
    previous, left, T = (batch[name] for name in ('previous', 'left', 'T_previous_left'))
    mirror_x, mirror_y, swap = (torch.rand(3, generator=generator) < 0.5).tolist()
    for axis, drawn in ((0, mirror_x), (1, mirror_y)):
        if drawn:
            mirror = T.new_ones(4)
            mirror[axis] = -1
            T = mirror[:, None] * T * mirror
            previous, left = previous.flip(-1 - axis), left.flip(-1 - axis)
    if swap:
        previous, left, T = left, previous, torch.linalg.inv(T)
    return {'previous': previous, 'left': left, 'T_previous_left': T}


def photometric(batch: Batch, strength: float, draw: Draw) -> Batch:
    """
    Change brightness, contrast, gamma, colour, sharpness and noise of each view.

    Most of the change is shared by a sample's views; a quarter differs between them, as between
    two real cameras, so that matching may not rely on equal grey values.

    :param strength: 0 leaves the images alone; 1 is the usual amount.
    """
    views = [name for name in VIEWS if name in batch]
    count = batch['left'].shape[0]
    shared = _changes(count, draw)
    out = dict(batch)
    for name in views:
        own = _changes(count, draw)
        image = batch[name]
        change = {key: strength * (shared[key] + 0.25 * own[key]).to(image.device)
                  for key in shared}
        image = image.clamp(min=1e-4) ** torch.exp(0.35 * change['gamma'])
        image = image * torch.exp(0.25 * change['gain'] + 0.12 * change['colour'])
        mean = image.mean((1, 2, 3), keepdim=True)
        image = mean + (image - mean) * torch.exp(0.25 * change['contrast'])
        grey = image.mean(1, keepdim=True)
        image = grey + (image - grey) * (1 - change['fade'].abs().clamp(max=1))
        sigma = 0.02 * strength * own['noise'].abs().to(image.device)
        out[name] = (image + sigma * draw.noise_like(image)).clamp(0, 1)
    return out


def _changes(count: int, draw: Draw) -> dict[str, Tensor]:
    channels = {'gamma': 1, 'gain': 1, 'colour': 3, 'contrast': 1, 'fade': 1, 'noise': 1}
    return {name: draw.normal((count, number, 1, 1), 2.0) for name, number in channels.items()}


def random_crops(images: Tensor, crop_hw: tuple[int, int], scale_range: tuple[float, float],
                 draw: Draw) -> Tensor:
    """
    Cut a window from each image at its own random place.

    :param images: (B, 3, H, W).
    :param scale_range: The batch is enlarged by one random factor before; (1, 1) leaves it.
    """
    scale = scale_range[0] + (scale_range[1] - scale_range[0]) * \
        torch.rand((), generator=draw.generator).item()
    size = tuple(max(c, round(s * scale)) for s, c in zip(images.shape[-2:], crop_hw))
    if size != tuple(images.shape[-2:]):
        images = F.interpolate(images, size, mode='bilinear', antialias=scale < 1)
    corners = zip(*(draw.integers((len(images),), s - c + 1).tolist()
                    for s, c in zip(size, crop_hw)))
    return torch.stack([image[:, top:top + crop_hw[0], left:left + crop_hw[1]]
                        for image, (top, left) in zip(images, corners)])


def colour_jitter(images: Tensor, spread: float, draw: Draw) -> Tensor:
    """
    Change brightness, contrast and saturation of each image on its own, in random order.

    :param images: (B, 3, H, W) in [0, 1].
    :param spread: Factors are drawn from [1 - spread, 1 + spread] (croco.md 7: 0.4).
    """
    factors = draw.uniform((len(images), 3), 1 - spread, 1 + spread).tolist()
    orders = draw.uniform((len(images), 3)).argsort(1).tolist()
    changed = []
    for image, factor, order in zip(images, factors, orders):
        for kind in order:
            image = COLOUR_CHANGES[kind](image, factor[kind])
        changed.append(image)
    return torch.stack(changed)


def change_brightness(image: Tensor, factor: float) -> Tensor:
    """Blend with black; a factor above 1 goes the other way."""
    return (image * factor).clamp(0, 1)


def change_contrast(image: Tensor, factor: float) -> Tensor:
    """Blend with the mean grey of the whole image."""
    return torch.lerp(_grey(image).mean(), image, factor).clamp(0, 1)


def change_saturation(image: Tensor, factor: float) -> Tensor:
    """Blend with the grey image."""
    return torch.lerp(_grey(image), image, factor).clamp(0, 1)


COLOUR_CHANGES = (change_brightness, change_contrast, change_saturation)


def _grey(image: Tensor) -> Tensor:
    """Return the luma (1, H, W) after ITU-R BT.601."""
    return (image * image.new_tensor((0.299, 0.587, 0.114)).view(3, 1, 1)).sum(0, keepdim=True)


def erase(batch: Batch, views: tuple[str, ...], probability: float, draw: Draw) -> Batch:
    """
    Replace a random rectangle of a view by its mean colour, so that matching must bridge gaps.

    Source: HSMNet, Yang et al., CVPR 2019, section 3.3 (asymmetric occlusion).
    """
    out = dict(batch)
    for name in views:
        image = batch[name].clone()
        rows, cols = image.shape[-2:]
        for i, (chance, y, x, h, w) in enumerate(draw.uniform((len(image), 5)).tolist()):
            if chance < probability:
                h, w = int(rows * (0.1 + 0.2 * h)), int(cols * (0.1 + 0.2 * w))
                top, left = int(y * (rows - h)), int(x * (cols - w))
                image[i, :, top:top + h, left:left + w] = image[i].mean((1, 2), keepdim=True)
        out[name] = image
    return out
