# SPDX-License-Identifier: Apache-2.0
"""Optical flow under the header of the newer image, on the grid of the older one."""
from typing import Any

from crossview_ros.geometry.flow_color import flow_to_color
from crossview_ros.messages.header import set_header
from crossview_ros.messages.image import write_image
from crossview_ros.ros.frame_input import FrameInput
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.output_group import OutputGroup
import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
from std_msgs.msg import Header

FLOW, CONFIDENCE = 'optical_flow/image', 'optical_flow/confidence'
COLOR, META = 'optical_flow/color', 'optical_flow/meta'
# the few longest vectors, often wrong ones, would leave all others pale
FULL_COLOR_PERCENTILE = 99


class FlowOutputs(OutputGroup):
    """Publishes the flow and the header of its first image; the others if somebody listens."""

    task = 'flow'

    def __init__(self, node: LifecycleNode) -> None:
        """Advertise."""
        super().__init__(node, {FLOW: Image, META: Header, CONFIDENCE: Image, COLOR: Image})

    def _publish(self, result: Any, data: FrameInput,
                 settings: PerceptionNodeParameters) -> bool:
        if result.flow is None:
            return False   # the first frame, or the first after a change
        flow = result.flow
        if settings.flow_units == 'pixel_per_second':
            flow = per_second(flow, result.previous_stamp_ns, data.stamp_ns)
            if flow is None:
                return False
        header = {'stamp_ns': data.stamp_ns, 'frame_id': data.frame_id}
        # meta goes first: who pairs the two has it when the image comes
        self._send(META, set_header(Header(), result.previous_stamp_ns, data.frame_id))
        self._send(FLOW, write_image(Image(), flow, '32FC2', **header))
        if result.flow_confidence is not None and self._wanted(CONFIDENCE):
            self._send(CONFIDENCE, write_image(Image(), result.flow_confidence, '32FC1',
                                               **header))
        if self._wanted(COLOR):
            self._send(COLOR, write_image(Image(), colored(flow), 'rgb8', **header))
        return True


def per_second(flow: np.ndarray, previous_ns: int, stamp_ns: int) -> np.ndarray | None:
    """
    Divide a flow [px] by the time between its two images.

    :return: (H, W, 2) float32 [px/s]; None if the stamps tell no time.
    """
    if not previous_ns or stamp_ns <= previous_ns:
        return None
    return flow / np.float32((stamp_ns - previous_ns) * 1e-9)


def colored(flow: np.ndarray) -> np.ndarray:
    """Return the flow in colours (H, W, 3) uint8; full ones at the 99th percentile."""
    length = np.hypot(flow[..., 0], flow[..., 1])
    known = length[np.isfinite(length)]
    return flow_to_color(flow, float(np.percentile(known, FULL_COLOR_PERCENTILE))
                         if known.size else None)
