# SPDX-License-Identifier: Apache-2.0
"""Tasks stereo, flow and multi: dense matching between two views, several heads at once."""
from collections.abc import Iterable

from crossview_ros.data.synthetic.random_scene import SceneConfig
from crossview_ros.errors import ConfigError
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import Prediction
from crossview_ros.networks.presets import MODEL_PRESETS
from crossview_ros.training.losses import end_point_error, matching_loss
from crossview_ros.training.records import RecordBatches
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks.step import StepOutput
import torch
from torch import Tensor

OCCLUDED_WEIGHT = 0.3   # no match exists there: only the surroundings tell
HEAD_WEIGHTS = {'stereo': 1.0, 'flow': 1.0}   # [1/px]


class MatchingTask:
    """Train the named heads; one encoder pass serves all of them."""

    architecture = ModelConfig
    batches = RecordBatches
    score_name = 'weighted end-point error, px'

    def __init__(self, config: RunConfig, heads: tuple[str, ...]):
        self.config, self.heads = config, heads

    def build(self) -> MultiTaskModel:
        """
        Build the preset with the heads of the task.

        :raises ConfigError: If the preset is unknown or lacks a head.
        """
        name = self.config.model.preset
        if name not in MODEL_PRESETS:
            raise ConfigError(f"unknown model.preset '{name}'; "
                              f'known: {", ".join(MODEL_PRESETS)}')
        preset = MODEL_PRESETS[name]()
        missing = set(self.heads) - set(preset.heads)
        if missing:
            raise ConfigError(f"preset '{name}' has no head for {sorted(missing)}")
        return MultiTaskModel(ModelConfig(
            preset.backbone, {head: preset.heads[head] for head in self.heads},
            preset.normalisation))

    def records_config(self) -> SceneConfig:
        """Say what is to be rendered."""
        return SceneConfig()

    def step(self, model: MultiTaskModel, batch: dict[str, Tensor]) -> StepOutput:
        """
        Compute the loss of one batch.

        :param batch: ``left`` and, by head, ``right`` or ``previous`` (B, 3, H, W) normalised;
            ``disparity`` (B, 1, H, W) [px], ``flow`` (B, 2, H, W) [px] previous -> left, NaN
            unknown; ``left_occluded``, ``previous_occluded`` (B, 1, H, W) bool.
        """
        loss = torch.zeros((), device=batch['left'].device)
        scalars = {}
        for head, prediction in self._predict(model, batch).items():
            truth, occluded = self._truth(head, batch)
            weight = torch.where(occluded, OCCLUDED_WEIGHT, 1.0)
            terms = matching_loss(prediction, truth, weight)
            loss = loss + HEAD_WEIGHTS[head] * terms['loss']
            scalars[f'{head}_epe_px'] = terms['epe']
            scalars[f'{head}_nll'] = terms['nll']
        return StepOutput(loss, scalars)

    @torch.no_grad()
    def validate(self, model: MultiTaskModel,
                 batches: Iterable[dict[str, Tensor]]) -> dict[str, float]:
        """Return mean end-point error [px], bad-2 rate and likelihood by head; lower is better."""
        sums: dict[str, float] = {}
        pixels: dict[str, float] = {}
        for batch in batches:
            for head, prediction in self._predict(model, batch).items():
                truth, _ = self._truth(head, batch)
                valid = torch.isfinite(truth).all(1, keepdim=True)
                error = end_point_error(prediction.value, torch.where(valid, truth, 0.0))[valid]
                scale = prediction.log_scale[valid]
                pixels[head] = pixels.get(head, 0.0) + error.numel()
                for name, value in (('epe_px', error), ('bad_2', (error > 2).float()),
                                    ('nll', scale + error * torch.exp(-scale))):
                    key = f'{head}_{name}'
                    sums[key] = sums.get(key, 0.0) + float(value.sum())
        return {key: value / pixels[key.split('_')[0]] for key, value in sums.items()}

    def score(self, metrics: dict[str, float]) -> float:
        """Return what the best checkpoint minimises: the weighted end-point error [px]."""
        return sum(HEAD_WEIGHTS[head] * metrics[f'{head}_epe_px'] for head in self.heads)

    def _predict(self, model: MultiTaskModel,
                 batch: dict[str, Tensor]) -> dict[str, Prediction]:
        partner = {'stereo': 'right', 'flow': 'previous'}
        views = ['left', *(partner[head] for head in self.heads)]
        features = model.encode_views([batch[view] for view in views])
        encoded = dict(zip(views, features))
        predictions = {}
        for head in self.heads:
            left, other = encoded['left'], encoded[partner[head]]
            first, second = (left, other) if head == 'stereo' else (other, left)
            predictions[head] = model.predict(head, first, second)
        return predictions

    @staticmethod
    def _truth(head: str, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        if head == 'stereo':
            return batch['disparity'], batch['left_occluded']
        return batch['flow'], batch['previous_occluded']
