# SPDX-License-Identifier: Apache-2.0
"""What each task takes from rendered records, and how it may move what they show."""
from collections.abc import Callable, Iterable
from typing import NamedTuple

from crossview_ros.training.augmentation import (
    Batch, crop_and_scale, flip_pose_views, middle)
from crossview_ros.training.data_config import DataConfig
import torch

NAMES_OF_HEAD = {'stereo': ('left', 'right', 'disparity', 'left_occluded'),
                 'flow': ('previous', 'left', 'flow', 'previous_occluded')}
Move = Callable[[Batch, DataConfig, torch.Generator], Batch]


class RecordKind(NamedTuple):
    """Which fields of a record a task needs, and how they are cut and moved for training."""

    names: tuple[str, ...]                # of a record's fields; others are not read or rendered
    fields: Callable[[Batch], Batch]
    move: Move


def matching(heads: Iterable[str]) -> RecordKind:
    """Take of views, disparity, flow [px] and masks what some heads of matching need."""
    names = tuple(dict.fromkeys(name for head in heads for name in NAMES_OF_HEAD[head]))
    return RecordKind(names, lambda records: {name: records[name] for name in names},
                      _crop_and_scale)


def depth_fields(records: Batch) -> Batch:
    """Return ``left``, its ``depth`` (B, 1, H, W) [m] and its ``focal`` length (B,) [px]."""
    focal_m = (records['focal'] * records['baseline']).view(-1, 1, 1, 1)   # [px m]
    return {'left': records['left'], 'depth': focal_m / records['disparity'],
            'focal': records['focal']}


def pose_fields(records: Batch) -> Batch:
    """Return ``previous``, ``left`` and ``T_previous_left`` (B, 4, 4) [m]."""
    return {'previous': records['previous'], 'left': records['left'],
            'T_previous_left': torch.linalg.inv(records['T_left_previous'])}


def _crop_and_scale(batch: Batch, data: DataConfig, generator: torch.Generator) -> Batch:
    return crop_and_scale(batch, data.crop_hw, data.scale_range, generator)


def _mirror(batch: Batch, data: DataConfig, generator: torch.Generator) -> Batch:
    # the ground lies below: no flip from top to bottom
    return crop_and_scale(batch, data.crop_hw, data.scale_range, generator, flip_axis=-1)


def _flip(batch: Batch, data: DataConfig, generator: torch.Generator) -> Batch:
    # a window off the centre would be that of a turned camera, a scaled one of another lens
    return flip_pose_views(middle(batch, data.crop_hw), generator)


MATCHING = matching(NAMES_OF_HEAD)
DEPTH = RecordKind(('left', 'disparity', 'focal', 'baseline'), depth_fields, _mirror)
POSE = RecordKind(('previous', 'left', 'T_left_previous'), pose_fields, _flip)
