# SPDX-License-Identifier: Apache-2.0
"""What rendered scenes consist of: boxes, ellipsoids, cylinders, still or moving, in a room."""
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

BOX, ELLIPSOID, CYLINDER, ROOM = range(4)


@dataclass(frozen=True)
class Scenes:
    """
    A batch of B scenes with P primitives each: boxes, ellipsoids, cylinders, then one room.

    A primitive maps its local unit shape to the world by rotation @ (half_size * local) + centre.
    The shapes: the cube [-1, 1]^3, the unit ball, and the cylinder of radius 1 around y with
    |y| <= 1; the room is a cube seen from inside. A primitive moves by centre + velocity t and
    turns by exp(spin t).
    """

    counts: tuple[int, int, int]   # boxes, ellipsoids, cylinders
    centre: Tensor          # (B, P, 3) world [m] at time 0
    rotation: Tensor        # (B, P, 3, 3) world from local at time 0
    half_size: Tensor       # (B, P, 3) [m]
    velocity: Tensor        # (B, P, 3) world [m/s]
    spin: Tensor            # (B, P, 3) world, axis times rate [rad/s]
    texture: Tensor         # (B, P, 6) int64 number in the atlas, one for each face
    texture_size: Tensor    # (B, P) [m] of one repetition
    texture_origin: Tensor  # (B, P, 2) in repetitions
    light: Tensor           # (B, 3) world [m], where the lamp or the sun is
    ambient: Tensor         # (B,) share of the light that comes from everywhere, in [0, 1]
    shadow: Tensor          # (B,) how much of the other light a shadow takes away, in [0, 1]
    gloss: Tensor | None = None   # (B, P) how much the surfaces mirror, in [0, 1]; None: nothing

    def __len__(self) -> int:
        return len(self.centre)

    @property
    def device(self) -> torch.device:
        """Return the device that holds the scenes."""
        return self.centre.device

    def ranges(self) -> dict[int, tuple[int, int]]:
        """Return which primitives are of each kind: first and one past the last."""
        boxes, ellipsoids, cylinders = self.counts
        first = {BOX: 0, ELLIPSOID: boxes, CYLINDER: boxes + ellipsoids}
        last = {BOX: boxes, ELLIPSOID: boxes + ellipsoids,
                CYLINDER: boxes + ellipsoids + cylinders}
        return {kind: (first[kind], last[kind]) for kind in first}

    def pose(self, time_s: Tensor) -> tuple[Tensor, Tensor]:
        """Return rotation (B, P, 3, 3) and centre (B, P, 3) of primitives at times (B,) [s]."""
        t = time_s[:, None, None]
        rotation = product(rotation_from_vector(self.spin * t), self.rotation)
        return rotation, self.centre + self.velocity * t

    def bounding_radius(self) -> Tensor:
        """Return the radius (B, P) [m] of a ball around each centre that holds the primitive."""
        boxes, ellipsoids, cylinders = self.half_size[:, :-1].split(self.counts, 1)
        flat = torch.maximum(cylinders[..., 0], cylinders[..., 2])
        return torch.cat((boxes.norm(dim=-1), ellipsoids.amax(-1),
                          torch.hypot(flat, cylinders[..., 1]),
                          self.half_size[:, -1:].norm(dim=-1)), 1)

    def expand(self, batch: int) -> 'Scenes':
        """Repeat a single scene, e.g. to render many moments of it at once."""
        return self._map(lambda field: field.expand(batch, *field.shape[1:]))

    def to(self, device: torch.device | str) -> 'Scenes':
        """Move the scenes to a device."""
        return self._map(lambda field: field.to(device))

    def _map(self, change) -> 'Scenes':
        names = [field.name for field in fields(self)
                 if isinstance(getattr(self, field.name), Tensor)]
        return replace(self, **{name: change(getattr(self, name)) for name in names})


def rotation_from_vector(vector: Tensor) -> Tensor:
    """Turn axis times angle (..., 3) [rad] into rotations (..., 3, 3) (Rodrigues' formula)."""
    angle = vector.norm(dim=-1, keepdim=True)[..., None]
    axis = vector / angle[..., 0].clamp(min=1e-12)
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    k = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))
    eye = torch.eye(3, device=vector.device, dtype=vector.dtype)
    return eye + angle.sin() * k + (1 - angle.cos()) * product(k, k)


def product(matrix: Tensor, columns: Tensor) -> Tensor:
    """
    Multiply (..., 3, 3) by (..., 3, K) in full float32.

    A GPU may be told to multiply matrices with 10-bit mantissas (TF32), which costs pixels here.
    """
    out = matrix[..., :1] * columns[..., :1, :]
    for i in (1, 2):
        out = torch.addcmul(out, matrix[..., i:i + 1], columns[..., i:i + 1, :])
    return out
