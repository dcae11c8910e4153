# SPDX-License-Identifier: Apache-2.0
"""Predict whole images window by window, as the released models were measured (croco.md 4)."""
from collections.abc import Callable, Iterator

from crossview_ros.errors import ConfigError
from crossview_ros.geometry.tiling import blend, TileLayout, TilingSpec
from crossview_ros.networks.heads import DptHeadConfig, HeadConfig, Prediction
from crossview_ros.networks.official_file import TILE_MODES
import numpy as np
import torch
from torch import Tensor
import torch.nn.functional as F

Predict = Callable[[Tensor, Tensor], Prediction]


def tiling(task: str, head: HeadConfig, window_hw: tuple[int, int],
           overlap: float) -> TilingSpec:
    """
    Say how windows cover a whole image.

    :param window_hw: The crop of the training [px].
    :raises ConfigError: If the head gives nothing to weigh windows by.
    """
    if not isinstance(head, DptHeadConfig) or (task, head.scale) not in TILE_MODES:
        raise ConfigError("data.validation_mode 'tiled' weighs windows by the scale of a DPT head "
                          f'as the official models have it; {task} has a '
                          f'{type(head).__name__.removesuffix("Config")} here: use crop')
    return TilingSpec(window_hw, overlap, TILE_MODES[task, head.scale])


def predict_tiled(predict: Predict, view1: Tensor, view2: Tensor, spec: TilingSpec,
                  batch_size: int) -> Tensor:
    """
    Predict one image by its windows, which lie at the same place in both views.

    :param predict: A network of two views and its head.
    :param view1: (1, 3, H, W) normalised; enlarged where a window does not fit in.
    :param batch_size: Windows that go through the network at once.
    :return: (1, C, H, W) float32 on the device of the views, in px of the image.
    """
    size_hw = tuple(view1.shape[-2:])
    layout = TileLayout.create(size_hw, spec)
    views = [_resized(view, layout.scaled_hw) for view in (view1, view2)]
    value, _ = blend(layout, spec.weight, _tiles(predict, views, layout, batch_size))
    factors = [side / scaled for side, scaled in zip(size_hw, layout.scaled_hw)][::-1]   # x, y
    value = torch.from_numpy(value).to(view1.device)
    return _resized(value, size_hw) * value.new_tensor(factors[:value.shape[1]]).view(-1, 1, 1)


def _tiles(predict: Predict, views: list[Tensor], layout: TileLayout,
           batch_size: int) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
    rows, cols = layout.window_hw
    for corners in layout.chunks(batch_size):
        prediction = predict(*(torch.cat([view[..., y:y + rows, x:x + cols] for y, x in corners])
                               for view in views))
        yield from zip(corners, *(field.float().cpu().numpy()
                                  for field in (prediction.value, prediction.log_scale)))


def _resized(image: Tensor, size_hw: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == size_hw:
        return image
    return F.interpolate(image, size_hw, mode='bicubic', align_corners=False)
