# SPDX-License-Identifier: Apache-2.0
"""Samples into a batch of tensors."""
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from crossview_ros.errors import DatasetError
import numpy as np
import torch

FIELDS = ('disparity', 'depth')   # (H, W): get a channel


def collate(samples: Sequence[Any]) -> dict[str, Any]:
    """
    Put samples of one kind and size into a batch.

    :return: Name of the attribute -> images (B, 3, H, W) float32 in [0, 1]; disparity and depth
        (B, 1, H, W), flow (B, 2, H, W) float32 with NaN unknown; poses (B, 4, 4) float64; point
        clouds, which differ in length, as a list of (N, 3); names, cameras, rigs and what a
        sample lacks as a list.
    :raises DatasetError: If there are none, or their kinds or sizes differ.
    """
    kinds = {type(sample) for sample in samples}
    if len(kinds) != 1:
        raise DatasetError('a batch holds samples of one kind, got '
                           f'{sorted(kind.__name__ for kind in kinds) or "none"}')
    return {field.name: _together(field.name, [getattr(s, field.name) for s in samples])
            for field in fields(samples[0])}


def _together(name: str, values: list[Any]) -> Any:
    if not all(isinstance(value, np.ndarray) for value in values):
        return values
    tensors = [_tensor(value, name in FIELDS) for value in values]
    if name == 'points':
        return tensors
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        raise DatasetError(f'{name} of a batch must have one size, got {sorted(shapes)}; crop the '
                           'samples first')
    return torch.stack(tensors)


def _tensor(array: np.ndarray, is_field: bool) -> torch.Tensor:
    """Put channels first; matrices and point clouds stay."""
    if is_field:
        array = array[None]
    elif array.ndim == 3:
        array = array.transpose(2, 0, 1)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.float() / 255 if array.dtype == np.uint8 else tensor
