# SPDX-License-Identifier: Apache-2.0
"""Refuse inputs that Perception cannot answer, where they enter and in plain words."""
from crossview_ros.errors import CalibrationError, MessageError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import numpy as np


def check_inputs(left: np.ndarray, right: np.ndarray | None, rig: StereoRig | PinholeCamera,
                 stamp_ns: int, cloud: np.ndarray | None, visible: np.ndarray | None) -> None:
    """
    Check one frame against its calibration.

    :raises MessageError: If an image, the stamp or the cloud is not what the contract says.
    :raises CalibrationError: If the calibration does not belong to the images.
    """
    _check_image(left, 'left')
    if right is None:
        if not isinstance(rig, PinholeCamera):
            raise CalibrationError(
                f'without a right image a PinholeCamera is expected, got {_name(rig)}; pass the '
                'right image, or rig.left for one moving camera')
        camera = rig
    else:
        _check_image(right, 'right')
        if not isinstance(rig, StereoRig):
            raise CalibrationError(f'a stereo pair needs a StereoRig, got {_name(rig)}; pass the '
                                   'rig, or right=None for one moving camera')
        camera = rig.left
        _check_size(right, camera, 'right')
    _check_size(left, camera, 'left')
    if isinstance(stamp_ns, bool) or not isinstance(stamp_ns, (int, np.integer)) or stamp_ns < 0:
        raise MessageError(f'stamp_ns must be a whole number of nanoseconds >= 0, '
                           f'got {stamp_ns!r}')
    if cloud is not None:
        _check_cloud(cloud)
    if visible is not None and (visible.dtype != bool or visible.shape != left.shape[:2]):
        raise MessageError(f'visible must be bool of the size of the left image, got '
                           f'{visible.dtype} {visible.shape}')


def _check_image(image: np.ndarray, side: str) -> None:
    if not isinstance(image, np.ndarray):
        raise MessageError(f'{side} image must be a NumPy array (H, W, 3) uint8 RGB, '
                           f'got {_name(image)}')
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise MessageError(f'{side} image must be (H, W, 3) uint8 RGB, got shape {image.shape} '
                           f'{image.dtype}; convert it first')
    if 0 in image.shape:
        raise MessageError(f'{side} image is empty: shape {image.shape}')


def _check_size(image: np.ndarray, camera: PinholeCamera, side: str) -> None:
    rows, cols = image.shape[:2]
    if (rows, cols) != camera.size_hw:
        raise CalibrationError(
            f'{side} image is {cols}x{rows} px (w x h), but its calibration is for '
            f'{camera.width}x{camera.height}; scale or crop the calibration with the image')


def _check_cloud(cloud: np.ndarray) -> None:
    if not isinstance(cloud, np.ndarray) or cloud.ndim != 2 or cloud.shape[1] != 3 \
            or cloud.dtype.kind != 'f':
        shape = f'shape {cloud.shape} {cloud.dtype}' if isinstance(cloud, np.ndarray) \
            else _name(cloud)
        raise MessageError('cloud must be (N, 3) float32 [m] in the left optical frame, '
                           f'got {shape}')


def _name(value: object) -> str:
    return type(value).__name__
