# SPDX-License-Identifier: Apache-2.0
"""Loss of relative pose: L1 on the motion that is left, Laplace likelihood for its doubt."""
from crossview_ros.networks.heads import PosePrediction
import torch
from torch import Tensor

ROTATION_WEIGHT_M = 5.0   # [m/rad] an error of 1 rad moves what is 5 m away by 5 m


def pose_loss(prediction: PosePrediction, truth: Tensor,
              weights: tuple[float, float] = (1.0, ROTATION_WEIGHT_M)) -> dict[str, Tensor]:
    """
    Compare relative poses with the true ones.

    The scale b of a Laplace distribution is fitted to each of the six errors as it is:
    ``log b + |error| / b`` with the error detached, so that doubt never excuses a wrong pose.

    :param truth: T_1_2 (B, 4, 4), translation [m] or in the unit of the head.
    :param weights: Of an error of translation and of 1 rad in the loss.
    :return: ``loss`` to minimise; ``translation_m`` (in the unit of the truth), ``rotation_rad``
        mean lengths of the errors and ``nll`` mean over the six, detached.
    """
    error = pose_error(prediction.T_1_2, truth)
    weight = error.new_tensor(weights).repeat_interleave(3)
    log_scale = prediction.log_scale.float()
    nll = (log_scale + error.detach().abs() * torch.exp(-log_scale)).mean()
    loss = (weight * error.abs()).sum(-1).mean() + 0.2 * nll
    return {'loss': loss, 'nll': nll.detach(),
            'translation_m': error[:, :3].detach().norm(dim=-1).mean(),
            'rotation_rad': error[:, 3:].detach().norm(dim=-1).mean()}


def pose_error(estimate: Tensor, truth: Tensor) -> Tensor:
    """
    Return what is left of a motion: inverse(estimate) @ truth, in frame 2.

    :param estimate: T_1_2 (B, 4, 4), rigid; ``truth`` alike.
    :return: (B, 6) x y z [m] rx ry rz [rad].
    """
    back = estimate[:, :3, :3].float().transpose(1, 2)
    truth = truth.float()
    translation = back @ (truth[:, :3, 3:] - estimate[:, :3, 3:].float())
    return torch.cat((translation[..., 0], rotation_vector(back @ truth[:, :3, :3])), -1)


def rotation_vector(rotation: Tensor) -> Tensor:
    """
    Return axis times angle, with a gradient at the identity too.

    :param rotation: (..., 3, 3); half a turn has no single axis and gives zero.
    :return: (..., 3) [rad].
    """
    axis = torch.stack((rotation[..., 2, 1] - rotation[..., 1, 2],
                        rotation[..., 0, 2] - rotation[..., 2, 0],
                        rotation[..., 1, 0] - rotation[..., 0, 1]), -1) / 2   # times sin
    sine = (axis.square().sum(-1) + 1e-14).sqrt()
    cosine = (rotation.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return axis * (torch.atan2(sine, cosine) / sine)[..., None]
