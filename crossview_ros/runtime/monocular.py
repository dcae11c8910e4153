# SPDX-License-Identifier: Apache-2.0
"""From the depth head's answer for a canonical camera to metres, with their doubt."""
from dataclasses import dataclass
import math

from crossview_ros.geometry.camera import PinholeCamera
import numpy as np

# Share of the head's error that differs from pixel to pixel; the rest is the scale of the whole
# view. Measured on held-out rendered scenes: mean |error of log depth| with the scale known, over
# that with the scale as answered.
SHAPE_SHARE = 0.55


@dataclass(frozen=True)
class MonocularDepth:
    """Depth of one view as its head gives it, without limits."""

    depth: np.ndarray            # (H, W) float32 [m] of this camera
    sigma: np.ndarray | None     # (H, W) float32, standard deviation as a share of the depth

    @property
    def shape_sigma(self) -> np.ndarray | None:
        """Return what is left of ``sigma`` once the scale of the view is known."""
        return None if self.sigma is None else np.float32(SHAPE_SHARE) * self.sigma


def monocular_depth(canonical: np.ndarray, log_scale: np.ndarray | None, camera: PinholeCamera,
                    focal_px: float | None) -> MonocularDepth:
    """
    Turn the answer of a depth head into metres.

    :param canonical: (H, W) float32 [m], of a camera of focal length ``focal_px``.
    :param log_scale: (H, W) float32, log b of the Laplace error of the logarithm of depth.
    :param focal_px: In pixels of the image; None: ``canonical`` is in metres of this camera.

    Source: Metric3D, Yin et al., ICCV 2023, section 3.2.
    """
    stretch = 1.0 if focal_px is None else camera.fx / focal_px
    sigma = None if log_scale is None else np.float32(math.sqrt(2)) * np.exp(log_scale)
    return MonocularDepth(canonical * np.float32(stretch), sigma)
