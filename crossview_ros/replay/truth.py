# SPDX-License-Identifier: Apache-2.0
"""Read the ground-truth topics of a bag, frame by frame, beside the images."""
from pathlib import Path
from typing import Any

from crossview_ros.errors import CalibrationError, MessageError
from crossview_ros.geometry.camera import StereoRig
from crossview_ros.geometry.flow import warp_by_disparity, warp_image
from crossview_ros.geometry.se3 import compose
from crossview_ros.geometry.stereo import depth_to_disparity, disparity_to_depth
from crossview_ros.messages.disparity_image import read_disparity_image
from crossview_ros.messages.image import read_depth_image, read_float_image, read_image
from crossview_ros.messages.odometry import read_pose
from crossview_ros.replay.inputs import FrameInput
from crossview_ros.replay.pairing import Frame
from crossview_ros.replay.path_truth import PathTruth
from crossview_ros.replay.scores import Truth
from crossview_ros.replay.stamped_topic import StampedTopics
from crossview_ros.replay.static_transforms import StaticTransforms
import numpy as np

DEPTH_TOPIC = '/ground_truth/depth'
DISPARITY_TOPIC = '/ground_truth/disparity'
FLOW_TOPIC = '/ground_truth/flow'
HIDDEN_TOPIC = '/ground_truth/flow_occluded'
ODOM_TOPIC = '/ground_truth/odom'
TOPICS = [DEPTH_TOPIC, DISPARITY_TOPIC, FLOW_TOPIC, HIDDEN_TOPIC, ODOM_TOPIC]
TOLERANCE_NS = 1_000_000   # truth that is meant for an image carries its stamp


class GroundTruth:
    """
    Ground truth of the left images of one bag, asked for in the order of their stamps.

    It reads the bag beside whoever reads the images. A context manager, for one thread.
    """

    def __init__(self, path: Path, transforms: StaticTransforms = StaticTransforms(),
                 poses: PathTruth | None = None) -> None:
        """
        Remember the bag; nothing is read yet.

        :param transforms: Serve to turn poses of the base into poses of the camera.
        :param poses: True poses to use instead of those of the bag.
        """
        self._poses = poses
        self._topics = StampedTopics(path, TOPICS)
        self._transforms = transforms
        self._offset_px: float | None = None
        self.notes: list[str] = []

    def __enter__(self) -> 'GroundTruth':
        """Open the truth topics that the bag holds."""
        self._topics.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the files."""
        self._topics.__exit__(*error)

    @property
    def topics(self) -> list[str]:
        """Names of the truth topics in use."""
        return self._topics.names

    def at(self, frame: Frame, data: FrameInput) -> Truth:
        """
        Return the truth of a frame's left image; what is missing is derived.

        :param data: The images serve to find how the bag means its disparity.
        """
        depth, disparity = self._depth_and_disparity(frame.stamp_ns, data)
        flow = self._find(FLOW_TOPIC, frame.stamp_ns)
        hidden = self._find(HIDDEN_TOPIC, frame.stamp_ns)
        return Truth(depth, disparity, None if flow is None else read_float_image(flow),
                     None if hidden is None else read_image(hidden, HIDDEN_TOPIC)[..., 0] > 0,
                     self._camera_pose(frame))

    def restart(self) -> None:
        """Forget the place in the bag where stamps jumped back."""
        self._topics.restart()

    def _find(self, topic: str, stamp: int) -> Any:
        return self._topics.nearest(topic, stamp, TOLERANCE_NS)

    def _depth_and_disparity(self, stamp: int, data: FrameInput) -> tuple:
        depth_message = self._find(DEPTH_TOPIC, stamp)
        disparity_message = self._find(DISPARITY_TOPIC, stamp)
        depth = None if depth_message is None else read_depth_image(depth_message)
        if not isinstance(data.rig, StereoRig):
            return depth, None
        disparity = None
        if disparity_message is not None:
            disparity = read_disparity_image(disparity_message)
            disparity = disparity - self._disparity_offset(disparity, data)
        if depth is None and disparity is not None:
            depth = disparity_to_depth(disparity, data.rig)
        if disparity is None and depth is not None:
            disparity = depth_to_disparity(depth, data.rig)
        return depth, disparity

    def _disparity_offset(self, disparity: np.ndarray, data: FrameInput) -> float:
        """
        Return what to subtract from the message's disparity to get x_left - x_right.

        The message definition subtracts the difference of the principal points; some bags store
        the plain difference of columns instead. The images tell which one fits.
        """
        doffs = data.rig.doffs
        if abs(doffs) < 0.01:
            return 0.0
        if self._offset_px is None:
            errors = {offset: photometric_error(data.left, data.right, disparity - offset)[0]
                      for offset in (doffs, 0.0)}
            self._offset_px = min(errors, key=lambda offset: (np.isnan(errors[offset]),
                                                              errors[offset]))
        return self._offset_px

    def _camera_pose(self, frame: Frame) -> np.ndarray | None:
        if self._poses is not None:
            return self._poses.at(frame.index, frame.stamp_ns)
        message = self._find(ODOM_TOPIC, frame.stamp_ns)
        if message is None:
            return None
        try:
            T_base_camera = self._transforms.lookup(message.child_frame_id,
                                                    frame.left.header.frame_id)
            return compose(read_pose(message.pose.pose), T_base_camera)
        except (CalibrationError, MessageError) as error:
            text = f'{ODOM_TOPIC} is not used: {error}'
            if text not in self.notes:
                self.notes.append(text)
            return None


def photometric_error(left: np.ndarray, right: np.ndarray,
                      disparity: np.ndarray) -> tuple[float, float]:
    """
    Return how much the left image differs from the right one moved by the disparity.

    :param left: (H, W, 3) uint8.
    :param right: (H, W, 3) uint8.
    :param disparity: (H, W) float32 [px], x_left - x_right; NaN pixels are left out.
    :return: Mean difference of the grey values, of 255, moved and unmoved over the same pixels;
        NaN where nothing overlaps.
    """
    left, right = _grey(left), _grey(right)
    return _differences(left, right, warp_by_disparity(right, disparity))


def flow_photometric_error(previous: np.ndarray, current: np.ndarray,
                           flow: np.ndarray) -> tuple[float, float]:
    """
    Return how much an image differs from the next one moved back by the flow.

    :param previous: (H, W, 3) uint8, the image on whose grid the flow lies.
    :param current: (H, W, 3) uint8.
    :param flow: (H, W, 2) float32 [px]; NaN pixels are left out.
    :return: As `photometric_error`.
    """
    previous, current = _grey(previous), _grey(current)
    return _differences(previous, current, warp_image(current, flow))


def _grey(image: np.ndarray) -> np.ndarray:
    return image.mean(axis=-1, dtype=np.float32)


def _differences(first: np.ndarray, second: np.ndarray, moved: np.ndarray) -> tuple[float, float]:
    seen = np.isfinite(moved)
    if not seen.any():
        return float('nan'), float('nan')
    return (float(np.abs(first - moved)[seen].mean()), float(np.abs(first - second)[seen].mean()))
