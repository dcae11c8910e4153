# SPDX-License-Identifier: Apache-2.0
"""Pose head: where camera 2 was as seen from camera 1, from the decoder tokens of view 1."""
from dataclasses import dataclass
from typing import NamedTuple

from crossview_ros.networks.layers import EPS, initialise, Mlp
from crossview_ros.networks.linear import Linear
import torch
from torch import nn, Tensor
import torch.nn.functional as F

LOG_SCALE_RANGE = (-10.0, 3.0)   # of the Laplace scale [log m, log rad]: 5e-5 to 20


@dataclass(frozen=True)
class PoseHeadConfig:
    """Hyper-parameters of `PoseHead`."""

    pose_dim: int             # channels of the pooled feature
    mlp_ratio: float = 2.0
    # of the canonical camera [network px], with lengths in median depths of the scene; None:
    # the motion of the camera as it is, in metres
    focal_px: float | None = None

    def __post_init__(self):
        if self.focal_px is not None and not self.focal_px > 0:
            raise ValueError(f'focal_px must be above 0 or None, got {self.focal_px}')
        if self.pose_dim < 1 or self.mlp_ratio * self.pose_dim < 1:
            raise ValueError(f'pose_dim and mlp_ratio must be positive, got {self.pose_dim} and '
                             f'{self.mlp_ratio}')


class PosePrediction(NamedTuple):
    """Relative pose of two cameras and its doubt; lengths as `PoseHead` tells."""

    T_1_2: Tensor        # (B, 4, 4) rigid: p_1 = T_1_2 @ p_2
    log_scale: Tensor    # (B, 6) log Laplace scale of x y z, rx ry rz [rad], in frame 2


class PoseHead(nn.Module):
    """
    Regress a rigid motion from the tokens of the last decoder block.

    Each token is told where its patch lies, since rotary positions say only how far apart two
    patches are; then the tokens are mixed with their channels and averaged. The rotation is read
    as two columns made orthonormal, which is continuous, unlike angles or quaternions. A fresh
    head answers the identity.

    Two views tell neither how large a scene is nor with which lens it was seen. With ``focal_px``
    the answer is what they can tell: lengths are in median depths of the scene, and a camera of
    focal length f [network px] has moved and turned about x and y by focal_px / f of the answer,
    to first order; along and about z as much. Without it the answer is in metres.

    Source: Weinzaepfel et al., CroCo, NeurIPS 2022, section 4 (relative pose); Zhou et al., On
    the Continuity of Rotation Representations, CVPR 2019, section 4.2 (six numbers).
    """

    both_directions = False   # the decoder need not run with the views swapped

    def __init__(self, config: PoseHeadConfig, token_dim: int):
        """
        Create the layers.

        :param token_dim: Width of the decoder tokens.
        """
        super().__init__()
        self.config = config
        dim = config.pose_dim
        self.enter = Linear(token_dim + 2, dim)
        self.norm = nn.LayerNorm(dim, EPS)
        self.mlp = Mlp(dim, config.mlp_ratio)
        self.pooled_norm = nn.LayerNorm(dim, EPS)
        self.leave = Linear(dim, 3 + 6 + 6)   # translation, rotation, log scale
        self.apply(initialise)
        nn.init.zeros_(self.leave.weight)
        self.leave.bias.data = torch.tensor([0., 0, 0, 1, 0, 0, 0, 1, 0, *[-1.0] * 6])

    @torch.autocast('cpu', enabled=False)    # millimetres need fp32
    @torch.autocast('cuda', enabled=False)
    def forward(self, tokens: list[Tensor], grid_hw: tuple[int, int]) -> PosePrediction:
        """
        Answer where camera 2 is.

        :param tokens: As `DptHead.forward`; only the last, (B, N, D), is read.
        :param grid_hw: Patches along height and width.
        """
        last = tokens[-1].float()
        # sums, since a trace fixes the batch of an expansion and of zeros
        places = _places(grid_hw, last.device) + 0 * last[..., :1]
        x = self.enter(torch.cat((last, places), -1))
        x = x + self.mlp(self.norm(x))
        out = self.leave(self.pooled_norm(x.mean(1)))
        translation, six, log_scale = out.split((3, 6, 6), -1)
        top = torch.cat((rotation_from_six(six), translation[..., None]), -1)
        bottom = top.new_tensor((0.0, 0.0, 0.0, 1.0)) + 0 * top[:, :1]
        return PosePrediction(torch.cat((top, bottom), 1), log_scale.clamp(*LOG_SCALE_RANGE))


def rotation_from_six(six: Tensor) -> Tensor:
    """
    Make two vectors orthonormal; with their cross product they are the columns of a rotation.

    :param six: (..., 6), the first two columns one after the other.
    :return: (..., 3, 3).

    Source: Zhou et al., CVPR 2019, eq. 15.
    """
    first, second = six.split(3, -1)
    x = F.normalize(first, dim=-1)
    y = F.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack((x, y, torch.linalg.cross(x, y)), -1)


def _places(grid_hw: tuple[int, int], device: torch.device) -> Tensor:
    """Return (N, 2) centres of the patches, x and y in (-1, 1)."""
    rows, cols = grid_hw
    x = (2 * torch.arange(cols, device=device) + 1) / cols - 1
    y = (2 * torch.arange(rows, device=device) + 1) / rows - 1
    return torch.stack((x.repeat(rows), y.repeat_interleave(cols)), 1)
