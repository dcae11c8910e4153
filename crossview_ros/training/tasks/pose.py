# SPDX-License-Identifier: Apache-2.0
"""Task pose: the motion of the camera between two views."""
from collections.abc import Iterable
from functools import partial
import math

from crossview_ros.data.synthetic.random_scene import SceneConfig
from crossview_ros.errors import ConfigError
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import PosePrediction
from crossview_ros.networks.presets import MODEL_PRESETS
from crossview_ros.training.pose_losses import pose_loss, ROTATION_WEIGHT_M
from crossview_ros.training.record_kinds import POSE
from crossview_ros.training.records import RecordBatches
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks.architecture import (
    changed_backbone, changed_head, check_crop, find_preset)
from crossview_ros.training.tasks.step import StepOutput
import torch
from torch import Tensor

HEAD = 'pose'


class PoseTask:
    """Train encoder, decoder and pose head; view 1 is the earlier one."""

    architecture = ModelConfig
    batches = partial(RecordBatches, kind=POSE)
    score_name = f'translation error + {ROTATION_WEIGHT_M:g} m/rad * rotation error, m'

    def __init__(self, config: RunConfig):
        self.config = config

    def build(self) -> MultiTaskModel:
        """
        Build the network of the run.

        :raises ConfigError: If the preset is unknown, has no pose head or does not fit the crop.
        """
        choice = self.config.model
        preset = find_preset(MODEL_PRESETS, choice, self.config.task)
        if HEAD not in preset.heads:
            raise ConfigError(f"preset '{choice.preset}' has no head for ['{HEAD}']")
        backbone = changed_backbone(preset.backbone, choice)
        check_crop(self.config.data.crop_hw, backbone.patch_size)
        return MultiTaskModel(ModelConfig(
            backbone, {HEAD: changed_head(preset.heads[HEAD], choice)}, preset.normalisation))

    def records_config(self) -> SceneConfig:
        """Say what is to be rendered."""
        return self.config.data.scenes

    def step(self, model: MultiTaskModel, batch: dict[str, Tensor]) -> StepOutput:
        """
        Compute the loss of one batch.

        :param batch: ``previous``, ``left`` (B, 3, H, W) normalised; ``T_previous_left``
            (B, 4, 4) [m].
        """
        terms = pose_loss(self._predict(model, batch), batch['T_previous_left'])
        return StepOutput(terms.pop('loss'), terms)

    @torch.no_grad()
    def validate(self, model: MultiTaskModel,
                 batches: Iterable[dict[str, Tensor]]) -> dict[str, float]:
        """Return mean errors of translation [m] and rotation [deg], and the likelihood."""
        sums = dict.fromkeys(('translation_m', 'rotation_rad', 'nll'), 0.0)
        count = 0
        for batch in batches:
            truth = batch['T_previous_left']
            terms = pose_loss(self._predict(model, batch), truth)
            for name in sums:
                sums[name] += float(terms[name]) * len(truth)
            count += len(truth)
        means = {name: value / count for name, value in sums.items()}
        return {'translation_m': means['translation_m'], 'nll': means['nll'],
                'rotation_deg': math.degrees(means['rotation_rad'])}

    def score(self, metrics: dict[str, float]) -> float:
        """Return what the best checkpoint minimises [m]."""
        return metrics['translation_m'] \
            + ROTATION_WEIGHT_M * math.radians(metrics['rotation_deg'])

    @staticmethod
    def _predict(model: MultiTaskModel, batch: dict[str, Tensor]) -> PosePrediction:
        return model.predict(HEAD, *model.encode_views([batch['previous'], batch['left']]))
