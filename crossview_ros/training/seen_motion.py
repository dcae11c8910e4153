# SPDX-License-Identifier: Apache-2.0
"""The motion of a camera as two views alone can tell it: in median depths, of a canonical lens."""
from crossview_ros.data.synthetic.scene import rotation_from_vector
from crossview_ros.training.pose_losses import rotation_vector
import torch
from torch import Tensor

Batch = dict[str, Tensor]


def rays(focal: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """
    Return (B, 2, H, W) x / z and y / z of what each pixel's centre shows.

    They travel with the pixels: wherever a window is cut, enlarged or mirrored, they tell what its
    camera looks at.

    :param focal: (B,) [px], of cameras whose principal point is the image's middle.
    """
    y, x = torch.meshgrid(*((torch.arange(side, device=focal.device) - (side - 1) / 2)
                            for side in size_hw), indexing='ij')
    return torch.stack((x, y)) / focal.view(-1, 1, 1, 1)


def seen_motion(batch: Batch, focal_px: float) -> Tensor:
    """
    Return the motion that a pose head with this ``focal_px`` is to answer.

    A window beside the middle is taken for that of a camera which looks there, and one upside down
    for that of a mirrored camera; what is left of a lens off its axis is no more than the change
    of scale within the image.

    :param batch: ``T_previous_left`` (B, 4, 4) [m]; of left ``ray`` as `rays`, ``disparity``
        (B, 1, H, W) and ``focal`` (B,) [px] of the window; ``baseline`` (B,) [m].
    :return: T_previous_left (B, 4, 4), as `PoseHead` defines it.
    """
    T = batch['T_previous_left']
    to_window, axis = _axes_of_window(batch['ray'])
    rotation = to_window @ T[:, :3, :3] @ to_window.transpose(1, 2)
    translation = (to_window @ T[:, :3, 3:])[..., 0]
    stretch = torch.ones_like(translation)
    stretch[:, :2] = (batch['focal'] / focal_px)[:, None]
    seen = torch.eye(4, device=T.device).repeat(len(T), 1, 1)
    seen[:, :3, :3] = rotation_from_vector(stretch * rotation_vector(rotation))
    seen[:, :3, 3] = stretch * translation / _median_depth(batch, axis)[:, None]
    return seen


def _axes_of_window(ray: Tensor) -> tuple[Tensor, Tensor]:
    """Return the turn (B, 3, 3) into a window's camera, mirrored as it is, and its axis (B, 3)."""
    middle = torch.cat((ray.mean((2, 3)), torch.ones_like(ray[:, :1, 0, 0])), 1)
    axis = middle / middle.norm(dim=1, keepdim=True)
    sideways = axis[:, :2].norm(dim=1, keepdim=True)
    # about the normal of the axis and z
    angle = torch.atan2(sideways, axis[:, 2:]) / sideways.clamp(min=1e-9)
    turn = rotation_from_vector(torch.stack((axis[:, 1], -axis[:, 0], 0 * axis[:, 0]), 1) * angle)
    mirror = torch.ones_like(axis)
    mirror[:, :2] = torch.stack((ray[:, 0, 0, -1] - ray[:, 0, 0, 0],
                                 ray[:, 1, -1, 0] - ray[:, 1, 0, 0]), 1).sign()
    return mirror[:, :, None] * turn, axis


def _median_depth(batch: Batch, axis: Tensor) -> Tensor:
    """Return the median depth (B,) [m] along the axis of what the window shows."""
    depth = (batch['focal'] * batch['baseline'])[:, None, None] / batch['disparity'][:, 0]
    along = (batch['ray'] * axis[:, :2, None, None]).sum(1) + axis[:, 2, None, None]
    return (depth * along).flatten(1).nanmedian(1).values
