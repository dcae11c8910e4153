# SPDX-License-Identifier: Apache-2.0
"""Downstream models by composition: one encoder, one decoder, and a head for each task."""
from dataclasses import dataclass, field
from typing import Literal

from crossview_ros.errors import CheckpointError
from crossview_ros.networks.croco import CroCoConfig, CroCoDecoder, CroCoEncoder, EncoderFeatures
from crossview_ros.networks.heads import (
    build_head, DepthHead, DepthHeadConfig, DptHead, DptHeadConfig, HeadConfig, PosePrediction,
    Prediction)
from crossview_ros.networks.normalisation import Normalisation
import torch
from torch import nn, Tensor

TASK_UNITS = {'stereo': 'px', 'flow': 'px', 'pose': 'm', 'depth': 'm'}
ONE_VIEW_TASKS = ('depth',)   # their heads read the encoder's features of one image
LOG_VALUE_RANGE = (-7.0, 7.0)   # of an exponential answer: 0.9 mm to 1.1 km


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of a deployed model: what its weights' shapes depend on, and nothing else."""

    backbone: CroCoConfig
    heads: dict[str, HeadConfig]
    normalisation: Normalisation = field(default_factory=Normalisation)

    def __post_init__(self):
        unknown = set(self.heads) - set(TASK_UNITS)
        if unknown or not self.heads:
            raise ValueError(f'heads must name tasks among {sorted(TASK_UNITS)}, '
                             f'got {sorted(self.heads)}')
        for task, head in self.heads.items():
            if isinstance(head, DepthHeadConfig) != (task in ONE_VIEW_TASKS):
                raise ValueError(f"head of task '{task}': a {type(head).__name__} cannot serve it")


@dataclass(frozen=True)
class OneViewConfig:
    """Architecture of an `OneViewModel`; of the backbone only the encoder exists."""

    backbone: CroCoConfig
    head: DptHeadConfig
    normalisation: Normalisation = field(default_factory=Normalisation)
    value: Literal['linear', 'exp'] = 'linear'   # exp: of the head's output, so above 0 (depth)
    focal_px: float | None = None   # of the canonical camera of the depth; as `DepthHeadConfig`


class TwoViewModel(nn.Module):
    """Encoder, decoder and one head: two images in, one dense prediction or pose out."""

    def __init__(self, encoder: CroCoEncoder, decoder: CroCoDecoder, head: nn.Module,
                 normalisation: Normalisation):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.normalisation = normalisation

    def forward(self, image1: Tensor, image2: Tensor) -> Prediction | PosePrediction:
        """
        Predict from view 1 to view 2.

        :param image1: (B, 3, H, W) float, normalised; H and W multiples of the patch size.
        :param image2: As ``image1``.
        """
        return self.predict(*encode_views(self.encoder, [image1, image2]))

    def predict(self, features1: EncoderFeatures,
                features2: EncoderFeatures) -> Prediction | PosePrediction:
        """Run decoder and head on encoded views."""
        return run_heads(self.decoder, [self.head], features1, features2)[0]


class OneViewModel(nn.Module):
    """
    Encoder and head: one image in, one dense prediction out.

    Depth is that of the canonical camera where the architecture has a ``focal_px``.
    """

    def __init__(self, encoder: CroCoEncoder, head: DptHead | DepthHead,
                 normalisation: Normalisation, exponential: bool = False):
        """
        Put the parts together.

        :param head: A `DptHead` made for encoder tokens only (``decoder=False``).
        :param exponential: Whether the head gives the logarithm of the answer.
        """
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.normalisation = normalisation
        self.exponential = exponential

    def forward(self, image: Tensor) -> Prediction:
        """
        Predict from one view.

        :param image: (B, 3, H, W) float, normalised; H and W multiples of what the head needs.
        """
        return self.predict(self.encoder(image))

    def predict(self, features: EncoderFeatures) -> Prediction:
        """Run the head on an encoded view."""
        if isinstance(self.head, DepthHead):
            return self.head(features)
        out = self.head(features.tokens, features.grid_hw)
        if not self.exponential:
            return out
        return out._replace(value=out.value.float().clamp(*LOG_VALUE_RANGE).exp())


