# SPDX-License-Identifier: Apache-2.0
"""Rectify raw images: undistort, rotate and re-project as a CameraInfo says."""
from crossview_ros.errors import CalibrationError
import cv2
import numpy as np

# model -> numbers of distortion coefficients it may come with (sensor_msgs/distortion_models.hpp)
NUM_COEFFICIENTS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}


class Rectifier:
    """Turns raw images of one camera into rectified ones; nothing changes between calls."""

    def __init__(self, k: np.ndarray, d: np.ndarray, r: np.ndarray, p: np.ndarray,
                 distortion_model: str, size_hw: tuple[int, int]) -> None:
        """
        Compute where each rectified pixel lies in the raw image.

        :param k: (3, 3) camera matrix of the raw image [px].
        :param d: Distortion coefficients in the order of the model; none: no distortion.
        :param r: (3, 3) rotation from the camera into the rectified frame.
        :param p: (3, 4) or (3, 3) projection of the rectified image [px].
        :param distortion_model: 'plumb_bob', 'rational_polynomial' or 'equidistant'.
        :param size_hw: Size of the raw and of the rectified image [px].
        :raises CalibrationError: If the model is unknown or the numbers are impossible.

        Source: sensor_msgs/CameraInfo; OpenCV's initUndistortRectifyMap.
        """
        k, r, p = (np.asarray(matrix, np.float64) for matrix in (k, r, p))
        d = _coefficients(d, distortion_model)
        if not all(np.isfinite(matrix).all() for matrix in (k, d, r, p)):
            raise CalibrationError('K, D, R and P must be finite numbers to rectify with')
        if k[0, 0] == 0 or p[0, 0] == 0:
            raise CalibrationError(f'cannot rectify with K[0] = {k[0, 0]:g} and P[0] = '
                                   f'{p[0, 0]:g}: the camera is not calibrated')
        if np.abs(r @ r.T - np.eye(3)).max() > 1e-3:
            raise CalibrationError('R of the camera_info is no rotation matrix')
        self.size_hw = size_hw
        fisheye = distortion_model == 'equidistant' and d.any()
        compute = cv2.fisheye.initUndistortRectifyMap if fisheye else cv2.initUndistortRectifyMap
        # (H, W) float32 each: u and v [px] in the raw image
        self.map_u, self.map_v = compute(k, d, r, p[:, :3], size_hw[::-1], cv2.CV_32FC1)
        # (H, W) bool: rectified pixels that the raw image shows
        self.visible = (np.abs(self.map_u - (size_hw[1] - 1) / 2) <= size_hw[1] / 2) \
            & (np.abs(self.map_v - (size_hw[0] - 1) / 2) <= size_hw[0] / 2)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """
        Rectify.

        :param image: (H, W, 3) uint8 of the camera's size.
        :return: (H, W, 3) uint8; black where the raw image has nothing.
        :raises CalibrationError: If the image is of another size.
        """
        if image.shape[:2] != self.size_hw:
            raise CalibrationError(f'image is {image.shape[1]}x{image.shape[0]} px, but the '
                                   f'camera is {self.size_hw[1]}x{self.size_hw[0]}')
        return cv2.remap(image, self.map_u, self.map_v, cv2.INTER_LINEAR)


def _coefficients(d: np.ndarray, model: str) -> np.ndarray:
    d = np.asarray(d, np.float64).reshape(-1)
    if not d.any():   # already undistorted, whatever the model
        return np.zeros(4)
    if model not in NUM_COEFFICIENTS:
        raise CalibrationError(f"distortion model '{model}' is unknown; known are "
                               f'{", ".join(NUM_COEFFICIENTS)}')
    if d.size not in NUM_COEFFICIENTS[model]:
        wanted = ' or '.join(map(str, NUM_COEFFICIENTS[model]))
        raise CalibrationError(f'{model} has {wanted} coefficients, got {d.size}')
    return d
