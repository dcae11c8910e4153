# SPDX-License-Identifier: Apache-2.0
"""Read the ground-truth topics of a bag, frame by frame, beside the images."""
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from crossview_ros.geometry.camera import StereoRig
from crossview_ros.geometry.flow import warp_by_disparity
from crossview_ros.geometry.stereo import depth_to_disparity, disparity_to_depth
from crossview_ros.messages.disparity_image import read_disparity_image
from crossview_ros.messages.header import stamp_ns
from crossview_ros.messages.image import read_depth_image
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.scores import Truth
import numpy as np

DEPTH_TOPIC = '/ground_truth/depth'
DISPARITY_TOPIC = '/ground_truth/disparity'
TOLERANCE_NS = 1_000_000   # truth that is meant for an image carries its stamp


class GroundTruth:
    """
    Ground truth of the left images of one bag, asked for in the order of their stamps.

    It reads the bag beside whoever reads the images. A context manager, for one thread.
    """

    def __init__(self, path: Path) -> None:
        """Remember the bag; nothing is read yet."""
        self._path = path
        self._files = ExitStack()
        self._cursors: dict[str, _Cursor] = {}
        self._offset_px: float | None = None

    def __enter__(self) -> 'GroundTruth':
        """Open the truth topics that the bag holds."""
        with Bag(self._path) as bag:
            names = {topic.name for topic in bag.topics if topic.count}
        for name in (DEPTH_TOPIC, DISPARITY_TOPIC):
            if name in names:
                # a reader of its own: two iterations of one reader may disturb each other
                self._cursors[name] = _Cursor(self._files.enter_context(Bag(self._path)), name)
        return self

    def __exit__(self, *error: object) -> None:
        """Close the files."""
        self._cursors = {}
        self._files.__exit__(*error)

    @property
    def topics(self) -> list[str]:
        """Names of the truth topics in use."""
        return list(self._cursors)

    def at(self, stamp: int, rig: StereoRig, left: np.ndarray, right: np.ndarray) -> Truth:
        """
        Return the truth of the left image with this stamp; what is missing is derived.

        :param stamp: Stamp of the left image [ns].
        :param left: (H, W, 3) uint8 RGB; with ``right`` only used to find the sign of doffs.
        """
        depth_message = self._find(DEPTH_TOPIC, stamp)
        disparity_message = self._find(DISPARITY_TOPIC, stamp)
        depth = None if depth_message is None else read_depth_image(depth_message)
        disparity = None
        if disparity_message is not None:
            disparity = read_disparity_image(disparity_message)
            disparity = disparity - self._disparity_offset(disparity, rig, left, right)
        if depth is None and disparity is not None:
            depth = disparity_to_depth(disparity, rig)
        if disparity is None and depth is not None:
            disparity = depth_to_disparity(depth, rig)
        return Truth(depth, disparity)

    def restart(self) -> None:
        """Forget the place in the bag where stamps jumped back."""
        for cursor in self._cursors.values():
            cursor.skip_to_restart()

    def _find(self, topic: str, stamp: int) -> Any:
        cursor = self._cursors.get(topic)
        return cursor.at(stamp) if cursor else None

    def _disparity_offset(self, disparity: np.ndarray, rig: StereoRig, left: np.ndarray,
                          right: np.ndarray) -> float:
        """
        Return what to subtract from the message's disparity to get x_left - x_right.

        The message definition subtracts the difference of the principal points; some bags store
        the plain difference of columns instead. The images tell which one fits.
        """
        if abs(rig.doffs) < 0.01:
            return 0.0
        if self._offset_px is None:
            errors = {offset: photometric_error(left, right, disparity - offset)[0]
                      for offset in (rig.doffs, 0.0)}
            self._offset_px = min(errors, key=lambda offset: (np.isnan(errors[offset]),
                                                              errors[offset]))
        return self._offset_px


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
    left, right = (image.mean(axis=-1, dtype=np.float32) for image in (left, right))
    moved = warp_by_disparity(right, disparity)
    seen = np.isfinite(moved)
    if not seen.any():
        return float('nan'), float('nan')
    return (float(np.abs(left - moved)[seen].mean()), float(np.abs(left - right)[seen].mean()))


class _Cursor:
    """One topic read forwards; stamps must not be asked for backwards."""

    def __init__(self, bag: Bag, topic: str) -> None:
        self._messages: Iterator = bag.messages([topic])
        self._head: Any = None
        self._advance()

    def at(self, stamp: int) -> Any:
        """Return the message of a stamp, or None."""
        while self._head is not None and stamp_ns(self._head) < stamp - TOLERANCE_NS:
            self._advance()
        if self._head is None or stamp_ns(self._head) > stamp + TOLERANCE_NS:
            return None
        return self._head

    def skip_to_restart(self) -> None:
        """Read on until stamps jump back."""
        last = None
        while self._head is not None and (last is None or stamp_ns(self._head) >= last):
            last = stamp_ns(self._head)
            self._advance()

    def _advance(self) -> None:
        self._head = next((message for _, _, message in self._messages), None)
