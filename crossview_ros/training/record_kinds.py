# SPDX-License-Identifier: Apache-2.0
"""What each task takes from rendered records, and how it may move what they show."""
from collections.abc import Callable, Iterable
from typing import NamedTuple

from crossview_ros.training.augmentation import (
    Batch, crop_and_scale, flip_pose_views, middle)
from crossview_ros.training.data_config import DataConfig
from crossview_ros.training.seen_motion import rays
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


def matching_and_pose(heads: Iterable[str]) -> RecordKind:
    """Take what `matching` does, and what `seen_motion` needs."""
    dense = matching(heads)
    return RecordKind(
        (*dense.names, 'T_left_previous', 'focal', 'baseline'),
        lambda records: {**dense.fields(records), **_calibration(records)}, _crop_and_scale)


def _calibration(records: Batch) -> Batch:
    return {'focal': records['focal'], 'baseline': records['baseline'],
            'ray': rays(records['focal'], records['left'].shape[-2:]),
            'T_previous_left': torch.linalg.inv(records['T_left_previous'])}


def depth_fields(records: Batch) -> Batch:
    """Return ``left``, its ``depth`` (B, 1, H, W) [m] and its ``focal`` length (B,) [px]."""
    focal_m = (records['focal'] * records['baseline']).view(-1, 1, 1, 1)   # [px m]
    return {'left': records['left'], 'depth': focal_m / records['disparity'],
            'focal': records['focal']}


def frame_fields(records: Batch) -> Batch:
    """Return what `depth_fields` does, of frames with LiDAR, which keep their depth (B, H, W)."""
    return {**records, 'depth': records['depth'][:, None]}


def pose_fields(records: Batch) -> Batch:
    """Return ``previous``, ``left`` and ``T_previous_left`` (B, 4, 4) [m]."""
    return {'previous': records['previous'], 'left': records['left'],
            'T_previous_left': torch.linalg.inv(records['T_left_previous'])}


def _crop_and_scale(batch: Batch, data: DataConfig, generator: torch.Generator) -> Batch:
    seen = {name: value for name, value in batch.items() if value.ndim == 4 or name == 'focal'}
    return {**batch, **crop_and_scale(seen, data.crop_hw, data.scale_range, generator)}


def _mirror(batch: Batch, data: DataConfig, generator: torch.Generator) -> Batch:
    # the ground lies below: no flip from top to bottom
    return crop_and_scale(batch, data.crop_hw, data.scale_range, generator, flip_axis=-1)


def _flip(batch: Batch, data: DataConfig, generator: torch.Generator) -> Batch:
    # a window off the centre would be that of a turned camera, a scaled one of another lens
    return flip_pose_views(middle(batch, data.crop_hw), generator)


MATCHING = matching(NAMES_OF_HEAD)
DEPTH = RecordKind(('left', 'disparity', 'focal', 'baseline'), depth_fields, _mirror)
FRAME_DEPTH = RecordKind(('left', 'depth', 'focal'), frame_fields, _mirror)
POSE = RecordKind(('previous', 'left', 'T_left_previous'), pose_fields, _flip)
