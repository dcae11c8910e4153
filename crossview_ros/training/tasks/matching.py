# SPDX-License-Identifier: Apache-2.0
"""Tasks stereo, flow and multi: dense matching between two views, several heads at once."""
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from crossview_ros.data.synthetic.random_scene import SceneConfig
from crossview_ros.errors import ConfigError
from crossview_ros.geometry.tiling import TilingSpec
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import (
    DptHeadConfig, HeadConfig, PosePrediction, Prediction)
from crossview_ros.networks.official_file import SCALES
from crossview_ros.networks.presets import MODEL_PRESETS, RELEASED_PRESETS
from crossview_ros.training.dense_losses import Criterion, criterion
from crossview_ros.training.losses import end_point_error, matching_loss
from crossview_ros.training.record_kinds import matching
from crossview_ros.training.records import RecordBatches
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks.architecture import (
    changed_backbone, changed_head, check_crop, find_preset)
from crossview_ros.training.tasks.step import StepOutput
from crossview_ros.training.tiled_prediction import predict_tiled, tiling
import torch
from torch import Tensor

OCCLUDED_WEIGHT = 0.3   # no match exists there: only the surroundings tell
HEAD_WEIGHTS = {'stereo': 1.0, 'flow': 1.0}   # [1/px]
PARTNER = {'stereo': 'right', 'flow': 'previous'}   # what a head matches the left image with
DECODED_WITH = {'pose': 'flow'}


