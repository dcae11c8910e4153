# SPDX-License-Identifier: Apache-2.0
"""Task depth: metres from one view."""
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from crossview_ros.data.synthetic.random_scene import SceneConfig
from crossview_ros.errors import ConfigError
from crossview_ros.networks.downstream import one_view_model, OneViewConfig, OneViewModel
from crossview_ros.networks.presets import ONE_VIEW_PRESETS
from crossview_ros.training.depth_losses import log_depth_loss
from crossview_ros.training.record_kinds import DEPTH
from crossview_ros.training.records import RecordBatches
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks.architecture import (
    changed_backbone, changed_head, check_crop, find_preset)
from crossview_ros.training.tasks.step import StepOutput
import torch
from torch import Tensor


class DepthTask:
    """
    Train encoder and head to tell the depth [m] along the optical axis.

    One view does not say how far its lens zooms in: the metres hold for cameras like those of
    the training data, and scale with the focal length elsewhere.
    """

    architecture = OneViewConfig
    batches = partial(RecordBatches, kind=DEPTH)
    score_name = 'mean absolute error over true depth, -'

    def __init__(self, config: RunConfig):
        self.config = config

    def build(self) -> OneViewModel:
        """
        Build the network of the run.

        :raises ConfigError: If the preset is unknown, does not fit the crop, or its head does
            not give logarithms of metres and of their scale.
        """
        choice, crop_hw = self.config.model, self.config.data.crop_hw
        preset = find_preset(ONE_VIEW_PRESETS, choice, self.config.task)
        backbone = replace(changed_backbone(preset.backbone, choice), img_size=crop_hw)
        head = changed_head(preset.head, choice)
        check_crop(crop_hw, backbone.patch_size, dpt=True)
        if preset.value != 'exp' or head.scale != 'exp' or head.num_values != 1:
            raise ConfigError("task depth needs a head of one value with scale 'exp', got "
                              f"{head.num_values} with '{head.scale}'")
        return one_view_model(replace(preset, backbone=backbone, head=head))

    def records_config(self) -> SceneConfig:
        """Say what is to be rendered."""
        return SceneConfig()

    def step(self, model: OneViewModel, batch: dict[str, Tensor]) -> StepOutput:
        """
        Compute the loss of one batch.

        :param batch: ``left`` (B, 3, H, W) normalised; ``depth`` (B, 1, H, W) [m], NaN unknown.
        """
        terms = log_depth_loss(model(batch['left']), batch['depth'])
        return StepOutput(terms['loss'], {'log_error': terms['epe'], 'nll': terms['nll']})

    @torch.no_grad()
    def validate(self, model: OneViewModel,
                 batches: Iterable[dict[str, Tensor]]) -> dict[str, float]:
        """Return abs_rel, rmse_m and the share delta_1 within a factor of 1.25, over pixels."""
        sums = dict.fromkeys(('abs_rel', 'rmse_m', 'delta_1'), 0.0)
        pixels = 0
        for batch in batches:
            truth = batch['depth']
            known = truth.isfinite() & (truth > 0)
            truth, depth = truth[known], model(batch['left']).value[known]
            error = (depth - truth).abs()
            near = torch.maximum(depth / truth, truth / depth) < 1.25
            for name, value in (('abs_rel', error / truth), ('rmse_m', error.square()),
                                ('delta_1', near)):
                sums[name] += float(value.sum())
            pixels += truth.numel()
        means = {name: value / pixels for name, value in sums.items()}
        return {**means, 'rmse_m': means['rmse_m'] ** 0.5}

    def score(self, metrics: dict[str, float]) -> float:
        """Return what the best checkpoint minimises: abs_rel."""
        return metrics['abs_rel']
