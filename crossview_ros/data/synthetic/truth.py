# SPDX-License-Identifier: Apache-2.0
"""Exact motion and visibility of the surface points behind the pixels of a rendered view."""
from crossview_ros.data.synthetic.camera import Cameras, View
from crossview_ros.data.synthetic.raycast import is_hidden, place, Rays
from crossview_ros.data.synthetic.scene import product, Scenes
import torch
from torch import Tensor

BEHIND = 1e-2    # [m] points nearer than this to the camera's plane have no pixel


def surface_motion(scenes: Scenes, view: View, cameras: Cameras, time_s: Tensor) -> Tensor:
    """
    Say how far the surface points seen in a view move until another moment.

    :param cameras: Those that took the view.
    :param time_s: (B,) the other moment [s].
    :return: (G, 3, K) world [m], in the groups of the view's rays; zero where nothing moves.
    """
    (rotation, centre), (turned, shifted) = (scenes.pose(t) for t in (cameras.time_s, time_s))
    still = (scenes.spin.abs().amax(-1) == 0)[..., None, None]
    turn = torch.where(still, 0.0, product(turned, rotation.transpose(-1, -2)) -
                       torch.eye(3, device=centre.device))
    shift = shifted - centre
    moving = turn.abs().amax((2, 3)) + shift.abs().amax(-1) > 0
    flat = view.rays.scene[:, None] * moving.shape[1] + view.hits.primitive
    mask = moving.flatten()[flat]
    index = flat[mask]
    point = view.rays.origin[..., None] + view.rays.direction * view.hits.distance[:, None]
    arm = point.movedim(1, -1)[mask] - centre.flatten(0, 1)[index]
    out = torch.zeros((*mask.shape, 3), device=centre.device)
    turned = product(turn.flatten(0, 1)[index], arm[..., None])[..., 0]
    out[mask] = turned + shift.flatten(0, 1)[index]
    return out.movedim(-1, 1)


def motion_field(scenes: Scenes, view: View, cameras: Cameras,
                 other: Cameras) -> tuple[Tensor, Tensor]:
    """
    Say where each pixel's surface point is in another view, and whether it is seen there.

    :param cameras: Those that took the view; ``other`` another camera or another moment.
    :return: Flow (B, 2, H, W) [px], NaN where the point is behind the other camera, and hidden
        (B, 1, H, W) bool: covered by another surface there, or outside its image.
    """
    rows, cols = other.size_hw
    scene = view.rays.scene
    origin = other.T_world_camera[scene, :3, 3]
    # small differences first: far from the world's origin float32 would cost 1e-3 px
    sight = view.rays.direction * view.hits.distance[:, None] + \
        (view.rays.origin - origin)[..., None] + \
        surface_motion(scenes, view, cameras, other.time_s)
    local = product(other.T_world_camera[scene, :3, :3].transpose(1, 2), sight)
    depth = local[:, 2]
    uv = local[:, :2] / depth.clamp(min=BEHIND)[:, None] * other.focal[scene][:, None, None] + \
        other.centre[scene][..., None]
    behind = depth < BEHIND
    u, v = uv[:, 0], uv[:, 1]
    inside = (u >= -0.5) & (u <= cols - 0.5) & (v >= -0.5) & (v <= rows - 0.5)
    hidden = is_hidden(place(scenes, other.time_s), Rays(scene, origin, sight))
    hidden = hidden | ~inside | behind
    uv = torch.where(behind[:, None], torch.nan, uv)
    v, u = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing='ij')
    flow = cameras.to_image(uv.movedim(1, -1)) - torch.stack((u, v), -1).to(uv)
    return flow.permute(0, 3, 1, 2), cameras.to_image(hidden)[:, None]