class MatchingTask:
    """Train the named heads; one encoder pass serves all of them."""

    architecture = ModelConfig
    score_name = 'weighted end-point error, px'

    def __init__(self, config: RunConfig, heads: tuple[str, ...]):
        self.config, self.heads = config, heads

    def build(self) -> MultiTaskModel:
        """
        Build the preset with the heads of the task.

        :raises ConfigError: If the preset is unknown, lacks a head or does not fit the crop, or
            head_share names another one.
        """
        if unknown := set(self.config.head_share) - set(self.heads):
            raise ConfigError(f'head_share names {sorted(unknown)}; task {self.config.task} '
                              f'shares rows among {list(self.heads)}')
        choice, crop_hw = self.config.model, self.config.data.crop_hw
        preset = find_preset({**MODEL_PRESETS, **RELEASED_PRESETS}, choice, self.config.task)
        missing = set(self.heads) - set(preset.heads)
        if missing:
            raise ConfigError(f"preset '{choice.preset}' has no head for {sorted(missing)}")
        heads = {head: changed_head(preset.heads[head], choice) for head in self.heads}
        heads |= self._other_heads(preset)
        dpt = any(isinstance(head, DptHeadConfig) for head in heads.values())
        backbone = changed_backbone(preset.backbone, choice)
        if dpt:   # official models are tiled in the size that they were trained with
            backbone = replace(backbone, img_size=crop_hw)
        check_crop(crop_hw, backbone.patch_size, dpt)
        if self._tiled:
            for head, head_config in heads.items():
                self._tiling(head, head_config)
        return MultiTaskModel(ModelConfig(backbone, heads, preset.normalisation))

    @property
    def batches(self) -> Callable[..., RecordBatches]:
        """Return what makes batches of a folder of records: of the views that the heads need."""
        return partial(RecordBatches, kind=matching(self.heads))

    @property
    def _tiled(self) -> bool:
        return self.config.data.validation_mode == 'tiled'

    def _tiling(self, head: str, config: HeadConfig) -> TilingSpec:
        data = self.config.data
        return tiling(head, config, data.crop_hw, data.validation_overlap)

    def _other_heads(self, preset: ModelConfig) -> dict[str, HeadConfig]:
        return {}

    def records_config(self) -> SceneConfig:
        """Say what is to be rendered."""
        return self.config.data.scenes

    def step(self, model: MultiTaskModel, batch: dict[str, Tensor]) -> StepOutput:
        """
        Compute the loss of one batch.

        :param batch: ``left`` and, by head, ``right`` or ``previous`` (B, 3, H, W) normalised;
            ``disparity`` (B, 1, H, W) [px], ``flow`` (B, 2, H, W) [px] previous -> left, NaN
            unknown; where it is known, ``left_occluded``, ``previous_occluded`` (B, 1, H, W)
            bool.
        """
        loss = torch.zeros((), device=batch['left'].device)
        scalars = {}
        shares = self.config.head_share
        for head, prediction in self._predict(model, batch, shares).items():
            terms = self._terms(model, head, prediction,
                                _first_rows(batch, shares.get(DECODED_WITH.get(head, head), 1.0)))
            loss = loss + HEAD_WEIGHTS.get(head, 1.0) * terms.pop('loss')
            scalars |= {f'{head}_{name}': value for name, value in terms.items()}
        return StepOutput(loss, scalars)

    @torch.no_grad()
    def validate(self, model: MultiTaskModel,
                 batches: Iterable[dict[str, Tensor]]) -> dict[str, float]:
        """
        Return mean end-point error [px], bad-2 rate and likelihood by head; lower is better.

        Every pixel counts the same, or every image, where whole ones are measured (croco.md 6.3).
        """
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        for batch in batches:
            for head, prediction in self._validated(model, batch):
                figures = self._figures(model, head, prediction, batch)
                count = next(iter(figures.values())).numel()
                share = 1 / max(1, count) if self._tiled else 1.0
                counts[head] = counts.get(head, 0.0) + share * count
                for name, value in figures.items():
                    key = f'{head}_{name}'
                    sums[key] = sums.get(key, 0.0) + share * float(value.sum())
        return {key: value / counts[key.split('_')[0]] for key, value in sums.items()}

    def score(self, metrics: dict[str, float]) -> float:
        """Return what the best checkpoint minimises: the weighted end-point error [px]."""
        return sum(HEAD_WEIGHTS[head] * metrics[f'{head}_epe_px'] for head in self.heads)

    def _validated(self, model: MultiTaskModel,
                   batch: dict[str, Tensor]) -> Iterable[tuple[str, Prediction]]:
        if not self._tiled:
            return self._predict(model, batch).items()
        size = self.config.micro_batch or self.config.batch_size
        views = {'stereo': ('left', 'right'), 'flow': ('previous', 'left')}
        return [(head, Prediction(predict_tiled(
            model.task(head), *(batch[view] for view in views[head]),
            self._tiling(head, model.config.heads[head]), size), None)) for head in self.heads]

    def _terms(self, model: MultiTaskModel, head: str, prediction: Prediction,
               batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of a head, and what is reported of it."""
        return head_loss(model.config.heads[head], prediction, *self._truth(head, batch))

    def _figures(self, model: MultiTaskModel, head: str, prediction: Prediction,
                 batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return figures of a head, one value of each for every pixel that counts."""
        truth, _ = self._truth(head, batch)
        valid = torch.isfinite(truth).all(1, keepdim=True)
        error = end_point_error(prediction.value, torch.where(valid, truth, 0.0))[valid]
        figures = {'epe_px': error, 'bad_2': (error > 2).float()}
        log_b = log_scale(model.config.heads[head], prediction)
        if log_b is not None:
            figures['nll'] = log_b[valid] + error * torch.exp(-log_b[valid])
        return figures

    def _predict(self, model: MultiTaskModel, batch: dict[str, Tensor],
                 shares: dict[str, float] | None = None) -> dict[
                     str, Prediction | PosePrediction]:
        """Run the heads, each on its share of the rows."""
        views = {'left': batch['left']}
        for head in self.heads:
            rows = _first_rows(batch, (shares or {}).get(head, 1.0))
            views[PARTNER[head]] = rows[PARTNER[head]]
        encoded = {}
        for count in {len(view) for view in views.values()}:   # as many in one pass as can be
            names = [name for name, view in views.items() if len(view) == count]
            encoded |= zip(names, model.encode_views([views[name] for name in names]))
        predictions = {}
        for head in self.heads:
            other = encoded[PARTNER[head]]
            left = encoded['left'].first(len(views[PARTNER[head]]))
            first, second = (left, other) if head == 'stereo' else (other, left)
            predictions |= model.predict_all(head, first, second)
        return predictions

    @staticmethod
    def _truth(head: str, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        if head == 'stereo':
            return batch['disparity'], batch.get('left_occluded')
        return batch['flow'], batch.get('previous_occluded')


def _first_rows(batch: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Take a share of a batch, at least one row."""
    if share == 1:
        return batch
    return {name: value[:max(1, round(share * len(value)))] for name, value in batch.items()}


def head_loss(head: HeadConfig, prediction: Prediction, truth: Tensor,
              occluded: Tensor | None = None) -> dict[str, Tensor]:
    """
    Return the loss that a head is made for: of a DPT head the official one of its scale.

    :param truth: (B, C, H, W) [px]; NaN where unknown.
    :param occluded: (B, 1, H, W) bool; counts for matching heads only.
    :return: ``loss`` to minimise; ``epe_px`` and, where the head has a scale, ``nll``, detached.
    """
    if isinstance(head, DptHeadConfig):
        loss = official_criterion(head)(prediction.value, prediction.log_scale, truth)
        valid = torch.isfinite(truth).all(1, keepdim=True)
        error = end_point_error(prediction.value.detach(), torch.where(valid, truth, 0.0))
        terms = {'loss': loss, 'epe_px': error[valid].mean()}
        return {**terms, 'nll': loss.detach()} if head.scale != 'none' else terms
    weight = None if occluded is None else torch.where(occluded, OCCLUDED_WEIGHT, 1.0)
    terms = matching_loss(prediction, truth, weight)
    return {'loss': terms['loss'], 'epe_px': terms['epe'], 'nll': terms['nll']}


def log_scale(head: HeadConfig, prediction: Prediction) -> Tensor | None:
    """Return log b [log px] (B, 1, H, W) of a prediction, or None where the head has no scale."""
    if prediction.log_scale is None or not isinstance(head, DptHeadConfig):
        return prediction.log_scale
    return official_criterion(head).log_scale(prediction.log_scale.float())


def official_criterion(head: DptHeadConfig) -> Criterion:
    """Return the loss that gives the raw scale of a DPT head its meaning (croco.md 6.2)."""
    name = next(loss for loss, scale in SCALES.items() if scale == head.scale)
    return criterion(name, **dict(zip('ab', head.scale_range or ())))
