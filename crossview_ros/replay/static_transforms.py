# SPDX-License-Identifier: Apache-2.0
"""Look up fixed transforms between frames from the /tf_static of a bag."""
from typing import Any

from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.se3 import compose, invert, make_transform, rotation_from_quat_xyzw
from crossview_ros.replay.bag import Bag
import numpy as np

TOPIC = '/tf_static'
TF_TYPE = 'tf2_msgs/msg/TFMessage'


class StaticTransforms:
    """The tree of fixed frames; frames are named without a leading slash."""

    def __init__(self, messages: list[Any] = ()) -> None:
        """
        Keep the edges of TFMessage objects; a later edge replaces an earlier one.

        :param messages: tf2_msgs/TFMessage objects of any origin.
        """
        self._parents: dict[str, tuple[str, np.ndarray]] = {}
        for message in messages:
            for edge in message.transforms:
                child, parent = (name.lstrip('/') for name in
                                 (edge.child_frame_id, edge.header.frame_id))
                self._parents[child] = (parent, _transform(edge.transform))

    @classmethod
    def of_bag(cls, bag: Bag) -> 'StaticTransforms':
        """Read /tf_static; the tree is empty where the bag has none."""
        if not any(topic.name == TOPIC and topic.type == TF_TYPE for topic in bag.topics):
            return cls()
        return cls([message for _, _, message in bag.messages([TOPIC])])

    def lookup(self, target: str, source: str) -> np.ndarray:
        """
        Return T_target_source (4, 4): it maps points of frame source into frame target.

        :raises CalibrationError: If no chain of fixed transforms connects the two.
        """
        target, source = target.lstrip('/'), source.lstrip('/')
        target_root, T_root_target = self._to_root(target)
        source_root, T_root_source = self._to_root(source)
        if target_root != source_root:
            raise CalibrationError(
                f"no fixed transform from '{source}' to '{target}' in {TOPIC}; it connects "
                f'{", ".join(sorted(self._parents)) or "nothing"}')
        return compose(invert(T_root_target), T_root_source)

    def connects(self, target: str, source: str) -> bool:
        """Tell whether a chain of fixed transforms connects two frames."""
        return self.root_of(target) == self.root_of(source)

    def root_of(self, frame: str) -> str:
        """
        Return the frame at the top of the tree that holds a frame; its own name if alone.

        :raises CalibrationError: If the tree holds a loop.
        """
        return self._to_root(frame.lstrip('/'))[0]

    def _to_root(self, frame: str) -> tuple[str, np.ndarray]:
        T_root_frame, seen = np.eye(4), {frame}
        while frame in self._parents:
            frame, T_parent_child = self._parents[frame]
            T_root_frame = compose(T_parent_child, T_root_frame)
            if frame in seen:
                raise CalibrationError(f"{TOPIC} holds a loop through frame '{frame}'")
            seen.add(frame)
        return frame, T_root_frame


def _transform(message: Any) -> np.ndarray:
    q, t = message.rotation, message.translation
    return make_transform(rotation_from_quat_xyzw(np.array([q.x, q.y, q.z, q.w])),
                          np.array([t.x, t.y, t.z]))
