# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/CameraInfo to and from cameras, and the pre-flight of a stereo pair."""
from typing import Any

from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.messages.header import set_header
from crossview_ros.messages.sequences import set_floats
import numpy as np

_NO_BASELINE_M = 1e-6     # below it P[3] counts as not given
_LEFT_BASELINE_M = 1e-4   # what a left P[3] may amount to by rounding


def read_camera(info: Any, rectified: bool = True, name: str = 'camera_info') -> PinholeCamera:
    """
    Read the camera of the image that a CameraInfo comes with; ROI and binning are applied.

    :param info: sensor_msgs/CameraInfo.
    :param rectified: The image is rectified: P counts. Else K, whose distortion is not applied.
    :param name: Named in errors.
    :return: Camera of the size of the image (of the ROI, divided by the binning).
    :raises CalibrationError: If the camera is not calibrated or the numbers are impossible.
    """
    k = _matrix(info, 'k', 9, name)
    if k[0] == 0:
        raise CalibrationError(f'{name}: K[0] is 0, so the camera is not calibrated; calibrate '
                               'it or publish its CameraInfo')
    p = _matrix(info, 'p', 12, name)
    if rectified and p[0] == 0:
        raise CalibrationError(f'{name}: P[0] is 0, so nothing is known of the rectified image')
    fx, cx, fy, cy = (p[0], p[2], p[5], p[6]) if rectified else (k[0], k[2], k[4], k[5])
    try:
        camera = PinholeCamera(int(info.width), int(info.height), fx, fy, cx, cy)
        return _binned(_windowed(camera, info), info)
    except CalibrationError as error:
        raise CalibrationError(f'{name}: {error}') from error


def read_baseline(info: Any, name: str = 'right camera_info') -> float:
    """
    Read how far right of the left camera this one sits.

    :param info: CameraInfo of a rectified camera.
    :return: B = -P[3] / P[0] [m]; 0 if not given, negative if left and right are swapped.
    :raises CalibrationError: If P is missing, not finite or has no focal length.
    """
    p = _matrix(info, 'p', 12, name)
    if not np.isfinite(p).all() or p[0] == 0:
        raise CalibrationError(f'{name}: P[0] = {p[0]:g} and P[3] = {p[3]:g} give no baseline')
    return -float(p[3]) / float(p[0])   # too small a P[0] gives inf, refused by the rig


def read_stereo_rig(left: Any, right: Any, baseline_fallback: float | None = None) -> StereoRig:
    """
    Check two CameraInfo as a rectified stereo pair and read its rig.

    :param left: CameraInfo of the left camera.
    :param right: CameraInfo of the right camera; P[3] = -fx * baseline.
    :param baseline_fallback: Used if the right P[3] is 0: x of the right camera in the left
        optical frame [m], as from TF. Whoever passes it warns the user.
    :raises CalibrationError: If they do not make a rectified pair with a baseline.
    """
    left_camera = read_camera(left, name='left camera_info')
    right_camera = read_camera(right, name='right camera_info')
    left_offset = read_baseline(left, 'left camera_info')
    baseline = read_baseline(right)
    if abs(left_offset) > _LEFT_BASELINE_M:
        raise CalibrationError(
            f'left camera_info has P[3] = {float(left.p[3]):.6g}, expected 0 (it gives '
            f'{left_offset:.3f} m); are left and right swapped?')
    if baseline < -_NO_BASELINE_M:
        raise CalibrationError(
            f'right camera_info gives baseline {baseline:.3f} m (P[3] = {float(right.p[3]):.6g} '
            '> 0); are left and right swapped?')
    if abs(baseline) <= _NO_BASELINE_M:
        if baseline_fallback is None:
            raise CalibrationError(
                'right camera_info gives no baseline: P[3] is 0, expected -fx * baseline; publish '
                'it, or the transform from the left to the right camera')
        baseline = baseline_fallback
    return StereoRig(left_camera, right_camera, baseline)


def calibration_key(info: Any) -> tuple:
    """Return all that a CameraInfo says about its camera, to see whether it has changed."""
    roi = info.roi
    return (int(info.height), int(info.width), str(info.distortion_model),
            *(float(value) for field in (info.k, info.d, info.r, info.p) for value in field),
            int(info.binning_x), int(info.binning_y), int(roi.x_offset), int(roi.y_offset),
            int(roi.width), int(roi.height), str(info.header.frame_id))


def write_camera_info(message: Any, camera: PinholeCamera, stamp_ns: int, frame_id: str,
                      baseline: float = 0.0) -> Any:
    """
    Fill the CameraInfo of a rectified image: K and P agree, no distortion.

    :param message: A fresh sensor_msgs/CameraInfo.
    :param baseline: 0 for a left or single camera, else x in the left optical frame [m].
    :return: The message.
    """
    set_header(message, stamp_ns, frame_id)
    message.height, message.width = camera.size_hw
    message.distortion_model = 'plumb_bob'
    set_floats(message, 'd', np.zeros(5))
    p = np.zeros((3, 4))
    p[:, :3] = camera.matrix
    p[0, 3] = -camera.fx * baseline if baseline else 0.0   # no -0.0
    message.k = camera.matrix.reshape(9)
    message.r = np.eye(3).reshape(9)
    message.p = p.reshape(12)
    return message


def _matrix(info: Any, field: str, size: int, name: str) -> np.ndarray:
    values = np.asarray(getattr(info, field), np.float64).reshape(-1)
    if values.size != size:
        raise CalibrationError(f'{name}: {field.upper()} must hold {size} numbers, '
                               f'got {values.size}')
    return values


def _windowed(camera: PinholeCamera, info: Any) -> PinholeCamera:
    """Cut out the region of interest; all zeros mean the whole image."""
    roi = getattr(info, 'roi', None)
    window = (0, 0, 0, 0) if roi is None else (
        int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height))
    return camera.cropped(*window) if any(window) else camera


def _binned(camera: PinholeCamera, info: Any) -> PinholeCamera:
    """Divide by the binning; 0 means 1."""
    x = int(getattr(info, 'binning_x', 0)) or 1
    y = int(getattr(info, 'binning_y', 0)) or 1
    # not scaled(): a size that the binning does not divide loses its last pixels
    return PinholeCamera(camera.width // x, camera.height // y, camera.fx / x, camera.fy / y,
                         camera.cx / x, camera.cy / y)
