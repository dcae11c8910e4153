# SPDX-License-Identifier: Apache-2.0
"""Task depth on a ResNet with the DenseDepth decoder, as SimIPU's experiments (simipu.md 11)."""
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from crossview_ros.config import from_dict, to_dict
from crossview_ros.data.synthetic.random_scene import SceneConfig
from crossview_ros.errors import ConfigError
from crossview_ros.metrics.depth_protocol import image_means, protocol_metrics
from crossview_ros.networks.heads.dense_depth import DenseDepthConfig
from crossview_ros.networks.presets import RESNET_DEPTH_PRESETS
from crossview_ros.networks.resnet import ResNetConfig
from crossview_ros.networks.resnet_depth import (
    ResNetDepthConfig, ResNetDepthModel, start_from_scratch, with_mirror)
from crossview_ros.training.depth_losses import sig_loss
from crossview_ros.training.record_kinds import DEPTH
from crossview_ros.training.records import RecordBatches
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks.architecture import find_preset
from crossview_ros.training.tasks.step import StepOutput
import torch
from torch import Tensor


class DenseDepthTask:
    """Train encoder and decoder by SigLoss, on every pixel with truth."""

    architecture = ResNetDepthConfig
    batches = partial(RecordBatches, kind=DEPTH)
    score_name = 'mean absolute error over true depth, -'

    def __init__(self, config: RunConfig):
        self.config = config

    def build(self) -> ResNetDepthModel:
        """
        Build the network of the run; without weights to start from, as the scratch baseline.

        :raises ConfigError: If the preset is unknown, or a change of it impossible.
        """
        choice = self.config.model
        preset = find_preset(RESNET_DEPTH_PRESETS, choice, self.config.task)
        backbone = from_dict(ResNetConfig, {**to_dict(preset.backbone), **choice.backbone},
                             'model.backbone')
        head = {**to_dict(preset.head), 'in_channels': list(backbone.out_channels)}
        head = from_dict(DenseDepthConfig, {**head, **choice.head}, 'model.head')
        try:
            model = ResNetDepthModel(replace(preset, backbone=backbone, head=head))
        except ValueError as error:
            raise ConfigError(f'model.head: {error}') from error
        if choice.start_from is None:
            start_from_scratch(model.encoder)
        return model

    def records_config(self) -> SceneConfig:
        """Say what is to be rendered."""
        return self.config.data.scenes

    def step(self, model: ResNetDepthModel, batch: dict[str, Tensor]) -> StepOutput:
        """
        Compute the loss of one batch.

        :param batch: ``left`` (B, 3, H, W) normalised; ``depth`` (B, 1, H, W) [m], NaN unknown.
        """
        truth = batch['depth']
        depth = model.unclamped(batch['left'], truth.shape[-2:]).float()
        return StepOutput(sig_loss(depth, truth), {})

    @torch.no_grad()
    def validate(self, model: ResNetDepthModel,
                 batches: Iterable[dict[str, Tensor]]) -> dict[str, float]:
        """
        Return the figures of `protocol_metrics`, their means over images.

        The depth is the mean of the image's and of the mirrored image's.
        """
        images = []
        for batch in batches:
            depths = with_mirror(model, batch['left']).float().cpu().numpy()
            truths = batch['depth'].cpu().numpy()
            images += [protocol_metrics(depth[0], truth[0], self.config.depth_protocol)
                       for depth, truth in zip(depths, truths)]
        return {name: metric.value for name, metric in image_means(images).items()}

    def score(self, metrics: dict[str, float]) -> float:
        """Return what the best checkpoint minimises: abs_rel."""
        return metrics['abs_rel']
