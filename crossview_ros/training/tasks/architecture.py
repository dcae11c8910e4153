# SPDX-License-Identifier: Apache-2.0
"""Architectures of a run: a preset, with the fields that the run's config changes."""
from collections.abc import Callable
from typing import TypeVar

from crossview_ros.config import from_dict, to_dict
from crossview_ros.errors import ConfigError
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.heads import HeadConfig
from crossview_ros.training.run_config import ModelChoice

Preset = TypeVar('Preset')


def find_preset(presets: dict[str, Callable[[], Preset]], choice: ModelChoice,
                task: str) -> Preset:
    """
    Make a preset.

    :raises ConfigError: If the task has none of that name.
    """
    if choice.preset not in presets:
        raise ConfigError(f"unknown model.preset '{choice.preset}' for task {task}; known: "
                          f'{", ".join(presets)}')
    return presets[choice.preset]()


def changed_backbone(preset: CroCoConfig, choice: ModelChoice) -> CroCoConfig:
    """
    Return the encoder and decoder with the run's changes.

    :raises ConfigError: If a field is unknown or impossible.
    """
    return from_dict(CroCoConfig, {**to_dict(preset), **choice.backbone}, 'model.backbone')


def changed_head(preset: HeadConfig, choice: ModelChoice) -> HeadConfig:
    """
    Return a head with the run's changes.

    :raises ConfigError: If a field is unknown or impossible.
    """
    return from_dict(type(preset), {**to_dict(preset), **choice.head}, 'model.head')


def check_crop(crop_hw: tuple[int, int], patch_size: int, dpt: bool = False) -> None:
    """
    Check that a network takes the crop.

    :param dpt: Whether it has a DPT head, which halves the grid of patches.
    :raises ConfigError: If a side is no multiple of the patch size, or of twice that.
    """
    multiple, what = (2 * patch_size, 'twice ') if dpt else (patch_size, '')
    if any(side % multiple for side in crop_hw):
        raise ConfigError(f'data.crop_hw {crop_hw} must be multiples of {what}the patch size '
                          f'{patch_size}')
