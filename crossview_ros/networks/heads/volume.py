# SPDX-License-Identifier: Apache-2.0
"""Regularise the costs of all disparities of a row together, before one of them is chosen."""
from typing import NamedTuple

from crossview_ros.networks.heads.refinement import size_of
from crossview_ros.networks.layers import draw_normal
import torch
from torch import nn, Tensor
import torch.nn.functional as F

MULTIPLE = 4        # of the number of disparities: the volume is halved twice
PRIOR_SIGMA = 2.0   # [px of the maps] width of the bump at what the coarse stage says
PRIOR_LOGIT = 8.0   # its height at the start, when nothing else is known


class VolumeEstimate(NamedTuple):
    """What a regularised volume says."""

    disparity: Tensor         # (B, 1, h, w) [px of the maps]
    scores: list[Tensor]      # (B, h, w, D), (B, h, w, D / 2): logits of each disparity


class RowVolume(nn.Module):
    """
    Choose among disparities with 3-D convolutions over a volume of group-wise correlations.

    Convolutions over disparity, row and column act on surfaces in space alike wherever they are,
    and what the image shows says which costs belong together (GwcNet, Guo et al., CVPR 2019,
    section 3.2; CoEx, Bangunharcana et al., IROS 2021, section III-B; IGEV-Stereo, Xu et al.,
    CVPR 2023, section 3.2).
    """

    def __init__(self, fine_dim: int, coarse_dim: int, groups: int, share: float):
        """
        Create the layers.

        :param fine_dim: Channels of the correlated 1/4 features, a multiple of ``groups``.
        :param coarse_dim: Channels of the 1/8 features.
        :param share: Of the image's width, the largest disparity of the volume.
        """
        super().__init__()
        self.groups, self.share = groups, share
        dim, half, quarter = groups, 2 * groups, 4 * groups
        self.enter = nn.Conv3d(groups + 1, dim, 3, padding=1)
        self.down = nn.Conv3d(dim, half, 3, stride=2, padding=1)
        self.half_in = nn.Conv3d(half, half, 3, padding=1)
        self.down_again = nn.Conv3d(half, quarter, 3, stride=2, padding=1)
        self.quarter_in = nn.Conv3d(quarter, quarter, 3, padding=1)
        self.up = nn.Conv3d(quarter, half, 1)
        self.half_out = nn.Conv3d(half, half, 3, padding=1)
        self.up_again = nn.Conv3d(half, dim, 1)
        self.out = nn.Conv3d(dim, dim, 3, padding=1)
        self.leave = nn.Conv3d(dim, 1, 3, padding=1)
        self.fine_gate = nn.Conv2d(fine_dim, dim, 1)
        self.coarse_gate = nn.Conv2d(coarse_dim, half, 1)
        self.prior = nn.Parameter(torch.tensor(PRIOR_LOGIT))
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d):
                draw_normal(layer.weight, 1e-3 if layer is self.leave else None)
                nn.init.zeros_(layer.bias)

    def forward(self, fine1: Tensor, fine2: Tensor, coarse1: Tensor,
                disparity: Tensor) -> VolumeEstimate:
        """
        Match view 1 to view 2 along rows; at the start, say what the coarse stage says.

        :param fine1: (B, C, h, w) 1/4 features of view 1; ``fine2`` of view 2; h and w are
            multiples of 4.
        :param coarse1: (B, C', h / 2, w / 2) 1/8 features of view 1.
        :param disparity: (B, 1, h, w) [px of the maps], what the coarse stage says.
        """
        cols = size_of(fine1)[1]
        count = MULTIPLE * -int(-cols * self.share // MULTIPLE)
        bump = _bump(disparity.detach(), count)
        x = torch.cat((group_correlation(fine1, fine2, self.groups, count), bump), 1)
        full = F.relu(self.enter(x)) * self.fine_gate(fine1).sigmoid()[:, :, None]
        half = F.relu(self.down(full))
        half = F.relu(self.half_in(half)) * self.coarse_gate(coarse1).sigmoid()[:, :, None]
        quarter = F.relu(self.down_again(half))
        quarter = quarter + F.relu(self.quarter_in(quarter))
        half = half + _doubled(self.up(quarter))
        half = half + F.relu(self.half_out(half))
        full = full + _doubled(self.up_again(half))
        full = full + F.relu(self.out(full))
        scores = (self.leave(full).float() + self.prior * bump)[:, 0].permute(0, 2, 3, 1)
        steps = torch.arange(count, device=scores.device, dtype=scores.dtype)
        mean = (scores.softmax(-1) * steps).sum(-1)[:, None]
        return VolumeEstimate(mean, [scores, (scores[..., ::2] + scores[..., 1::2]) / 2])


@torch.autocast('cpu', enabled=False)    # lengths of features need fp32
@torch.autocast('cuda', enabled=False)
def group_correlation(map1: Tensor, map2: Tensor, groups: int, count: int) -> Tensor:
    """
    Correlate each pixel with those of view 2 that lie 0, 1, ... pixels further left.

    Features have unit length; a group of channels gives its share of the cosine times ``groups``.

    :param map1: (B, C, h, w) features of view 1; ``map2`` of view 2.
    :param count: Number D of disparities.
    :return: (B, groups, D, h, w), zero where view 2 ends.
    """
    cols = size_of(map1)[1]
    map1, map2 = (F.normalize(m.float(), dim=1).unflatten(1, (groups, -1)).permute(0, 1, 3, 4, 2)
                  for m in (map1, map2))                                   # (B, G, h, w, C / G)
    scores = map1 @ map2.transpose(-1, -2) * groups                        # (B, G, h, w1, w2)
    # behind D zeros, w1 - d lies at w1 + (D - d): rows one longer than they are bring it to D - d
    flat = F.pad(F.pad(scores, (count, 0)).flatten(-2), (0, cols))
    diagonals = flat.unflatten(-1, (cols, cols + count + 1))[..., 1:count + 1]
    return diagonals.flip(-1).permute(0, 1, 4, 2, 3)


def _bump(disparity: Tensor, count: int) -> Tensor:
    steps = torch.arange(count, device=disparity.device, dtype=torch.float32)[:, None, None]
    distance = (steps - disparity.float()) / PRIOR_SIGMA
    return torch.exp(-distance.square() / 2)[:, None]                      # (B, 1, D, h, w)


def _doubled(volume: Tensor) -> Tensor:
    return F.interpolate(volume, scale_factor=2.0, mode='nearest')
