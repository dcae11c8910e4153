# SPDX-License-Identifier: Apache-2.0
"""Turn messages of a bag into the arrays and the calibration that Perception takes."""
from dataclasses import dataclass
from typing import Any

from crossview_ros.errors import CalibrationError, MessageError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.se3 import transform_points
from crossview_ros.messages.camera_info import calibration_key, read_camera, read_stereo_rig
from crossview_ros.messages.image import read_compressed_image, read_image
from crossview_ros.messages.point_cloud2 import read_points
from crossview_ros.replay.lidar_holdout import split_rings
from crossview_ros.replay.pairing import Frame
from crossview_ros.replay.rectified import RectifiedImages
from crossview_ros.replay.static_transforms import StaticTransforms
from crossview_ros.replay.topics import CameraTopics, InputTopics
import numpy as np

MAX_CLOUD_AGE_NS = 100_000_000   # of the nearest cloud before or after the image


@dataclass(frozen=True)
class FrameInput:
    """One frame ready for Perception: a rectified pair, or the image of one camera."""

    left: np.ndarray             # (H, W, 3) uint8 RGB
    right: np.ndarray | None     # (H, W, 3) uint8 RGB
    rig: StereoRig | PinholeCamera
    cloud: np.ndarray | None     # (N, 3) float32 [m], left optical frame
    held_out: np.ndarray | None = None   # as cloud: points to judge by, kept from Perception
    visible: np.ndarray | None = None    # (H, W) bool of left; None: all of it

    @property
    def camera(self) -> PinholeCamera:
        """Return the left camera."""
        return self.rig.left if isinstance(self.rig, StereoRig) else self.rig


class InputReader:
    """
    Read frames of one bag; the calibration is kept until CameraInfo changes.

    Not for use from two threads.
    """

    def __init__(self, topics: InputTopics, transforms: StaticTransforms,
                 rectify: bool = False, keep_every: int | None = None) -> None:
        """
        Remember where things are; ``transforms`` serve the baseline and the cloud.

        :param rectify: The images are raw: rectify them with K, D, R and P of their CameraInfo.
        :param keep_every: Rings of a cloud that stay in it, the others are held out; None: all.
        """
        self.topics = topics
        self.transforms = transforms
        self.notes: list[str] = []
        self._rectified = RectifiedImages() if rectify else None
        self._keep_every = keep_every
        self._rig: StereoRig | PinholeCamera | None = None
        self._rig_key: tuple | None = None

    def read(self, frame: Frame, cloud: Any = None) -> FrameInput:
        """
        Read images, calibration and cloud of a frame.

        :param cloud: PointCloud2 that was taken with the frame, or None.
        :raises MessageError: If an image is broken or does not fit its CameraInfo.
        :raises CalibrationError: If the two CameraInfo do not make a stereo rig.
        """
        rig = self._read_rig(frame)
        left, visible = self._read_image(self.topics.left, frame.left, frame.left_info)
        right = None if frame.right is None else \
            self._read_image(self.topics.right, frame.right, frame.right_info)[0]
        return FrameInput(left, right, rig, *self._read_clouds(frame, cloud), visible)

    def _read_image(self, camera: CameraTopics, message: Any,
                    info: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the image, rectified where that is asked for, and what of it is visible."""
        image = read_compressed_image(message, camera.image) if camera.compressed \
            else read_image(message, camera.image)
        if image.shape[:2] != self._camera.size_hw:
            raise MessageError(
                f'{camera.image}: image is {image.shape[1]}x{image.shape[0]}, its camera_info '
                f'says {self._camera.width}x{self._camera.height} px')
        return (image, None) if self._rectified is None \
            else self._rectified.of(camera.image, image, info)

    @property
    def _camera(self) -> PinholeCamera:
        return self._rig.left if isinstance(self._rig, StereoRig) else self._rig

    def _read_rig(self, frame: Frame) -> StereoRig | PinholeCamera:
        infos = [frame.left_info] if frame.right is None else [frame.left_info, frame.right_info]
        key = tuple(calibration_key(info) for info in infos)
        if self._rig is None or key != self._rig_key:
            self._rig = self._make_rig(frame)
            self._rig_key = key
        return self._rig

    def _make_rig(self, frame: Frame) -> StereoRig | PinholeCamera:
        if frame.right is not None:
            return read_stereo_rig(frame.left_info, frame.right_info,
                                   baseline_fallback=self._baseline_of_tf(frame))
        # a single camera is often calibrated without P
        return read_camera(frame.left_info, rectified=frame.left_info.p[0] != 0,
                           name=self.topics.left.info)

    def _baseline_of_tf(self, frame: Frame) -> float | None:
        if frame.right_info.p[3] != 0:
            return None
        try:
            T_left_right = self.transforms.lookup(_frame_id(frame.left), _frame_id(frame.right))
        except CalibrationError:
            return None   # the error of read_stereo_rig says more
        self._note(f'The right camera_info has no baseline; {T_left_right[0, 3]:.4f} m were '
                   'taken from /tf_static.')
        return float(T_left_right[0, 3])

    def _read_clouds(self, frame: Frame, cloud: Any) -> list[np.ndarray | None]:
        """Return the points that go in, and those held out."""
        if cloud is None:
            return [None, None]
        try:
            T_left_cloud = self.transforms.lookup(_frame_id(frame.left), _frame_id(cloud))
            parts = [cloud] if self._keep_every is None else split_rings(cloud, self._keep_every)
            points = [transform_points(T_left_cloud, read_points(part)).astype(np.float32)
                      for part in parts]
        except (CalibrationError, MessageError) as error:
            self._note(f'The cloud is not used: {error}')
            return [None, None]
        return [*points, None][:2]

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _frame_id(message: Any) -> str:
    return message.header.frame_id
