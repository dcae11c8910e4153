# SPDX-License-Identifier: Apache-2.0
"""Task depth: metres from one view."""
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from crossview_ros.data.synthetic.lidar_frames import LidarFrameConfig
from crossview_ros.data.synthetic.random_scene import SceneConfig
from crossview_ros.errors import ConfigError
from crossview_ros.networks.downstream import (
    ModelConfig, MultiTaskModel, one_view_model, OneViewConfig, OneViewModel)
from crossview_ros.networks.heads import Prediction
from crossview_ros.networks.presets import MODEL_PRESETS, ONE_VIEW_PRESETS
from crossview_ros.training.depth_losses import log_depth_loss
from crossview_ros.training.record_kinds import DEPTH, FRAME_DEPTH
from crossview_ros.training.records import RecordBatches
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks.architecture import (
    changed_backbone, changed_head, check_crop, find_preset)
from crossview_ros.training.tasks.step import StepOutput
import torch
from torch import Tensor


class DepthTask:
    """
    Train a head, and the encoder unless it is frozen, to tell the depth along the optical axis.

    The network is one of one view, or a multi-task model, whose other heads are carried over:
    those that the run freezes. With a canonical focal length f_c the truth is divided by f / f_c,
    f of the sample in pixels of the crop (Metric3D, Yin et al., ICCV 2023, section 3.2).
    """

    score_name = 'mean absolute error over true depth, -'

    def __init__(self, config: RunConfig):
        self.config = config

    @property
    def architecture(self) -> type:
        """Return the type of the network's config."""
        return OneViewConfig if self.config.model.preset in ONE_VIEW_PRESETS else ModelConfig

    def build(self) -> OneViewModel | MultiTaskModel:
        """
        Build the network of the run.

        :raises ConfigError: If the preset is unknown, does not fit the crop, or its head does
            not give logarithms of metres and of their scale.
        """
        choice, crop_hw = self.config.model, self.config.data.crop_hw
        several = {name: preset for name, preset in MODEL_PRESETS.items()
                   if 'depth' in preset().heads}
        preset = find_preset({**ONE_VIEW_PRESETS, **several}, choice, self.config.task)
        backbone = changed_backbone(preset.backbone, choice)
        if isinstance(preset, ModelConfig):
            check_crop(crop_hw, backbone.patch_size)
            heads = {task: head for task, head in preset.heads.items()
                     if f'heads.{task}' in choice.freeze}
            heads['depth'] = changed_head(preset.heads['depth'], choice)
            return MultiTaskModel(replace(preset, backbone=backbone, heads=heads))
        head = changed_head(preset.head, choice)
        check_crop(crop_hw, backbone.patch_size, dpt=True)
        if preset.value != 'exp' or head.scale != 'exp' or head.num_values != 1:
            raise ConfigError("task depth needs a head of one value with scale 'exp', got "
                              f"{head.num_values} with '{head.scale}'")
        backbone = replace(backbone, img_size=crop_hw)
        return one_view_model(replace(preset, backbone=backbone, head=head))

    @property
    def batches(self) -> Callable[..., RecordBatches]:
        """Return what makes batches of a folder of records."""
        return partial(RecordBatches, kind=FRAME_DEPTH if self._frames else DEPTH)

    @property
    def _frames(self) -> bool:
        return self.config.data.depth_of == 'frames'

    def records_config(self) -> SceneConfig | LidarFrameConfig:
        """Say what is to be rendered."""
        return self.config.data.frames if self._frames \
            else self.config.data.scenes

    def step(self, model: OneViewModel | MultiTaskModel,
             batch: dict[str, Tensor]) -> StepOutput:
        """
        Compute the loss of one batch.

        :param batch: ``left`` (B, 3, H, W) normalised; ``depth`` (B, 1, H, W) [m], NaN unknown;
            ``focal`` (B,) [px] of the images as they are.
        """
        terms = log_depth_loss(_predict(model, batch), batch['depth'] / _stretch(model, batch))
        return StepOutput(terms['loss'], {'log_error': terms['epe'], 'nll': terms['nll']})

    @torch.no_grad()
    def validate(self, model: OneViewModel | MultiTaskModel,
                 batches: Iterable[dict[str, Tensor]]) -> dict[str, float]:
        """
        Return figures over pixels, in metres of the sample's own camera.

        abs_rel, rmse_m, the share delta_1 within a factor of 1.25, the likelihood of the
        logarithmic error, and ``shape_abs_rel``: abs_rel after each image's depth was scaled by
        the median ratio to the truth.
        """
        names = ('abs_rel', 'rmse_m', 'delta_1', 'nll', 'shape_abs_rel')
        sums, pixels = dict.fromkeys(names, 0.0), 0
        for batch in batches:
            prediction = _predict(model, batch)
            depths = prediction.value.float() * _stretch(model, batch)
            for depth, log_b, truth in zip(depths, prediction.log_scale.float(), batch['depth']):
                known = truth.isfinite() & (truth > 0)
                for name, value in zip(names, _errors(depth[known], log_b[known], truth[known])):
                    sums[name] += float(value.sum())
                pixels += int(known.sum())
        means = {name: value / pixels for name, value in sums.items()}
        return {**means, 'rmse_m': means['rmse_m'] ** 0.5}

    def score(self, metrics: dict[str, float]) -> float:
        """Return what the best checkpoint minimises: abs_rel."""
        return metrics['abs_rel']


def _predict(model: OneViewModel | MultiTaskModel, batch: dict[str, Tensor]) -> Prediction:
    if isinstance(model, MultiTaskModel):
        return model.predict('depth', model.encode(batch['left']))
    return model(batch['left'])


def _stretch(model: OneViewModel | MultiTaskModel, batch: dict[str, Tensor]) -> Tensor:
    """Return (B, 1, 1, 1): metres of each sample's camera over those of the canonical one."""
    config = model.config
    focal_px = config.heads['depth'].focal_px if isinstance(config, ModelConfig) \
        else config.focal_px
    focal = batch['focal'].view(-1, 1, 1, 1)
    return torch.ones_like(focal) if focal_px is None else focal / focal_px


def _errors(depth: Tensor, log_scale: Tensor, truth: Tensor) -> tuple[Tensor, ...]:
    """Return what `DepthTask.validate` averages, of the known pixels of one image."""
    error, log_error = (depth - truth).abs(), (depth.log() - truth.log()).abs()
    scaled = depth * (truth / depth).median() if len(truth) else depth
    return (error / truth, error.square(), (log_error < 0.2231436).float(),   # log 1.25
            log_scale + log_error * torch.exp(-log_scale), (scaled - truth).abs() / truth)
