# SPDX-License-Identifier: Apache-2.0
"""An image of a bag as a candidate for pairs: cut to size, judged, and small enough to keep."""
from dataclasses import dataclass
from functools import cached_property

from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.projection import points_to_depth_image
from crossview_ros.geometry.se3 import transform_points
from crossview_ros.replay.covisibility import Corners, DepthView, find_corners
from crossview_ros.replay.scene import Scene
import cv2
import numpy as np

GREY_PX = 640     # longer side of the grey image in which corners and blur are measured
DEPTH_PX = 96     # longer side of the depth image in which co-visibility is measured
THUMB_HW = 24, 32


@dataclass(frozen=True)
class Cut:
    """The middle window of an image with the aspect ratio of another size, then that size."""

    x: int
    y: int
    width: int
    height: int
    size_hw: tuple[int, int]

    @classmethod
    def of(cls, camera: PinholeCamera, size_hw: tuple[int, int] | None) -> 'Cut':
        """Plan the cut of a camera's images; None leaves them whole."""
        rows, columns = size_hw or camera.size_hw
        scale = min(camera.height / rows, camera.width / columns)
        height, width = round(rows * scale), round(columns * scale)
        return cls((camera.width - width) // 2, (camera.height - height) // 2, width, height,
                   (rows, columns))

    def camera(self, camera: PinholeCamera) -> PinholeCamera:
        """Return the camera of the cut image."""
        return camera.cropped(self.x, self.y, self.width, self.height).scaled(*self.size_hw[::-1])

    def image(self, image: np.ndarray) -> np.ndarray:
        """Return the window of an image, (H, W, 3) uint8, in the new size."""
        return _resized(self._window(image), self.size_hw)

    def depth(self, depth: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """Cut a depth image (H, W) and keep the nearest value for each pixel of a size."""
        window = self._window(depth)
        row, column = (np.arange(new) * old // new for new, old in zip(size_hw, window.shape))
        return window[np.ix_(row, column)]

    def _window(self, image: np.ndarray) -> np.ndarray:
        return image[self.y:self.y + self.height, self.x:self.x + self.width]


@dataclass(frozen=True)
class View:
    """One image with what comparing it needs; the picture itself is kept as JPEG."""

    index: int                # of its frame in the bag
    stamp_ns: int
    topic: str
    jpeg: bytes
    camera: PinholeCamera     # of the JPEG
    grey: np.ndarray          # (h, w) uint8, longer side at most GREY_PX
    thumb: np.ndarray         # THUMB_HW float32
    T_world_camera: np.ndarray | None   # (4, 4), optical frame
    depth: DepthView | None   # where the bag has both depth and pose

    @cached_property
    def corners(self) -> Corners:
        """Corners of the grey image."""
        return find_corners(self.grey, self.camera.scaled(*self.grey.shape[::-1]))

    @property
    def brightness(self) -> float:
        """Mean grey value, [0, 255]."""
        return float(self.thumb.mean())

    @cached_property
    def sharpness(self) -> float:
        """Variance of the Laplacian of the grey image."""
        return float(cv2.Laplacian(self.grey, cv2.CV_32F).var())

    def change(self, other: 'View') -> float:
        """Return the mean difference of two views' thumbnails, in grey values of 255."""
        return float(np.abs(self.thumb - other.thumb).mean())


def make_view(index: int, stamp_ns: int, topic: str, image: np.ndarray, camera: PinholeCamera,
              scene: Scene | None, cut: Cut, quality: int) -> View:
    """
    Cut and pack an image.

    :param image: (H, W, 3) uint8 RGB of the camera's size.
    :param scene: What is known beside it; None for a right image.
    :param quality: Of the JPEG, 1 to 100.
    """
    image, small = cut.image(image), cut.camera(camera)
    grey = cv2.cvtColor(_resized(image, _limited(image.shape[:2], GREY_PX)), cv2.COLOR_RGB2GRAY)
    thumb = cv2.resize(grey, THUMB_HW[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    return View(index, stamp_ns, topic, encode_jpeg(image, quality), small, grey, thumb,
                scene and scene.T_world_camera, scene and _depth_view(scene, camera, small, cut))


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """
    Compress (H, W, 3) uint8 RGB.

    :raises DatasetError: If JPEG cannot hold it, as with a side of more than 65500 px.
    """
    done, data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DatasetError(f'an image of {image.shape[1]}x{image.shape[0]} px cannot be written '
                           'as JPEG')
    return data.tobytes()


def _depth_view(scene: Scene, camera: PinholeCamera, small: PinholeCamera,
                cut: Cut) -> DepthView | None:
    """Return depth from a depth image of the camera's size, else from the cloud."""
    if scene.T_world_camera is None:
        return None
    probe = small.scaled(*_limited(small.size_hw, DEPTH_PX)[::-1])
    if scene.depth is not None and scene.depth.shape == camera.size_hw:
        depth = cut.depth(scene.depth, probe.size_hw)
    elif scene.cloud is not None:
        points = transform_points(scene.cloud.T_camera_lidar, scene.cloud.points)
        depth = points_to_depth_image(points, probe)
    else:
        return None
    return DepthView(depth, probe, scene.T_world_camera)


def _limited(size_hw: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return the size shrunk to a longest side."""
    shrink = min(1.0, longest / max(size_hw))
    return max(1, round(size_hw[0] * shrink)), max(1, round(size_hw[1] * shrink))


def _resized(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size_hw:
        return image
    shrinks = size_hw[0] < image.shape[0]
    return cv2.resize(image, size_hw[::-1],
                      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
