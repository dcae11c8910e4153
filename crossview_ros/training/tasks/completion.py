# SPDX-License-Identifier: Apache-2.0
"""Task croco: rebuild the hidden part of one view with the help of another."""
from collections.abc import Iterable
from dataclasses import replace

from crossview_ros.data.synthetic.view_pairs import PairConfig
from crossview_ros.errors import ConfigError
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.networks.patches import patchify
from crossview_ros.networks.presets import COMPLETION_PRESETS
from crossview_ros.training.pairs import PairBatches
from crossview_ros.training.pixel_loss import pixel_loss
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks.architecture import changed_backbone, check_crop, find_preset
from crossview_ros.training.tasks.step import StepOutput
import torch
from torch import Tensor


class CompletionTask:
    """Train encoder, decoder and pixel head by cross-view completion (croco.md 1)."""

    architecture = CroCoConfig
    batches = PairBatches
    score_name = 'loss of hidden patches'

    def __init__(self, config: RunConfig):
        self.config = config

    def build(self) -> CroCo:
        """
        Build the network of the run.

        :raises ConfigError: If the preset is unknown or does not fit the crop.
        """
        preset = find_preset(COMPLETION_PRESETS, self.config.model, self.config.task)
        return CroCo(changed_croco(preset, self.config))

    def records_config(self) -> PairConfig:
        """Say what is to be rendered."""
        return self.config.data.pairs

    def step(self, model: CroCo, batch: dict[str, Tensor]) -> StepOutput:
        """
        Compute the loss of one batch.

        :param batch: ``target``, ``reference`` (B, 3, H, W) normalised, ``mask`` (B, N) bool.
        """
        loss = self._loss(model, batch, 'reference')
        return StepOutput(loss, {})

    @torch.no_grad()
    def validate(self, model: CroCo, batches: Iterable[dict[str, Tensor]]) -> dict[str, float]:
        """
        Return the loss with the true and with a wrong reference, and what the true one gains.

        ``reference_gain_percent`` is 100 (1 - loss / wrong_reference_loss): how much of the
        completion comes from looking at the other view; 0 where the reference is withheld.
        """
        sums = {'loss': 0.0, 'wrong_reference_loss': 0.0}
        count = 0
        for batch in batches:
            views = {'loss': 'reference', 'wrong_reference_loss': 'wrong_reference'}
            for name, view in views.items():
                sums[name] += float(self._loss(model, batch, view)) * len(batch['mask'])
            count += len(batch['mask'])
        metrics = {name: value / count for name, value in sums.items()}
        gain = 100 * (1 - metrics['loss'] / metrics['wrong_reference_loss'])
        return {**metrics, 'reference_gain_percent': gain}

    def score(self, metrics: dict[str, float]) -> float:
        """Return what the best checkpoint minimises: the loss with the true reference."""
        return metrics['loss']

    def _loss(self, model: CroCo, batch: dict[str, Tensor], view: str) -> Tensor:
        withheld = self.config.completion.reference == 'withheld'
        output = model(batch['target'], None if withheld else batch[view], batch['mask'])
        truth = patchify(batch['target'], model.config.patch_size)
        options = self.config.pixel_loss
        return pixel_loss(output.patches.float(), truth,
                          batch['mask'] if options.masked_only else None, options.normalised)


def changed_croco(preset: CroCoConfig, config: RunConfig) -> CroCoConfig:
    """
    Return the architecture of a run for its crop.

    :raises ConfigError: If it does not fit the crop.
    """
    choice, crop_hw = config.model, config.data.crop_hw
    preset = replace(changed_backbone(preset, choice), img_size=crop_hw)
    if choice.mask_ratio is not None:
        preset = replace(preset, mask_ratio=choice.mask_ratio)
    check_crop(crop_hw, preset.patch_size)
    rows, cols = preset.grid_hw
    if int(preset.mask_ratio * rows * cols) < 1:
        raise ConfigError(f'model.mask_ratio {preset.mask_ratio} hides none of the '
                          f'{rows * cols} patches; raise it or data.crop_hw')
    return preset
