# SPDX-License-Identifier: Apache-2.0
"""Task joint: cross-view completion and SimIPU on stereo images with clouds, one encoder."""
from collections.abc import Iterable
from dataclasses import replace
from itertools import tee

from crossview_ros.data.synthetic.lidar_frames import LidarFrameConfig
from crossview_ros.networks.contrast_presets import JOINT_PRESETS
from crossview_ros.networks.joint import Joint, JointConfig
from crossview_ros.training.clouds import rendered_clouds
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks.architecture import find_preset
from crossview_ros.training.tasks.completion import changed_croco, CompletionTask
from crossview_ros.training.tasks.simipu import (
    cell_px, changed_contrast, check_padding, contrast_step, validate_matches,
    without_idle_gradients)
from crossview_ros.training.tasks.step import StepOutput
import torch
from torch import Tensor


class JointTask:
    """Train one encoder by three losses: completion, points with points, image with points."""

    architecture = JointConfig
    batches = staticmethod(rendered_clouds)
    score_name = 'loss of hidden patches + share of points not found in the best tenth'

    def __init__(self, config: RunConfig):
        self.config = config
        self.completion = CompletionTask(config)

    def build(self) -> Joint:
        """
        Build the network of the run.

        :raises ConfigError: If the preset is unknown or does not fit the crop.
        """
        preset = find_preset(JOINT_PRESETS, self.config.model, self.config.task)
        croco = changed_croco(preset.croco, self.config)
        contrast = changed_contrast(replace(preset.contrast, vit=croco),
                                    self.config.model.contrast)
        check_padding(self.config, contrast)
        model = Joint(JointConfig(croco, contrast))
        without_idle_gradients(model.contrast)
        return model

    def records_config(self) -> LidarFrameConfig:
        """Say what is to be rendered."""
        return self.config.data.frames

    def step(self, model: Joint, batch: dict[str, Tensor]) -> StepOutput:
        """
        Compute the loss of one batch.

        :param batch: What tasks croco and simipu take.
        """
        completion = self.completion.step(model.completion, batch).loss
        contrast = contrast_step(self.config, model.compare, model.contrast, batch)
        loss = self.config.contrast.completion_weight * completion + contrast.loss
        return StepOutput(loss, {'completion': completion.detach(), **contrast.scalars})

    @torch.no_grad()
    def validate(self, model: Joint, batches: Iterable[dict[str, Tensor]]) -> dict[str, float]:
        """Return what tasks croco and simipu measure."""
        for_completion, for_points = tee(batches)
        return {**self.completion.validate(model.completion, for_completion),
                **validate_matches(model.compare, for_points, cell_px(model.contrast.config))}

    def score(self, metrics: dict[str, float]) -> float:
        """Return what the best checkpoint minimises."""
        return metrics['loss'] + 1 - metrics['inter_top10th_percent'] / 100
