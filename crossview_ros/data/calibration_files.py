# SPDX-License-Identifier: Apache-2.0
"""Read the calibration that stands beside a stereo sample, in each format that data sets use."""
import json
from pathlib import Path
import re
from typing import Any

from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import numpy as np

NEEDED = ('fx', 'fy', 'cx_left', 'cx_right', 'cy', 'baseline_m')   # of calib.json [px], [m]


def read_rig(path: str | Path, size_hw: tuple[int, int]) -> StereoRig | None:
    """
    Read a stereo calibration: calib.json, Middlebury's calib.txt, KITTI's or Booster's.

    :param size_hw: (height, width) of the images [px].
    :return: None where the file leaves a value open that metric depth needs.
    :raises DatasetError: If the file is missing or damaged.
    :raises CalibrationError: If its values make no rectified pair.
    """
    text = _read_text(path)
    if Path(path).suffix == '.json':
        values = _from_json(path, text)
    elif 'P_rect_02' in text:
        values = _from_kitti(path, text, 'P_rect_02', 'P_rect_03')
    elif 'P2:' in text:
        values = _from_kitti(path, text, 'P2', 'P3')
    elif '<opencv_storage>' in text:
        values = _from_booster(path, text)
    else:
        values = _from_middlebury(path, text)
    if values is None:
        return None
    _check_size(path, values, size_hw)
    left, right = (PinholeCamera(size_hw[1], size_hw[0], values['fx'], values['fy'],
                                 values[cx], values['cy']) for cx in ('cx_left', 'cx_right'))
    return StereoRig(left, right, values['baseline_m'])


def read_matrices(path: str | Path) -> dict[str, np.ndarray]:
    """
    Read the lines ``name: numbers`` of a KITTI calibration; others are left out.

    :return: Name -> (n,) float64 of a line.
    :raises DatasetError: If the file is missing or has no such line.
    """
    matrices = {}
    for name, text in re.findall(r'^(\w+):(.+?)\s*$', _read_text(path), re.MULTILINE):
        try:
            matrices[name] = np.array([float(word) for word in text.split()])
        except ValueError:   # dates
            continue
    if not matrices:
        raise DatasetError(f'{path}: holds no lines of a name and numbers, as KITTI writes them')
    return matrices


def rig_from_projections(left: np.ndarray, right: np.ndarray,
                         size_hw: tuple[int, int]) -> StereoRig:
    """
    Build a rig from rectified projections (3, 4) of one frame, P[0, 3] = -fx * camera's x.

    :raises CalibrationError: If they make no rectified pair.
    """
    cameras = [PinholeCamera(size_hw[1], size_hw[0], p[0, 0], p[1, 1], p[0, 2], p[1, 2])
               for p in (left, right)]
    return StereoRig(*cameras, left[0, 3] / left[0, 0] - right[0, 3] / right[0, 0])


def _from_json(path: str | Path, text: str) -> dict[str, Any] | None:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise DatasetError(f'{path}: is not valid JSON: {error}') from error
    if not isinstance(values, dict):
        raise DatasetError(f'{path}: expected a JSON object, got {type(values).__name__}')
    known = all(isinstance(values.get(name), (int, float)) for name in NEEDED)
    return values if known else None


def _from_middlebury(path: str | Path, text: str) -> dict[str, Any]:
    """Read Middlebury 2014 and ETH3D: cam0=[f 0 cx; 0 f cy; 0 0 1], doffs [px], baseline [mm]."""
    lines = dict(re.findall(r'^(\w+)=(.+?)\s*$', text, re.MULTILINE))
    cameras = [_numbers(path, lines.get(name, ''), 9) for name in ('cam0', 'cam1')]
    baseline = _numbers(path, lines.get('baseline', ''), 1)[0] / 1000
    values = {'fx': cameras[0][0], 'fy': cameras[0][4], 'cx_left': cameras[0][2],
              'cx_right': cameras[1][2], 'cy': cameras[0][5], 'baseline_m': baseline}
    sides = {name: int(_numbers(path, lines[name], 1)[0])
             for name in ('width', 'height') if name in lines}
    return {**values, **sides}


def _from_kitti(path: str | Path, text: str, *cameras: str) -> dict[str, Any]:
    """Read the projections of the colour cameras: P[3] = -fx times the camera's x."""
    lines = dict(re.findall(r'^(\w+):(.+?)\s*$', text, re.MULTILINE))
    left, right = (_numbers(path, lines.get(name, ''), 12) for name in cameras)
    return _from_projections(left, right)


def _from_booster(path: str | Path, text: str) -> dict[str, Any]:
    """Read the projections (OpenCV's XML) and the baseline [mm] of a Booster scene."""
    left, right = (_numbers(path, _tag(_tag(text, name), 'data'), 12)
                   for name in ('proj_matL', 'proj_matR'))
    baseline_m = _numbers(path, _tag(text, 'baselineLR'), 1)[0] / 1000
    return {**_from_projections(left, right), 'baseline_m': baseline_m}


def _tag(text: str, name: str) -> str:
    found = re.search(rf'<{name}\b[^>]*>(.*?)</{name}>', text, re.DOTALL)
    return found[1] if found else ''


def _from_projections(left: list[float], right: list[float]) -> dict[str, Any]:
    return {'fx': left[0], 'fy': left[5], 'cx_left': left[2], 'cx_right': right[2],
            'cy': left[6], 'baseline_m': left[3] / left[0] - right[3] / right[0]}


def _numbers(path: str | Path, text: str, count: int) -> list[float]:
    try:
        numbers = [float(word) for word in re.split(r'[\s;\[\]]+', text) if word]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise DatasetError(f'{path}: is no calibration of a known format: expected {count} '
                           f"numbers, got '{text}'")
    return numbers


def _check_size(path: str | Path, values: dict[str, Any], size_hw: tuple[int, int]) -> None:
    declared = values.get('height', size_hw[0]), values.get('width', size_hw[1])
    if declared != size_hw:
        raise DatasetError(f'{path}: is for images of {declared[1]} x {declared[0]} px, but they '
                           f'are {size_hw[1]} x {size_hw[0]}')


def _read_text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding='utf-8')
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read: {error.strerror}; is the data set '
                           'complete?') from error
    except UnicodeDecodeError as error:
        raise DatasetError(f'{path}: is no text file') from error
