# SPDX-License-Identifier: Apache-2.0
"""SimIPU: an image branch learns from a point branch, and that from itself (simipu.md 2 to 9)."""
import copy
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from crossview_ros.networks.croco import CroCoConfig, CroCoEncoder, EncoderFeatures
from crossview_ros.networks.image_sampling import (
    project_points, sample_map, sampling_grid, transform_points)
from crossview_ros.networks.point_encoder import PointEncoder, PointEncoderConfig
from crossview_ros.networks.resnet import ResNet, ResNetConfig
import torch
from torch import nn, Tensor


@dataclass(frozen=True)
class MomentumConfig:
    """A slowly following point encoder makes the keys; a queue gives further negatives."""

    queue_length: int = 32768   # rows; a multiple of the rows of one batch
    decay: float = 0.999

    def __post_init__(self):
        if self.queue_length < 1 or not 0 <= self.decay < 1:
            raise ValueError(f'expected a queue and a decay in [0, 1), got {self}')


@dataclass(frozen=True)
class SimIPUConfig:
    """
    Architecture of the pre-training; the default is the released one with its two flaws mended.

    ``reference`` 'faithful' looks image features up with each image's own padded size, though the
    map is that of the whole batch (simipu.md 5.3), and stops the gradient at the inter-modal
    key, whose projector then stays random (simipu.md 4). 'fixed' uses the size of the batch, and
    lets the inter-modal loss train both projectors and both branches.
    """

    resnet: ResNetConfig | None = field(default_factory=ResNetConfig)
    vit: CroCoConfig | None = None           # image branch instead of ``resnet``
    points: PointEncoderConfig = field(default_factory=PointEncoderConfig)
    project_hidden: int | None = None        # None: as wide as what is projected
    project_dim: int = 128
    reference: Literal['fixed', 'faithful'] = 'fixed'
    momentum: MomentumConfig | None = None
    inter_loss: Literal['contrastive', 'simsiam'] = 'contrastive'

    def __post_init__(self):
        if (self.resnet is None) == (self.vit is None):
            raise ValueError('SimIPU needs one image branch: either resnet or vit')

    @property
    def image_channels(self) -> int:
        """Channels of the image branch's last map."""
        return self.vit.enc_embed_dim if self.vit else self.resnet.out_channels[-1]


class CloudAndImage(NamedTuple):
    """What the branches know of a batch; N points each, view A is the original cloud."""

    image_map: Tensor       # (B, C, h, w)
    xyz: Tensor             # (B, N, 3) [m] of view A, lidar frame
    features: Tensor        # (B, F, N) of view A
    view_xyz: Tensor        # (B, N, 3) [m] of view B, in its own coordinates
    view_features: Tensor   # (B, F, N) of view B


class Geometry(NamedTuple):
    """How the views of a batch came about."""

    lidar_from_view: Tensor   # (B, 3, 4): view B back into the lidar frame
    lidar_to_image: Tensor    # (B, 3, 4): into homogeneous pixels of the original image
    image_transform: Tensor   # (B, 2, 3): pixels of the original image into the network's
    pad_hw: Tensor            # (B, 2) [px]: each image's own padded size
    batch_hw: Tensor          # (2,) [px]: size of the batch's images


class Projections(NamedTuple):
    """Rows to compare, M = B * N, ordered by sample, then by point; and where points lie."""

    features: Tensor                # (B, F, N) of view A, without gradient: for `enqueue`
    xyz: Tensor                     # (B, N, 3) [m], rows of the queries
    view_xyz: Tensor                # (B, N, 3) [m] lidar frame, rows of ``intra_key``
    intra_query: Tensor             # (M, D) points of view A
    intra_key: Tensor               # (M, D) points of view B, without gradient
    inter_query: Tensor             # (M, D) image at the points of view A
    inter_key: Tensor               # (M, D) points of view A
    queue: Tensor | None = None     # (K, D) further negatives of the intra-modal loss
    predicted: tuple[Tensor, Tensor] | None = None   # of inter_query and inter_key, no gradient


