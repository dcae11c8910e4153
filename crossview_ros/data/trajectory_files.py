# SPDX-License-Identifier: Apache-2.0
"""Read trajectories: TUM and KITTI pose files, and the ground truth of EuRoC."""
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from crossview_ros.errors import CalibrationError, DatasetError
from crossview_ros.geometry.se3 import make_transform, rotation_from_quat_xyzw
from crossview_ros.geometry.trajectory import Trajectory
import numpy as np

LATEST_S = 9_000_000_000   # 64 bits of nanoseconds reach the year 2262


@dataclass(frozen=True)
class Layout:
    """How a line of a file gives a pose."""

    second: Decimal | None   # units of the first column in one; None: it is no time
    pose: Callable[[np.ndarray], np.ndarray]   # numbers of a line without its time -> (4, 4)


def read_trajectory(path: str | Path, note: Callable[[str], None] | None = None,
                    keep_repeats: bool = False) -> Trajectory:
    """
    Read poses; the number of columns tells the format.

    8 columns are TUM's ``t x y z qx qy qz qw`` (t [s]), 12 KITTI's rows of a 3 x 4 matrix
    without times, 8 or more with commas EuRoC's ``t, x, y, z, qw, qx, qy, qz, ...`` (t [ns]).
    Empty lines and lines that begin with # are skipped, and of poses of one time, which even
    published files have, all but the first.

    :param note: Told how many poses repeat a time.
    :param keep_repeats: Keep the poses that repeat a time, as evo does.
    :raises DatasetError: If the file cannot be read, a line is none of these, or a time lies
        before the one above it.
    """
    lines = _lines(path)
    layout, separator = _layout(path, lines[0][1])
    columns = len(lines[0][1].split(separator))
    poses, stamps_ns = [], []
    for number, line in lines:
        words = line.split(separator)
        place = f'{path}, line {number}'
        if len(words) != columns:
            raise DatasetError(f'{place}: {len(words)} columns where the first line has {columns}')
        if layout.second is not None:
            stamps_ns.append(_stamp_ns(place, words.pop(0), layout.second, stamps_ns))
        poses.append(_pose(place, words, layout))
    if not stamps_ns:
        return Trajectory(np.stack(poses))
    if keep_repeats:
        return Trajectory(np.stack(poses), np.array(stamps_ns, np.int64))
    times_ns, first = np.unique(np.array(stamps_ns, np.int64), return_index=True)
    if note is not None and len(first) < len(poses):
        note(f'{path}: {len(poses) - len(first)} of {len(poses)} poses repeat the time of the '
             'pose before and are left out')
    return Trajectory(np.stack(poses)[first], times_ns)


def _lines(path: str | Path) -> list[tuple[int, str]]:
    """Return the lines that hold a pose, with their numbers."""
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise DatasetError(f'{path}: is no text file of poses') from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)
             if line.strip() and not line.lstrip().startswith('#')]
    if not lines:
        raise DatasetError(f'{path}: holds no pose')
    return lines


def _layout(path: str | Path, line: str) -> tuple[Layout, str | None]:
    if ',' in line and len(line.split(',')) >= 8:
        return LAYOUTS['euroc'], ','
    count = len(line.split())
    if count not in (8, 12):
        raise DatasetError(f'{path}: a line has {count} columns; expected 8 (TUM: t x y z qx qy '
                           'qz qw) or 12 (KITTI: 3 x 4 matrix)')
    return LAYOUTS['tum' if count == 8 else 'kitti'], None


def _stamp_ns(place: str, word: str, second: Decimal, before: list[int]) -> int:
    """Read a time exactly: float64 has too few digits for nanoseconds since 1970."""
    try:
        stamp_s = Decimal(word.strip()) / second
    except InvalidOperation as error:
        raise DatasetError(f"{place}: the time '{word}' is no number") from error
    if not stamp_s.is_finite() or abs(stamp_s) > LATEST_S:
        raise DatasetError(f"{place}: the time '{word}' is no time in seconds since 1970")
    stamp_ns = int(round(stamp_s * 10 ** 9))
    if before and stamp_ns < before[-1]:
        raise DatasetError(f'{place}: the time {stamp_s} s lies before that of the pose above, '
                           f'{Decimal(before[-1]) / 10 ** 9} s; sort the file by time')
    return stamp_ns


def _pose(place: str, words: list[str], layout: Layout) -> np.ndarray:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise DatasetError(f'{place}: {error}') from error
    if not np.isfinite(numbers).all():
        raise DatasetError(f'{place}: the pose is not finite; leave lost frames out')
    try:
        return layout.pose(numbers)
    except CalibrationError as error:
        raise DatasetError(f'{place}: {error}') from error


def _tum_pose(numbers: np.ndarray) -> np.ndarray:
    return make_transform(rotation_from_quat_xyzw(numbers[3:]), numbers[:3])


def _euroc_pose(numbers: np.ndarray) -> np.ndarray:
    return make_transform(rotation_from_quat_xyzw(numbers[[4, 5, 6, 3]]), numbers[:3])


def _kitti_pose(numbers: np.ndarray) -> np.ndarray:
    matrix = numbers.reshape(3, 4)
    rotation = matrix[:, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise CalibrationError('the first three columns of the 3 x 4 matrix are no rotation')
    return make_transform(rotation, matrix[:, 3])


LAYOUTS = {'tum': Layout(Decimal(1), _tum_pose), 'kitti': Layout(None, _kitti_pose),
           'euroc': Layout(Decimal(10) ** 9, _euroc_pose)}
