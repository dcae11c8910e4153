# SPDX-License-Identifier: Apache-2.0
"""From restored predictions of the heads to fields of the result."""
from typing import Any

from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.runtime.depth import stereo_depth
from crossview_ros.runtime.flow import optical_flow
from crossview_ros.runtime.options import PerceptionOptions
import numpy as np


def matched_fields(dense: dict[str, Any], rig: StereoRig | PinholeCamera, shift_px: int,
                   options: PerceptionOptions) -> dict[str, Any]:
    """
    Return the fields that the heads of two views give.

    :param dense: Task -> value and log_scale at the resolution of the image.
    :param shift_px: By how many pixels the right image was moved to the left.
    """
    fields = {}
    if 'stereo' in dense:
        disparity, log_scale = dense['stereo']
        result = stereo_depth(disparity - shift_px, log_scale, rig, options)
        fields.update(depth=result.depth, disparity=result.disparity,
                      confidence=result.confidence)
    if 'flow' in dense:
        fields.update(flow_fields(*dense['flow']))
    return fields


def flow_fields(flow: np.ndarray, log_scale: np.ndarray | None) -> dict[str, Any]:
    """Return flow and its confidence; as `optical_flow`."""
    result = optical_flow(flow, log_scale)
    return {'flow': result.flow, 'flow_confidence': result.confidence}


def without_hidden(fields: dict[str, Any], visible: np.ndarray | None,
                   *names: str) -> dict[str, Any]:
    """
    Return fields whose pixels are unknown where their image shows nothing.

    :param visible: (H, W) bool of that image; None: it shows everything.
    :param names: Of values, which become NaN, and of confidences, which become 0.
    """
    if visible is None:
        return fields
    hidden = {}
    for name in names:
        value = fields.get(name)
        if value is not None:
            shown = visible[..., None] if value.ndim == 3 else visible
            hidden[name] = np.where(shown, value, np.float32(
                0 if name.endswith('confidence') else np.nan))
    return {**fields, **hidden}
