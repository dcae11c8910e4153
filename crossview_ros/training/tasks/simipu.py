# SPDX-License-Identifier: Apache-2.0
"""Task simipu: an image branch learns from LiDAR points, and these from themselves."""
from collections.abc import Callable, Iterable
from dataclasses import replace

from crossview_ros.config import from_dict, to_dict
from crossview_ros.data.synthetic.lidar_frames import LidarFrameConfig
from crossview_ros.errors import ConfigError
from crossview_ros.networks.contrast_presets import SIMIPU_PRESETS
from crossview_ros.networks.simipu import PointContrast, Projections, SimIPU, SimIPUConfig
from crossview_ros.training.clouds import rendered_clouds
from crossview_ros.training.contrastive_losses import simipu_losses
from crossview_ros.training.contrastive_scores import find_matches, match_metrics, match_sums
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks.architecture import changed_backbone, find_preset
from crossview_ros.training.tasks.step import StepOutput
import torch
from torch import Tensor

Batch = dict[str, Tensor]
RESNET_STRIDE = 32   # [px] of the last map


class SimIPUTask:
    """Train both branches and their projectors (simipu.md 7)."""

    architecture = SimIPUConfig
    batches = staticmethod(rendered_clouds)
    score_name = 'points whose key is not among the best tenth of their frame, %'

    def __init__(self, config: RunConfig):
        self.config = config

    def build(self) -> SimIPU:
        """
        Build the network of the run.

        :raises ConfigError: If the preset is unknown or does not fit the images.
        """
        choice = self.config.model
        preset = find_preset(SIMIPU_PRESETS, choice, self.config.task)
        if preset.vit is not None:
            preset = replace(preset, vit=changed_backbone(preset.vit, choice))
        elif choice.backbone:
            preset = changed_contrast(preset, {'resnet': {**to_dict(preset.resnet),
                                                          **choice.backbone}})
        preset = changed_contrast(preset, choice.contrast)
        check_padding(self.config, preset)
        return without_idle_gradients(SimIPU(preset))

    def records_config(self) -> LidarFrameConfig:
        """Say what is to be rendered."""
        return self.config.data.frames

    def step(self, model: SimIPU, batch: Batch) -> StepOutput:
        """
        Compute the loss of one batch.

        :param batch: As `SimIPU.forward` takes it.
        """
        return contrast_step(self.config, model, model, batch)

    @torch.no_grad()
    def validate(self, model: SimIPU, batches: Iterable[Batch]) -> dict[str, float]:
        """Return how often image features find their point, in percent beside chance."""
        return validate_matches(model, batches, cell_px(model.config))

    def score(self, metrics: dict[str, float]) -> float:
        """Return what the best checkpoint minimises: misses of the best tenth [%]."""
        return 100 - metrics['inter_top10th_percent']


def changed_contrast(preset: SimIPUConfig, changes: dict) -> SimIPUConfig:
    """
    Return an architecture with other fields.

    :raises ConfigError: If a field is unknown or impossible.
    """
    return from_dict(SimIPUConfig, {**to_dict(preset), **changes}, 'model.contrast')


def without_idle_gradients(model: PointContrast) -> PointContrast:
    """Exclude what no loss reaches: several processes wait for the gradient of all the rest."""
    for part in model.untrained():
        part.requires_grad_(False)
    return model


def check_padding(config: RunConfig, architecture: SimIPUConfig) -> None:
    """
    Check that a ViT's patches fill the images.

    :raises ConfigError: If padded images are no multiples of the patch size.
    """
    multiple_px = config.data.clouds.image.multiple_px
    if architecture.vit is not None and multiple_px % architecture.vit.patch_size:
        raise ConfigError(f'data.clouds.image.multiple_px {multiple_px} must be a multiple of the '
                          f'patch size {architecture.vit.patch_size}')


def contrast_step(config: RunConfig, compare: Callable[[Batch], Projections],
                  parts: PointContrast, batch: Batch) -> StepOutput:
    """
    Compute both losses of SimIPU, and put the features into the queue where there is one.

    :param compare: The network, from a batch to its projections.
    :param parts: Of the network: what keeps the queue.
    """
    output = compare(without_common_padding(batch))
    terms = simipu_losses(output, config.contrast.temperature,
                          config.contrast.negatives == 'frame')
    if parts.config.momentum:
        parts.enqueue(output.features)
    weights = config.contrast
    loss = weights.intra_weight * terms['intra'] + weights.inter_weight * terms['inter']
    return StepOutput(loss, {name: value.detach() for name, value in terms.items()})


def without_common_padding(batch: Batch) -> Batch:
    """Cut off what is padding in all images, so that a part does not depend on the others."""
    rows, cols = batch['pad_hw'].amax(0).tolist()
    return {**batch, 'image': batch['image'][..., :rows, :cols]}


def validate_matches(compare: Callable[[Batch], Projections], batches: Iterable[Batch],
                     side_px: int) -> dict[str, float]:
    """Return `match_metrics` over batches; ``side_px`` is that of a cell of the feature map."""
    total: dict[str, float] = {}
    for batch in batches:
        batch = without_common_padding(batch)
        for name, value in match_sums(find_matches(compare(batch), batch), side_px).items():
            total[name] = total.get(name, 0.0) + value
    return match_metrics(total)


def cell_px(architecture: SimIPUConfig) -> int:
    """Return the side of a cell of the image branch's last map [px]."""
    return architecture.vit.patch_size if architecture.vit else RESNET_STRIDE
