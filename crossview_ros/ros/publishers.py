# SPDX-License-Identifier: Apache-2.0
"""What perception_node publishes: each output under the header of the left image."""
from typing import Any

from crossview_ros.geometry.projection import back_project
from crossview_ros.messages.camera_info import write_camera_info
from crossview_ros.messages.disparity_image import write_disparity_image
from crossview_ros.messages.image import write_image
from crossview_ros.messages.point_cloud2 import write_cloud
from crossview_ros.ros import qos
from crossview_ros.ros.compat import event_callbacks
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.stereo_input import StereoInput
import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from stereo_msgs.msg import DisparityImage

MAX_MILLIMETRES = 65535


class Outputs:
    """
    The publishers of the depth outputs.

    Made and destroyed in the executor's thread, used in the worker's. What nobody listens to is
    not computed, except for depth itself.
    """

    def __init__(self, node: LifecycleNode, depth_encoding: str) -> None:
        """
        Make the publishers.

        :param depth_encoding: '32FC1' (metres) or '16UC1' (millimetres).
        """
        self.depth_encoding = depth_encoding
        self.incompatible_qos: dict[str, int] = {}   # topic -> subscribers that get nothing
        self._node = node
        depth_topic = 'depth/image' if depth_encoding == '32FC1' else 'depth/image_raw'
        self._all: list[LifecyclePublisher] = []
        try:
            self._depth = self._advertise(Image, depth_topic)
            self._camera_info = self._advertise(CameraInfo, 'depth/camera_info')
            self._confidence = self._advertise(Image, 'depth/confidence')
            self._disparity = self._advertise(DisparityImage, 'disparity')
            self._points = self._advertise(PointCloud2, 'points')
        except Exception:   # e.g. a QoS override that means nothing
            self.destroy()
            raise

    @property
    def depth_topic(self) -> str:
        """Return the full name of the depth topic."""
        return self._depth.topic_name

    def facts(self) -> dict[str, int]:
        """Return {topic: subscribers}, and how many cannot be reached."""
        topics = {f'Subscribers of {publisher.topic_name}': publisher.get_subscription_count()
                  for publisher in self._all}
        return {**topics, 'Subscribers of incompatible QoS': sum(self.incompatible_qos.values())}

    def destroy(self) -> None:
        """Leave the topics."""
        for publisher in self._all:
            self._node.destroy_lifecycle_publisher(publisher)

    def publish(self, result: Any, data: StereoInput, settings: PerceptionNodeParameters) -> None:
        """
        Publish all that the result holds.

        :param result: PerceptionResult with depth and disparity.
        :param data: The input that it answers.
        """
        header = {'stamp_ns': data.stamp_ns, 'frame_id': data.frame_id}
        depth, encoding = result.depth, self.depth_encoding
        if encoding == '16UC1':
            depth = to_millimetres(depth)
        # camera_info goes first: who pairs the two has it when the image comes
        self._camera_info.publish(write_camera_info(CameraInfo(), data.rig.left, **header))
        self._depth.publish(write_image(Image(), depth, encoding, **header))
        if result.confidence is not None and _wanted(self._confidence):
            self._confidence.publish(write_image(Image(), result.confidence, '32FC1', **header))
        if _wanted(self._disparity):
            self._disparity.publish(write_disparity_image(
                DisparityImage(), result.disparity, data.rig, settings.min_depth,
                settings.max_depth, **header))
        if _wanted(self._points):
            points, rgb = decimated_points(result.depth, data, settings.point_cloud_stride)
            self._points.publish(write_cloud(
                PointCloud2(), points, rgb, pcl_padding=settings.point_cloud_pcl_padding,
                **header))

    def _advertise(self, message_type: type, topic: str) -> LifecyclePublisher:
        def on_incompatible_qos(event: Any) -> None:
            self.incompatible_qos[topic] = event.total_count
        events = event_callbacks().PublisherEventCallbacks(incompatible_qos=on_incompatible_qos)
        publisher = self._node.create_lifecycle_publisher(
            message_type, topic, qos.dense_output(), event_callbacks=events,
            qos_overriding_options=qos.overridable())
        self._all.append(publisher)
        return publisher


def to_millimetres(depth: np.ndarray) -> np.ndarray:
    """
    Convert depth to the integers of OpenNI (REP 118).

    :param depth: (H, W) float32 [m]; NaN, +Inf and -Inf allowed.
    :return: (H, W) uint16 [mm]; 0 where depth is not finite or more than 65.535 m.
    """
    millimetres = np.rint(depth * np.float32(1000))
    fits = (millimetres >= 0) & (millimetres <= MAX_MILLIMETRES)   # false for NaN
    return np.where(fits, millimetres, 0).astype(np.uint16)


def decimated_points(depth: np.ndarray, data: StereoInput,
                     stride: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Turn every ``stride``-th row and column of a depth image into points with colour.

    :return: (h, w, 3) float32 [m] in the left optical frame, NaN where depth is not finite; and
        (h, w, 3) uint8 RGB. Rows and columns beyond the last multiple of the stride are left out.
    """
    stride = min(stride, *depth.shape)
    rows, columns = depth.shape[0] // stride, depth.shape[1] // stride
    window = np.s_[:rows * stride:stride, :columns * stride:stride]
    camera = data.rig.left.cropped(0, 0, columns * stride, rows * stride)
    points = back_project(depth[window], camera.scaled(columns, rows))
    return points, data.left[window]


def _wanted(publisher: LifecyclePublisher) -> bool:
    return publisher.get_subscription_count() > 0