class PointContrast(nn.Module):
    """
    The point branch and three projectors: all of SimIPU but the image branch.

    With ``momentum`` it keeps a second point branch and a queue of features, both changed by
    training only: the branch in `encode_points`, the queue in `enqueue`.
    """

    def __init__(self, config: SimIPUConfig):
        super().__init__()
        self.config = config
        self.point_branch = PointEncoder(config.points)
        width, out = self.point_branch.out_channels, config.project_dim
        hidden = config.project_hidden
        self.image_inter = projector(config.image_channels, hidden, out)
        self.point_inter = projector(width, hidden, out)
        self.point_intra = projector(width, hidden, out)
        if config.inter_loss == 'simsiam':
            self.predict_image = projector(out, None, out)
            self.predict_points = projector(out, None, out)
        if config.momentum:
            self.point_branch_key = copy.deepcopy(self.point_branch).requires_grad_(False)
            queue = torch.randn(config.momentum.queue_length, width)
            self.register_buffer('queue', nn.functional.normalize(queue, dim=0))
            self.register_buffer('queue_ptr', torch.zeros(1, dtype=torch.int64))

    def untrained(self) -> list[nn.Module]:
        """Return the parts that no loss ever reaches (simipu.md 7 and 9)."""
        if self.config.inter_loss == 'simsiam':
            return [self.predict_image, self.predict_points]
        return [self.point_inter] if self.config.reference == 'faithful' else []

    def contrast(self, image_map: Tensor, batch: dict[str, Tensor]) -> Projections:
        """
        Encode the points of a batch and project them beside its images.

        :param image_map: (B, C, h, w), the images' last map.
        :param batch: As `SimIPU.forward` takes it.
        """
        encoded = self.encode_points(image_map, batch['points'], batch['view_points'])
        batch_hw = torch.tensor(batch['image'].shape[-2:], device=image_map.device)
        given = {name: batch[name] for name in Geometry._fields if name != 'batch_hw'}
        return self.project(encoded, Geometry(**given, batch_hw=batch_hw))

    def encode_points(self, image_map: Tensor, points: Tensor,
                      view_points: Tensor) -> CloudAndImage:
        """Encode view A, then view B; a key branch follows between the two, if training."""
        original = self.point_branch(points)[-1]
        if self.config.momentum and self.training:
            self._follow()
        with torch.no_grad():   # view B gives targets only (simipu.md 7)
            key_branch = self.point_branch_key if self.config.momentum else self.point_branch
            view = key_branch(view_points)[-1]
        return CloudAndImage(image_map, original.xyz, original.features, view.xyz, view.features)

    def project(self, encoded: CloudAndImage, geometry: Geometry) -> Projections:
        """Look image features up at the points, and project each kind of row."""
        points, view = _rows(encoded.features), _rows(encoded.view_features)
        pixels = project_points(encoded.xyz, geometry.lidar_to_image, geometry.image_transform)
        faithful = self.config.reference == 'faithful'
        grid = sampling_grid(pixels, geometry.pad_hw if faithful else geometry.batch_hw)
        sampled = sample_map(encoded.image_map, grid).flatten(0, 1)
        intra_query, intra_key = self.point_intra(points), self.point_intra(view).detach()
        queue = None
        if self.config.momentum:
            # a copy: `enqueue` may come before the gradient, which reaches the projector from here
            queue = self.point_intra(self.queue.clone())
        inter_key, inter_query = self.point_inter(points), self.image_inter(sampled)
        predicted = None
        if self.config.inter_loss == 'simsiam':
            predicted = (self.predict_image(inter_query).detach(),
                         self.predict_points(inter_key).detach())
        elif faithful:
            inter_key = inter_key.detach()
        return Projections(
            encoded.features.detach(), encoded.xyz,
            transform_points(geometry.lidar_from_view, encoded.view_xyz),
            intra_query, intra_key, inter_query, inter_key, queue, predicted)

    @torch.no_grad()
    def enqueue(self, features: Tensor) -> None:
        """
        Put view A's features into the queue, over the oldest ones; after the losses.

        :param features: (B, F, N), as in `Projections`.
        :raises ValueError: If the queue is no multiple of the B * N rows.
        """
        rows = _rows(features)
        if len(self.queue) % len(rows):
            raise ValueError(f'a queue of {len(self.queue)} rows takes no batches of {len(rows)}; '
                             'choose momentum.queue_length as a multiple')
        start = int(self.queue_ptr)
        self.queue[start:start + len(rows)] = rows
        self.queue_ptr.fill_((start + len(rows)) % len(self.queue))

    @torch.no_grad()
    def _follow(self) -> None:
        decay = self.config.momentum.decay
        for slow, fast in zip(self.point_branch_key.parameters(), self.point_branch.parameters()):
            slow.mul_(decay).add_(fast, alpha=1 - decay)


class SimIPU(PointContrast):
    """
    Two branches and three projectors.

    ``image_branch`` is a plain `ResNet` or `CroCoEncoder`, so that its weights go to and from
    other systems.
    """

    def __init__(self, config: SimIPUConfig):
        super().__init__(config)
        self.image_branch = CroCoEncoder(config.vit) if config.vit else ResNet(config.resnet)

    def forward(self, batch: dict[str, Tensor]) -> Projections:
        """
        Encode and project a batch.

        :param batch: ``image`` (B, 3, H, W) normalised; ``points`` (view A) and ``view_points``
            (view B) (B, P, 3 + features) [m]; and the fields of `Geometry` but ``batch_hw``.
        """
        return self.contrast(self.image_map(batch['image']), batch)

    def image_map(self, image: Tensor) -> Tensor:
        """Return the last map (B, C, h, w) of the image branch."""
        if self.config.vit is None:
            return self.image_branch(image)[-1]
        return last_map(self.image_branch(image))


def projector(in_dim: int, hidden_dim: int | None, out_dim: int) -> nn.Sequential:
    """Make three linear layers with batch norm, the last one without ReLU (simipu.md 4)."""
    hidden_dim = hidden_dim or in_dim
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.ReLU(),
        nn.Linear(hidden_dim, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.ReLU(),
        nn.Linear(hidden_dim, out_dim), nn.BatchNorm1d(out_dim))


def last_map(encoded: EncoderFeatures) -> Tensor:
    """Return the last tokens of a ViT as a map (B, C, h, w)."""
    return encoded.tokens[-1].transpose(1, 2).unflatten(2, encoded.grid_hw)


def _rows(features: Tensor) -> Tensor:
    return features.transpose(1, 2).flatten(0, 1)
