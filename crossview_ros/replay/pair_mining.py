# SPDX-License-Identifier: Apache-2.0
"""Choose pairs from the frames of one rig, with a sliding window of views."""
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from crossview_ros.data.pair_shards import CAMERA_FIELDS
from crossview_ros.errors import MessageError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.projection import project_points
from crossview_ros.geometry.se3 import invert, make_transform, transform_points
from crossview_ros.replay.covisibility import (
    Overlap, overlap_by_depth, overlap_by_matches)
from crossview_ros.replay.inputs import FrameInput, InputReader
from crossview_ros.replay.pair_options import PairOptions
from crossview_ros.replay.pairing import Frame
from crossview_ros.replay.scene import Cloud, SceneReader
from crossview_ros.replay.topics import InputTopics
from crossview_ros.replay.view import Cut, make_view, View
import numpy as np

STEREO, SEQUENTIAL, CLOUD = 'stereo', 'sequential', 'cloud'
IMAGE = 'image'   # what is dropped before it can be part of a pair


@dataclass(frozen=True)
class Record:
    """A pair ready to be written."""

    kind: str                   # 'stereo', 'sequential' or 'cloud'
    members: dict[str, bytes]   # without the JSON
    info: dict[str, Any]


class PairMiner:
    """
    Takes the frames of one rig in order and gives pairs; keeps the latest useful views.

    ``dropped[kind][reason]`` counts what did not become a pair. For one thread.
    """

    def __init__(self, topics: InputTopics, reader: InputReader, scenes: SceneReader,
                 options: PairOptions) -> None:
        """Start with an empty window."""
        self.dropped: dict[str, dict[str, int]] = {}
        self.window: deque[View] = deque(maxlen=options.window)
        self._topics, self._reader, self._scenes = topics, reader, scenes
        self._options = options
        self._trusted = options.rectify or not any(
            camera.distorted for camera in topics.cameras)

    def recall(self, frame: Frame) -> None:
        """Put a view back into the window that was there when an earlier run stopped."""
        scene = self._scenes.at(frame)
        self.window.append(self._left_view(frame, self._reader.read(frame), scene))

    def restart(self) -> None:
        """Forget all views: time jumped back."""
        self.window.clear()
        self._scenes.restart()

    def add(self, frame: Frame) -> Iterator[Record]:
        """Yield the pairs that a frame completes."""
        scene = self._scenes.at(frame)
        try:
            data = self._reader.read(frame)
        except MessageError:
            self._drop(IMAGE, 'cannot be read')
            return
        view = self._left_view(frame, data, scene)
        reason = self._fault(view) or self._repeated(view)
        if reason is not None:
            self._drop(IMAGE, reason)
            return
        if data.right is not None:
            yield from self._stereo_pair(view, frame, data)
        yield from self._sequential_pair(view)
        yield from self._cloud_pair(view, scene.cloud)
        self.window.append(view)

    def _left_view(self, frame: Frame, data: FrameInput, scene: Any) -> View:
        return make_view(frame.index, frame.stamp_ns, self._topics.left.image, data.left,
                         data.camera, scene, Cut.of(data.camera, self._options.size_hw),
                         self._options.jpeg_quality)

    def _fault(self, view: View) -> str | None:
        if view.brightness < self._options.min_brightness:
            return f'darker than {self._options.min_brightness:g} of 255'
        if view.sharpness < self._options.min_sharpness:
            return f'blurred (sharpness below {self._options.min_sharpness:g})'
        return None

    def _repeated(self, view: View) -> str | None:
        same = any(view.change(other) < self._options.min_change for other in self.window)
        return 'near-duplicate of an earlier view' if same else None

    def _stereo_pair(self, view: View, frame: Frame, data: FrameInput) -> Iterator[Record]:
        cut = Cut.of(data.camera, self._options.size_hw)
        right = make_view(frame.index, frame.stamp_ns, self._topics.right.image, data.right,
                          data.rig.right, None, cut, self._options.jpeg_quality)
        if self._fault(right) is not None:
            self._drop(STEREO, f'right image {self._fault(right)}')
            return
        T_right_left = _T_right_left(data.rig) if self._trusted else None
        overlap = overlap_by_matches(view.corners, right.corners, T_right_left, self._trusted)
        reason = self._objection(overlap)
        if reason is None:
            yield _pair_record(STEREO, view, right, overlap, T_right_left)
        else:
            self._drop(STEREO, reason)

    def _sequential_pair(self, view: View) -> Iterator[Record]:
        """Pair a view with one in the window: of those that suit, each in turn, for variety."""
        if not self.window:
            self._drop(SEQUENTIAL, 'no earlier view')
            return
        suited, objection = [], None
        for other in reversed(self.window):
            overlap = compare(view, other)
            fault = self._objection(overlap)
            objection = objection or fault
            if fault is None:
                suited.append((other, overlap))
            elif overlap.covisibility < self._options.min_covisibility:
                break   # still earlier views share less
        if suited:
            other, overlap = suited[view.index % len(suited)]
            yield _pair_record(SEQUENTIAL, view, other, overlap, _T_b_a(view, other))
        else:
            self._drop(SEQUENTIAL, objection)

    def _cloud_pair(self, view: View, cloud: Cloud | None) -> Iterator[Record]:
        if self._topics.cloud is None:
            return
        if cloud is None:
            self._drop(CLOUD, 'no usable cloud within '
                              f'{1e3 * self._options.max_cloud_offset_s:g} ms')
            return
        points = transform_points(cloud.T_camera_lidar, cloud.points)
        in_view = project_points(points, view.camera)[2]
        if in_view.sum() < self._options.min_points:
            self._drop(CLOUD, f'fewer than {self._options.min_points} points in view')
            return
        file = BytesIO()
        columns = (cloud.points,) if cloud.intensity is None else \
            (cloud.points, _reflectance(cloud.intensity))
        np.save(file, np.column_stack(columns)[in_view])
        yield Record(CLOUD, {'image.jpg': view.jpeg, 'points.npy': file.getvalue()}, {
            **_side(view), 'kind': CLOUD, 'T_camera_lidar': cloud.T_camera_lidar.tolist(),
            'cloud_topic': self._topics.cloud, 'cloud_offset_ms': round(1e3 * cloud.offset_s, 3),
            'num_points': int(in_view.sum())})

    def _objection(self, overlap: Overlap) -> str | None:
        options = self._options
        if overlap.covisibility < options.min_covisibility:
            return f'co-visibility below {options.min_covisibility:g}'
        if overlap.covisibility > options.max_covisibility:
            return f'co-visibility above {options.max_covisibility:g}'
        if not overlap.parallax_deg >= options.min_parallax_deg:   # also NaN
            return f'parallax below {options.min_parallax_deg:g} deg'
        return None

    def _drop(self, kind: str, reason: str) -> None:
        counts = self.dropped.setdefault(kind, {})
        counts[reason] = counts.get(reason, 0) + 1


