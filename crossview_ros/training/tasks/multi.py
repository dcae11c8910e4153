# SPDX-License-Identifier: Apache-2.0
"""Task multi: every head of two views that a preset has, on one encoder and decoder."""
from collections.abc import Callable
from dataclasses import replace
from functools import partial
import math

from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import HeadConfig, PosePrediction, Prediction
from crossview_ros.networks.presets import MODEL_PRESETS
from crossview_ros.training.pose_losses import pose_error, pose_loss
from crossview_ros.training.record_kinds import matching_and_pose
from crossview_ros.training.records import RecordBatches
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.seen_motion import seen_motion
from crossview_ros.training.tasks.matching import MatchingTask
import torch
from torch import Tensor

POSE = 'pose'
FOCAL_PX = 256.0   # of the canonical camera where the preset names none; as of the depth head
# [px] per median depth and per rad: with it the gradients of all heads are alike at the start, so
# that clipping the norm of all of them leaves the others theirs. Such an error moves the image by
# FOCAL_PX, but matching comes first
POSE_WEIGHT = 1.0


class MultiTask(MatchingTask):
    """
    Train stereo and flow, and pose where the preset has a head for it.

    The pose head shares the decoder pass of the flow. Rendered scenes have any size and windows
    any lens, so it learns the canonical motion of `PoseHead`: the truth follows the window
    (`seen_motion`), and crops, scales and flips are those of matching. Its errors have no say in
    which checkpoint is the best: its answer is a first guess.
    """

    def __init__(self, config: RunConfig):
        """Look whether the preset has a pose head; whether there is such a preset says `build`."""
        super().__init__(config, ('stereo', 'flow'))
        preset = MODEL_PRESETS.get(config.model.preset)
        self._has_pose = preset is not None and POSE in preset().heads

    @property
    def batches(self) -> Callable[..., RecordBatches]:
        """Return what makes batches of a folder of records: of what the heads need."""
        return partial(RecordBatches, kind=matching_and_pose(self.heads)) if self._has_pose \
            else super().batches

    def _other_heads(self, preset: ModelConfig) -> dict[str, HeadConfig]:
        """Return the pose head, without the run's changes, which are for matching heads."""
        if not self._has_pose:
            return {}
        head = preset.heads[POSE]
        return {POSE: replace(head, focal_px=head.focal_px or FOCAL_PX)}

    def _terms(self, model: MultiTaskModel, head: str, prediction: Prediction | PosePrediction,
               batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if head != POSE:
            return super()._terms(model, head, prediction, batch)
        terms = pose_loss(prediction, _truth(model, batch), (POSE_WEIGHT, POSE_WEIGHT))
        return {'loss': terms['loss'], 'translation_depths': terms['translation_m'],
                'rotation_deg': math.degrees(1) * terms['rotation_rad'], 'nll': terms['nll']}

    def _figures(self, model: MultiTaskModel, head: str,
                 prediction: Prediction | PosePrediction,
                 batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return figures as of the other heads, of pose one value for every sample."""
        if head != POSE:
            return super()._figures(model, head, prediction, batch)
        error = pose_error(prediction.T_1_2, _truth(model, batch))
        log_b = prediction.log_scale.float()
        return {'translation_depths': error[:, :3].norm(dim=1),
                'rotation_deg': torch.rad2deg(error[:, 3:].norm(dim=1)),
                'nll': (log_b + error.abs() * torch.exp(-log_b)).mean(1)}


def _truth(model: MultiTaskModel, batch: dict[str, Tensor]) -> Tensor:
    return seen_motion(batch, model.config.heads[POSE].focal_px)
