# SPDX-License-Identifier: Apache-2.0
"""What each task takes from rendered records, and how it may move what they show."""
from collections.abc import Callable
from typing import NamedTuple

from crossview_ros.training.augmentation import (
    Batch, crop_and_scale, FIELDS_PX, flip_pose_views, MASKS, middle, VIEWS)
from crossview_ros.training.data_config import DataConfig
import torch

Move = Callable[[Batch, DataConfig, torch.Generator], Batch]


class RecordKind(NamedTuple):
    """Which fields of a record a task needs, and how they are cut and moved for training."""

    fields: Callable[[Batch], Batch]
    move: Move


def matching_fields(records: Batch) -> Batch:
    """Return views, disparity and flow [px], and where they are hidden."""
    return {name: records[name] for name in (*VIEWS, *FIELDS_PX, *MASKS)}


def depth_fields(records: Batch) -> Batch:
    """Return ``left`` and its ``depth`` (B, 1, H, W) [m]."""
    focal_m = (records['focal'] * records['baseline']).view(-1, 1, 1, 1)   # [px m]
    return {'left': records['left'], 'depth': focal_m / records['disparity']}


def pose_fields(records: Batch) -> Batch:
    """Return ``previous``, ``left`` and ``T_previous_left`` (B, 4, 4) [m]."""
    return {'previous': records['previous'], 'left': records['left'],
            'T_previous_left': torch.linalg.inv(records['T_left_previous'])}


def _crop_and_scale(batch: Batch, data: DataConfig, generator: torch.Generator) -> Batch:
    return crop_and_scale(batch, data.crop_hw, data.scale_range, generator)


def _flip(batch: Batch, data: DataConfig, generator: torch.Generator) -> Batch:
    # a window off the centre would be that of a turned camera, a scaled one of another lens
    return flip_pose_views(middle(batch, data.crop_hw), generator)


MATCHING = RecordKind(matching_fields, _crop_and_scale)
DEPTH = RecordKind(depth_fields, _crop_and_scale)
POSE = RecordKind(pose_fields, _flip)
