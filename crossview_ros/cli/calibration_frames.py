# SPDX-License-Identifier: Apache-2.0
"""Frames that show a network what it will see: from the user's bag, or rendered."""
from pathlib import Path
from typing import Any

NUM_FRAMES = 16   # spread over a bag; each gives a stereo pair and one with the next frame
Pair = tuple[Any, Any]


def frame_pairs(bag: Path | None, size_hw: tuple[int, int],
                num_frames: int = NUM_FRAMES) -> list[Pair]:
    """
    Return views in pairs: left and right, and left with the left one after it.

    :param bag: None: rendered frames. Without a stereo pair: those of one camera.
    :param size_hw: To which images are resized [px].
    :return: (1, H, W, 3) uint8 RGB each.
    :raises MessageError: If the bag is damaged, or holds no image.
    """
    frames = _rendered(size_hw, num_frames) if bag is None \
        else _recorded(bag, size_hw, num_frames)
    pairs = []
    for (left, right), (later, _) in frames:
        pairs += [(left, later)] if right is None else [(left, right), (left, later)]
    return pairs


def _rendered(size_hw: tuple[int, int], num_frames: int) -> list[tuple[Pair, Pair]]:
    from crossview_ros.data.synthetic.sample_frames import sample_frames
    frames, _ = sample_frames(num_frames + 1, size_hw)
    views = [(left[None], right[None]) for left, right in frames]
    return list(zip(views, views[1:]))


def _recorded(path: Path, size_hw: tuple[int, int], num_frames: int) -> list[tuple[Pair, Pair]]:
    from crossview_ros.errors import MessageError
    from crossview_ros.replay.bag import Bag
    from crossview_ros.replay.inputs import InputReader
    from crossview_ros.replay.pairing import frames_of, pairer_of
    from crossview_ros.replay.static_transforms import StaticTransforms
    from crossview_ros.replay.topics import find_input_topics
    chosen, earlier = [], None
    with Bag(path) as bag:
        topics = find_input_topics(bag)
        reader = InputReader(topics, StaticTransforms.of_bag(bag))
        step = max(topics.left.count // num_frames, 2)
        for frame in frames_of(bag, topics, pairer_of(topics, 20_000_000)):
            if frame.index % step > 1 or len(chosen) == num_frames:
                continue
            given = reader.read(frame)
            views = tuple(None if image is None else _resized(image, size_hw)
                          for image in (given.left, given.right))
            if frame.index % step == 1 and earlier is not None:
                chosen.append((earlier, views))
            earlier = views if frame.index % step == 0 else None
    if not chosen:
        raise MessageError(f'{path}: no two frames in a row to calibrate with')
    return chosen


def _resized(image: Any, size_hw: tuple[int, int]) -> Any:
    """Return (1, h, w, 3); the shape need not be kept, ranges of values hardly depend on it."""
    import cv2
    import numpy as np
    return cv2.resize(np.ascontiguousarray(image), size_hw[::-1],
                      interpolation=cv2.INTER_AREA)[None]
