# SPDX-License-Identifier: Apache-2.0
"""Depth, its confidence, disparity and points, each under the header of the (left) image."""
from typing import Any

from crossview_ros.geometry.projection import back_project
from crossview_ros.messages.camera_info import write_camera_info
from crossview_ros.messages.disparity_image import write_disparity_image
from crossview_ros.messages.image import write_image
from crossview_ros.messages.point_cloud2 import write_cloud
from crossview_ros.ros.frame_input import FrameInput
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.output_group import OutputGroup
import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from stereo_msgs.msg import DisparityImage

MAX_MILLIMETRES = 65535
CAMERA_INFO, CONFIDENCE = 'depth/camera_info', 'depth/confidence'
DISPARITY, POINTS = 'disparity', 'points'


class DepthOutputs(OutputGroup):
    """Publishes depth always, the others while somebody listens; disparity is that of a pair."""

    task = 'depth'

    def __init__(self, node: LifecycleNode, depth_encoding: str, mode: str) -> None:
        """
        Advertise.

        :param depth_encoding: '32FC1' (metres) or '16UC1' (millimetres).
        :param mode: 'stereo' or 'sequential'.
        """
        self._encoding = depth_encoding
        self._depth = 'depth/image' if depth_encoding == '32FC1' else 'depth/image_raw'
        of_pair = {DISPARITY: DisparityImage} if mode == 'stereo' else {}
        super().__init__(node, {self._depth: Image, CAMERA_INFO: CameraInfo, CONFIDENCE: Image,
                                **of_pair, POINTS: PointCloud2})

    def _publish(self, result: Any, data: FrameInput,
                 settings: PerceptionNodeParameters) -> bool:
        if result.depth is None:
            return False
        header = {'stamp_ns': data.stamp_ns, 'frame_id': data.frame_id}
        depth = to_millimetres(result.depth) if self._encoding == '16UC1' else result.depth
        # camera_info goes first: who pairs the two has it when the image comes
        self._send(CAMERA_INFO, write_camera_info(CameraInfo(), data.camera, **header))
        self._send(self._depth, write_image(Image(), depth, self._encoding, **header))
        if result.confidence is not None and self._wanted(CONFIDENCE):
            self._send(CONFIDENCE, write_image(Image(), result.confidence, '32FC1', **header))
        if result.disparity is not None and self._wanted(DISPARITY):
            self._send(DISPARITY, write_disparity_image(
                DisparityImage(), result.disparity, data.rig, settings.min_depth,
                settings.max_depth, **header))
        if self._wanted(POINTS):
            points, rgb = decimated_points(result.depth, data, settings.point_cloud_stride)
            self._send(POINTS, write_cloud(
                PointCloud2(), points, rgb, pcl_padding=settings.point_cloud_pcl_padding,
                **header))
        return True


def to_millimetres(depth: np.ndarray) -> np.ndarray:
    """
    Convert depth to the integers of OpenNI (REP 118).

    :param depth: (H, W) float32 [m]; NaN, +Inf and -Inf allowed.
    :return: (H, W) uint16 [mm]; 0 where depth is not finite or more than 65.535 m.
    """
    millimetres = np.rint(depth * np.float32(1000))
    fits = (millimetres >= 0) & (millimetres <= MAX_MILLIMETRES)   # false for NaN
    return np.where(fits, millimetres, 0).astype(np.uint16)


def decimated_points(depth: np.ndarray, data: FrameInput,
                     stride: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Turn every ``stride``-th row and column of a depth image into points with colour.

    :return: (h, w, 3) float32 [m] in the (left) optical frame, NaN where depth is not finite; and
        (h, w, 3) uint8 RGB. Rows and columns beyond the last multiple of the stride are left out.
    """
    stride = min(stride, *depth.shape)
    rows, columns = depth.shape[0] // stride, depth.shape[1] // stride
    window = np.s_[:rows * stride:stride, :columns * stride:stride]
    camera = data.camera.cropped(0, 0, columns * stride, rows * stride)
    points = back_project(depth[window], camera.scaled(columns, rows))
    return points, data.left[window]
