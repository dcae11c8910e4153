# SPDX-License-Identifier: Apache-2.0
"""Pairs of views of one moment of a scene from different places, for cross-view completion."""
from dataclasses import dataclass
import math

from crossview_ros.data.synthetic.camera import Cameras, render, View
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.random_scene import sample_scenes, SceneConfig
from crossview_ros.data.synthetic.scene import product, rotation_from_vector, Scenes
from crossview_ros.data.synthetic.shading import expose
from crossview_ros.data.synthetic.textures import TextureAtlas
from crossview_ros.data.synthetic.truth import motion_field
import numpy as np
import torch
from torch import Tensor

PROBE_PX = 24   # short side of the images in which co-visibility is measured
STORED_PAIR = {'target': np.uint8, 'reference': np.uint8, 'covisible': np.float32}


@dataclass(frozen=True)
class PairConfig:
    """What the two views of a pair share; the rules are those of CroCo's Habitat pairs."""

    # [share of the mean distance of what the target sees] how far the reference camera goes
    motion_range: tuple[float, float] = (0.08, 0.5)
    noise_deg: tuple[float, float, float] = (10.0, 3.0, 5.0)   # of tilt, pan, roll, either side
    covisible_share: float = 0.5      # each view sees at least this share of the other's pixels


def render_pairs(batch: int, size_hw: tuple[int, int], config: PairConfig, atlas: TextureAtlas,
                 draw: Draw, scene: SceneConfig = SceneConfig()) -> dict[str, Tensor]:
    """
    Render a target and a reference view of random scenes.

    The reference camera walks to a random place, looks at the mean point of what the target
    sees, and turns a little at random; the walk is halved until enough is seen by both
    (croco.md 7, Habitat pairs).

    :param draw: Of ``batch`` rows; decides the device.
    :return: ``target``, ``reference`` (B, 3, H, W) in [0, 1]; ``covisible`` (B,) the smaller of
        the two shares of pixels whose surface is seen in the other view.
    """
    scenes, view = sample_scenes(batch, size_hw, scene, len(atlas), draw)
    shrink = min(1.0, PROBE_PX / min(size_hw))
    probe_hw = tuple(round(side * shrink) for side in size_hw)
    identity = torch.eye(4, device=view.focal.device).repeat(batch, 1, 1)
    probe = _cameras(probe_hw, view.focal * shrink, identity)
    seen = render(scenes, atlas, probe, smooth=False)
    T_reference, covisible = _walk(scenes, atlas, probe, seen, config, draw)
    images = {name: render(scenes, atlas, _cameras(size_hw, view.focal, T)).image
              for name, T in (('target', identity), ('reference', T_reference))}
    return {**expose(images, 'target', draw), 'covisible': covisible}


def covisible_share(scenes: Scenes, views: tuple[View, View],
                    cameras: tuple[Cameras, Cameras]) -> Tensor:
    """Return (B,) the smaller share of one view's pixels whose surface the other view sees."""
    shares = [1 - motion_field(scenes, views[i], cameras[i], cameras[1 - i])[1].float()
              .mean((1, 2, 3)) for i in (0, 1)]
    return torch.minimum(*shares)


def _walk(scenes: Scenes, atlas: TextureAtlas, probe: Cameras, seen: View, config: PairConfig,
          draw: Draw) -> tuple[Tensor, Tensor]:
    """Return T_world_reference (B, 4, 4) and the co-visibility (B,) that it gives."""
    batch = len(scenes)
    sight = seen.rays.direction * seen.hits.distance[:, None]               # (G, 3, K)
    point = probe.to_image(sight.movedim(1, -1)).mean((1, 2))               # (B, 3) world [m]
    length = point.norm(dim=-1, keepdim=True) * draw.log_uniform((batch, 1), *config.motion_range)
    way = draw.normal((batch, 3)) * torch.tensor((1.0, 0.4, 0.7), device=point.device)
    way = way / way.norm(dim=-1, keepdim=True).clamp(min=1e-6) * length
    noise = torch.tensor(config.noise_deg, device=point.device) * math.pi / 180 * \
        draw.uniform((batch, 3), -1, 1)
    pace = torch.ones((batch, 1), device=point.device)
    while True:
        T = _look_at(way * pace, point, noise * pace)
        camera = _cameras(probe.size_hw, probe.focal, T)
        other = render(scenes, atlas, camera, smooth=False)
        covisible = covisible_share(scenes, (seen, other), (probe, camera))
        far = covisible < config.covisible_share
        if not far.any():
            return T, covisible
        pace = torch.where(far[:, None], pace / 2, pace)


def _look_at(place: Tensor, point: Tensor, noise: Tensor) -> Tensor:
    """
    Return T_world_camera (B, 4, 4) at a place (B, 3), turned to a point as the origin sees it.

    Pan and tilt change by as much as the direction to the point does, so that no walk means no
    turn; ``noise`` (B, 3) [rad] about x, y, z comes on top.
    """
    before, after = _angles(point), _angles(point - place)
    turn = after - before + noise
    zero = torch.zeros_like(turn[:, 0])
    pan, tilt, roll = (rotation_from_vector(torch.stack(axis, -1)) for axis in (
        (zero, turn[:, 1], zero), (turn[:, 0], zero, zero), (zero, zero, turn[:, 2])))
    T = torch.eye(4, device=place.device).repeat(len(place), 1, 1)
    T[:, :3, :3] = product(product(pan, tilt), roll)
    T[:, :3, 3] = place
    return T


def _angles(direction: Tensor) -> Tensor:
    """Return the tilt about x and the pan about y [rad] that face a direction (B, 3), and 0."""
    x, y, z = direction.unbind(-1)
    return torch.stack((-torch.atan2(y, torch.hypot(x, z)), torch.atan2(x, z),
                        torch.zeros_like(x)), -1)


def _cameras(size_hw: tuple[int, int], focal: Tensor, T_world_camera: Tensor) -> Cameras:
    return Cameras.centred(size_hw, focal, T_world_camera, torch.zeros_like(focal))
