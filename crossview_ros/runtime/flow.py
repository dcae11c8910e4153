# SPDX-License-Identifier: Apache-2.0
"""From the flow head's prediction to optical flow with confidence."""
from dataclasses import dataclass

from crossview_ros.runtime.confidence import laplace_confidence
import numpy as np


@dataclass(frozen=True)
class FlowResult:
    """Optical flow from the previous left image to this one, on the PREVIOUS image's grid."""

    flow: np.ndarray                # (H, W, 2) float32 [px] right, down; NaN in both: invalid
    confidence: np.ndarray | None   # (H, W) float32 [0, 1]; None if the head gives no doubt


def optical_flow(flow: np.ndarray, log_scale: np.ndarray | None) -> FlowResult:
    """
    Turn the prediction of a flow head into flow with confidence.

    :param flow: (H, W, 2) float32 [px] at the input's resolution.
    :param log_scale: (H, W) float32, log of the Laplace scale [log px] of the end-point error.
    """
    invalid = ~(np.isfinite(flow[..., 0]) & np.isfinite(flow[..., 1]))
    if invalid.any():
        flow = np.where(invalid[..., None], np.float32(np.nan), flow)
    return FlowResult(flow, None if log_scale is None else laplace_confidence(log_scale))
