# SPDX-License-Identifier: Apache-2.0
"""Perception may be called from any thread: one frame at a time, and resets never wait."""
import threading

from block_matching import make_rig, texture
import numpy as np

SIZE_HW = (32, 48)
IMAGE, RIG = texture(*SIZE_HW), make_rig(SIZE_HW)


def process(perception, stamp_ns):
    """Answer a frame of a camera that stands still."""
    return perception.process(IMAGE, IMAGE, RIG, stamp_ns)


def test_frames_are_answered_one_at_a_time(perception, matcher):
    inside, overlaps, perceive = [], [], perception()

    def hook(graph):
        inside.append(graph)
        overlaps.append(len(inside) > 1)
        threading.Event().wait(0.001)   # let the others try
        inside.pop()
    matcher.hook = hook
    results = []
    threads = [threading.Thread(target=lambda s=stamp: results.append(process(perceive, s)))
               for stamp in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 6 and not any(overlaps)
    assert sum(result.flow is None for result in results) == 1   # only the first has no previous
    starts = sorted(r.previous_stamp_ns for r in results if r.flow is not None)
    assert len(set(starts)) == 5


def test_reset_during_a_frame_does_not_wait_and_holds_for_it(perception, matcher):
    perceive, reached, go_on = perception(), threading.Event(), threading.Event()

    def hook(graph):
        if graph == 'stereo':
            reached.set()
            assert go_on.wait(10)
    matcher.hook = hook
    thread = threading.Thread(target=process, args=(perceive, 1))
    thread.start()
    assert reached.wait(10)
    perceive.reset()                      # returns though a frame is being answered
    perceive.set_options(max_depth=5.0)   # this too
    go_on.set()
    thread.join(10)
    result = process(perceive, 2)
    assert result.flow is None            # the frame before the reset is forgotten
    assert np.all(result.depth == np.inf)


def test_close_waits_for_the_frame(perception, matcher):
    perceive, reached, closing = perception(), threading.Event(), threading.Event()
    answers, closed_too_early = [], []

    def hook(graph):
        if graph == 'stereo':
            reached.set()
            closing.wait(10)
            threading.Event().wait(0.02)   # give `close` the chance to be wrong
            closed_too_early.append(matcher.num_closed > 0)
    matcher.hook = hook
    worker = threading.Thread(target=lambda: answers.append(process(perceive, 1)))
    worker.start()
    assert reached.wait(10)
    closer = threading.Thread(target=lambda: (closing.set(), perceive.close()))
    closer.start()
    worker.join(10)
    closer.join(10)
    assert len(answers) == 1 and closed_too_early == [False] and matcher.num_closed == 1
