# SPDX-License-Identifier: Apache-2.0
"""A path of a body over time, and which poses of two paths belong to the same moment."""
from dataclasses import dataclass

from crossview_ros.errors import DatasetError
import numpy as np


@dataclass(frozen=True)
class Trajectory:
    """Poses of a body in the order of their times, or of their frames where none are known."""

    poses: np.ndarray                      # (N, 4, 4) float64, T_world_body
    stamps_ns: np.ndarray | None = None    # (N,) int64, not falling; None: one for a frame

    def __post_init__(self):
        """Refuse arrays of other shapes, poses that are not finite, times out of order."""
        if self.poses.ndim != 3 or self.poses.shape[1:] != (4, 4) or not len(self.poses):
            raise DatasetError(f'poses must be (N, 4, 4), got {self.poses.shape}')
        if not np.isfinite(self.poses).all():
            raise DatasetError('poses must be finite')
        if self.stamps_ns is not None and (self.stamps_ns.shape != self.poses.shape[:1]
                                           or (np.diff(self.stamps_ns) < 0).any()):
            raise DatasetError('times must be one for each pose and must not fall')

    def __len__(self) -> int:
        """Return the number of poses."""
        return len(self.poses)


def associate(stamps_ns: np.ndarray, others_ns: np.ndarray,
              max_difference_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Pair the moments of two clocks one to one and in order, the nearest first.

    :param stamps_ns: (N,) int64, growing.
    :param others_ns: (M,) int64, growing.
    :param max_difference_ns: Moments farther apart are no pair.
    :return: Indices into both, (K,) int64 each, growing.
    """
    # A pair around another one would go against its order, so only neighbours can be pairs.
    moments_ns = np.concatenate((stamps_ns, others_ns))
    order = np.argsort(moments_ns, kind='stable')
    is_other = order >= len(stamps_ns)
    difference = np.diff(moments_ns[order])
    candidates = np.flatnonzero((difference <= max_difference_ns)
                                & (is_other[1:] != is_other[:-1]))
    taken = np.zeros(len(order), bool)
    firsts = []   # places in order of the earlier moment of each pair
    for k in candidates[np.argsort(difference[candidates], kind='stable')]:
        if not taken[k:k + 2].any():
            taken[k:k + 2] = True
            firsts.append(k)
    pairs = order[np.sort(np.array(firsts, np.int64))[:, None] + (0, 1)]
    pairs.sort(axis=1)   # the other clock's indices come after
    return pairs[:, 0], pairs[:, 1] - len(stamps_ns)


def associate_nearest(stamps_ns: np.ndarray, others_ns: np.ndarray,
                      max_difference_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Pair each moment of the shorter list with the nearest of the longer one, as evo does.

    A moment of the longer list may be taken twice. Of lists as long as each other the first one
    chooses. Times are compared as float64 seconds, in which evo's ties fall.

    :param stamps_ns: (N,) int64, not falling.
    :param others_ns: (M,) int64, not falling.
    :return: As `associate`.
    """
    if len(others_ns) < len(stamps_ns):
        second, first = associate_nearest(others_ns, stamps_ns, max_difference_ns)
        return first, second
    stamps_s, others_s = _seconds(stamps_ns), _seconds(others_ns)
    after = np.searchsorted(others_s, stamps_s).clip(max=len(others_s) - 1)
    # of moments that repeat a time the first one
    before = np.searchsorted(others_s, others_s[np.maximum(after - 1, 0)])
    gap_before, gap_after = (np.abs(others_s[index] - stamps_s) for index in (before, after))
    near = np.minimum(gap_before, gap_after) <= max_difference_ns * 1e-9
    return np.flatnonzero(near), np.where(gap_after < gap_before, after, before)[near]


def nearest_moments(stamps_ns: np.ndarray, others_ns: np.ndarray) -> np.ndarray:
    """
    Return for each moment the index of the nearest other, of two as near that of the earlier.

    :param stamps_ns: (N,) int64.
    :param others_ns: (M,) int64, growing, at least one.
    :return: (N,) int64.
    """
    after = np.searchsorted(others_ns, stamps_ns).clip(1, max(len(others_ns) - 1, 1))
    before = after - 1
    after = after.clip(max=len(others_ns) - 1)
    nearer = np.abs(others_ns[after] - stamps_ns) < np.abs(stamps_ns - others_ns[before])
    return np.where(nearer, after, before)


def _seconds(stamps_ns: np.ndarray) -> np.ndarray:
    """Return the nearest float64 to each time [s], as reading its decimals gives."""
    return np.array([stamp / 10 ** 9 for stamp in stamps_ns.tolist()], np.float64)