class MultiTaskModel(nn.Module):
    """One encoder and decoder shared by the heads of several tasks."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.encoder = CroCoEncoder(config.backbone)
        self.decoder = CroCoDecoder(config.backbone)
        self.heads = nn.ModuleDict({
            task: build_head(head, config.backbone) for task, head in config.heads.items()})

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that this model has a head for."""
        return list(self.heads)

    def task(self, name: str) -> TwoViewModel | OneViewModel:
        """
        Return the model of one task; it shares this model's weights.

        :raises CheckpointError: If there is no head for it.
        """
        if name not in self.heads:
            raise CheckpointError(f"the model has no task '{name}'; it has {self.tasks}")
        head, normalisation = self.heads[name], self.config.normalisation
        model = OneViewModel(self.encoder, head, normalisation) if name in ONE_VIEW_TASKS \
            else TwoViewModel(self.encoder, self.decoder, head, normalisation)
        model.training = self.training   # of the wrapper: the parts are shared, not switched
        return model

    def encode(self, image: Tensor) -> EncoderFeatures:
        """Encode (B, 3, H, W) normalised images once, for every head."""
        return self.encoder(image)

    def encode_views(self, images: list[Tensor]) -> list[EncoderFeatures]:
        """Encode several (B, 3, H, W) views as one batch."""
        return encode_views(self.encoder, images)

    def predict(self, task: str, *features: EncoderFeatures) -> Prediction | PosePrediction:
        """Run one task on its one or two encoded views; as `TwoViewModel.predict`."""
        return self.task(task).predict(*features)

    def predict_all(self, task: str, *features: EncoderFeatures) -> dict[
            str, Prediction | PosePrediction]:
        """Run one task, and with flow the pose head: it reads the same pass of the decoder."""
        if task != 'flow' or 'pose' not in self.heads:
            return {task: self.predict(task, *features)}
        tasks = ('flow', 'pose')
        return dict(zip(tasks, run_heads(self.decoder, [self.heads[name] for name in tasks],
                                         *features)))


def one_view_model(config: OneViewConfig) -> OneViewModel:
    """
    Build the network of one view.

    :raises ValueError: If the head does not fit the backbone.
    """
    model = OneViewModel(CroCoEncoder(config.backbone),
                         DptHead(config.head, config.backbone, decoder=False),
                         config.normalisation, config.value == 'exp')
    model.config = config
    return model


def run_heads(decoder: CroCoDecoder, heads: list[nn.Module], features1: EncoderFeatures,
              features2: EncoderFeatures) -> list[Prediction | PosePrediction]:
    """
    Run two-view heads on one pass of the decoder.

    Where a head needs the views in both orders, they go through as one batch, and the other heads
    read the half in which view 1 comes first.
    """
    tokens1, tokens2 = features1.tokens[-1], features2.tokens[-1]
    both = any(head.both_directions for head in heads)
    if both:
        tokens1, tokens2 = torch.cat((tokens1, tokens2)), torch.cat((tokens2, tokens1))
    decoded = decoder(tokens1, tokens2, features1.grid_hw)
    forward = [tokens.chunk(2)[0] for tokens in decoded] if both else decoded
    return [head(*decoded[-1].chunk(2), features1, features2) if head.both_directions
            else head(features1.tokens + forward, features1.grid_hw) for head in heads]


def encode_views(encoder: CroCoEncoder, images: list[Tensor]) -> list[EncoderFeatures]:
    """Encode several (B, 3, H, W) views as one batch; one entry of features for each."""
    both = encoder(torch.cat(images))
    tokens = [t.chunk(len(images)) for t in both.tokens]
    stem = [s.chunk(len(images)) for s in both.stem]
    return [EncoderFeatures([t[i] for t in tokens], [s[i] for s in stem], both.grid_hw)
            for i in range(len(images))]