def compare(view: View, other: View) -> Overlap:
    """Compare two views of one camera by depth and pose where both have them."""
    if view.depth is not None and other.depth is not None:
        return overlap_by_depth(view.depth, other.depth)
    return overlap_by_matches(view.corners, other.corners, _T_b_a(view, other))


def _reflectance(intensity: np.ndarray) -> np.ndarray:
    """Scale echoes to [0, 1]: devices give shares, or numbers up to 255; unknown ones are 0."""
    known = np.nan_to_num(intensity, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(known / np.float32(255 if known.max(initial=0.0) > 1 else 1), 0, 1)


def _T_right_left(rig: StereoRig) -> np.ndarray:
    return make_transform(np.eye(3), (-rig.baseline, 0.0, 0.0))


def _T_b_a(a: View, b: View) -> np.ndarray | None:
    if a.T_world_camera is None or b.T_world_camera is None:
        return None
    return invert(b.T_world_camera) @ a.T_world_camera


def _pair_record(kind: str, a: View, b: View, overlap: Overlap,
                 T_b_a: np.ndarray | None) -> Record:
    """Pack a pair; every other frame swaps the views, so that no side is always the target."""
    if a.index % 2:
        a, b, T_b_a = b, a, None if T_b_a is None else invert(T_b_a)
    info = {'kind': kind, 'covisibility': round(overlap.covisibility, 4),
            'parallax_deg': round(overlap.parallax_deg, 3), 'method': overlap.method,
            'target': _side(a), 'reference': _side(b),
            'T_reference_target': None if T_b_a is None else T_b_a.tolist()}
    return Record(kind, {'target.jpg': a.jpeg, 'reference.jpg': b.jpeg}, info)


def _side(view: View) -> dict[str, Any]:
    return {'topic': view.topic, 'stamp_ns': view.stamp_ns, 'camera': _camera(view.camera)}


def _camera(camera: PinholeCamera) -> dict[str, float]:
    return {name: getattr(camera, name) for name in CAMERA_FIELDS}
