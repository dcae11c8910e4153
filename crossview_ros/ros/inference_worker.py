# SPDX-License-Identifier: Apache-2.0
"""
Answer the newest matched set in a thread of its own; a bad one is counted and the next answered.

Knows nothing of ROS: reading, engine and publishing are handed in.
"""
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
import threading
import time
from typing import Any

from crossview_ros.errors import CalibrationError, CrossviewError, MessageError
from crossview_ros.ros.frame_input import FrameInput, InputReader
from crossview_ros.ros.synchronizer import MatchedSet
from crossview_ros.runtime.latest_slot import LatestSlot

NUM_LATENCIES = 200
# Kinds of failure; the keys of WorkerFacts.failed.
BAD_MESSAGE, BAD_CALIBRATION, INFERENCE_FAILED = 'message', 'calibration', 'inference'


@dataclass
class WorkerFacts:
    """What the worker has done; a snapshot."""

    answered: int = 0
    dropped: int = 0    # replaced by a newer set before they were taken
    failed: Counter[str] = field(default_factory=Counter)          # by kind
    last_error: dict[str, str] = field(default_factory=dict)       # by kind; gone once it is well
    inference_ms: list[float] = field(default_factory=list)        # of the latest answers
    stages_ms: dict[str, float] = field(default_factory=dict)      # of the latest answer
    last_stamp_ns: int | None = None                               # of the latest answer
    frame_id: str | None = None                                    # of the latest input
    zero_stamps: int = 0
    no_frame_id: int = 0


class InferenceWorker:
    """
    A mailbox for one matched set and the thread that empties it.

    `put`, `facts`, `pause` and `close` may be called from any thread.
    """

    def __init__(self, engine: Any, reader: InputReader,
                 publish: Callable[[Any, FrameInput], None],
                 on_error: Callable[[str, str], None],
                 on_reset: Callable[[], None] = lambda: None,
                 points_for: Callable[[FrameInput], Any] = lambda data: None) -> None:
        """
        Start the thread.

        :param engine: Perception, or something with its methods.
        :param publish: Called with each result and its input, in the worker's thread.
        :param on_error: Called with kind and text of each failure, in the worker's thread.
        :param on_reset: Called when the engine forgets earlier frames.
        :param points_for: Returns the cloud that belongs to an input, or None; called in the
            worker's thread.
        """
        self.reader = reader
        self._engine, self._publish, self._on_error = engine, publish, on_error
        self._on_reset, self._points_for = on_reset, points_for
        self._slot: LatestSlot[MatchedSet] = LatestSlot()
        self._facts = WorkerFacts()
        self._latencies: deque[float] = deque(maxlen=NUM_LATENCIES)
        self._lock = threading.Lock()        # of the facts
        self._answering = threading.Lock()   # held while a set is being answered
        self._paused = True
        self._epoch: int | None = None
        self._rig: Any = None
        self._thread = threading.Thread(target=self._run, name='inference', daemon=True)
        self._thread.start()

    def put(self, matched: MatchedSet) -> None:
        """Offer a set; it replaces one that waits."""
        self._slot.put(matched)

    def resume(self) -> None:
        """Begin or go on answering, without memory of earlier frames."""
        self.reset()
        self._paused = False

    def pause(self) -> None:
        """Drop what waits and return once nothing is being answered."""
        self._paused = True
        self._slot.clear()
        with self._answering:
            pass

    def clear(self) -> None:
        """Drop the set that waits."""
        self._slot.clear()

    def reset(self) -> None:
        """Make the next frame the first one: no flow, and a new origin of the odometry."""
        self._engine.reset()
        self._on_reset()

    def facts(self) -> WorkerFacts:
        """Return a copy of the counters."""
        with self._lock:
            facts = self._facts
            return WorkerFacts(
                facts.answered, self._slot.num_dropped, Counter(facts.failed),
                dict(facts.last_error), list(self._latencies), dict(facts.stages_ms),
                facts.last_stamp_ns, facts.frame_id, facts.zero_stamps, facts.no_frame_id)

    def close(self, timeout_s: float) -> bool:
        """End the thread; False if it is still busy after the timeout."""
        self._paused = True
        self._slot.close()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._slot.closed:
            matched = self._slot.take()
            with self._answering:
                if matched is not None and not self._paused:
                    self._answer_safely(matched)

    def _answer_safely(self, matched: MatchedSet) -> None:
        try:
            self._answer(matched)
        except MessageError as error:
            self._fail(BAD_MESSAGE, str(error))
        except CalibrationError as error:
            self._fail(BAD_CALIBRATION, str(error))
        except CrossviewError as error:
            self._fail(INFERENCE_FAILED, str(error))
        except Exception as error:   # e.g. out of memory on the device: the next may do
            self._fail(INFERENCE_FAILED, f'{type(error).__name__}: {error}')

    def _answer(self, matched: MatchedSet) -> None:
        data = self.reader.read(matched)
        self._clear(BAD_MESSAGE, BAD_CALIBRATION)
        if matched.epoch != self._epoch or data.rig != self._rig:
            self.reset()   # time began anew, or another camera: nothing to compare with
            self._epoch, self._rig = matched.epoch, data.rig
        cloud = self._points_for(data)
        start_s = time.perf_counter()
        result = self._engine.process(data.left, data.right, data.rig, data.stamp_ns,
                                      cloud=cloud, visible=data.visible)
        elapsed_ms = 1e3 * (time.perf_counter() - start_s)
        self._publish(result, data)
        self._clear(INFERENCE_FAILED)
        with self._lock:
            facts = self._facts
            facts.answered += 1
            facts.stages_ms = dict(getattr(result, 'timing_ms', {}))
            facts.last_stamp_ns, facts.frame_id = data.stamp_ns, data.frame_id
            facts.zero_stamps += data.stamp_ns == 0
            facts.no_frame_id += not data.frame_id
            self._latencies.append(elapsed_ms)

    def _fail(self, kind: str, text: str) -> None:
        with self._lock:
            self._facts.failed[kind] += 1
            self._facts.last_error[kind] = text
        self._on_error(kind, text)

    def _clear(self, *kinds: str) -> None:
        with self._lock:
            for kind in kinds:
                self._facts.last_error.pop(kind, None)
