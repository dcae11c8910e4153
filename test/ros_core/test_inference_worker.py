# SPDX-License-Identifier: Apache-2.0
"""Reading of matched sets, and the worker that answers them whatever comes."""
import threading
from types import SimpleNamespace

from crossview_ros.errors import CalibrationError, MessageError
from crossview_ros.ros.frame_input import StereoReader
from crossview_ros.ros.inference_worker import InferenceWorker
from crossview_ros.ros.synchronizer import MatchedSet
import numpy as np
import pytest
from stereo_messages import BASELINE, camera_info, FX, image, stereo_messages

TOPICS = {name: f'/{name}' for name in ('left_image', 'left_info', 'right_image', 'right_info')}
LIMIT_S = 5.0


def matched(stamp_ns=1, epoch=0, **changes):
    """Return a matched set with some of its messages replaced."""
    messages = stereo_messages(stamp_ns)
    messages.update(changes)
    return MatchedSet(stamp_ns, messages, epoch)


def new_reader(baseline=None):
    """Return a reader whose TF gives this baseline."""
    return StereoReader(TOPICS, lambda left, right: baseline)


class Engine:
    """Records what it is asked; fails or waits on request."""

    def __init__(self):
        """Answer at once."""
        self.stamps, self.resets, self.error = [], 0, None
        self.may_answer, self.busy = threading.Event(), threading.Event()
        self.may_answer.set()

    def process(self, left, right, rig, stamp_ns, cloud=None, visible=None):
        """Answer like Perception."""
        self.busy.set()
        assert self.may_answer.wait(LIMIT_S)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.stamps.append(stamp_ns)
        return SimpleNamespace(timing_ms={'encode': 2.0})

    def reset(self):
        """Count."""
        self.resets += 1


class Bench:
    """A worker with an engine, and what came out of it."""

    def __init__(self):
        """Start answering."""
        self.engine, self.published, self.errors = Engine(), [], []
        self.changed = threading.Condition()
        self.worker = InferenceWorker(self.engine, new_reader(), self._publish, self._on_error)
        self.worker.resume()

    def put(self, item):
        """Offer a set and wait until it is answered or refused."""
        with self.changed:
            before = len(self.published) + len(self.errors)
            self.worker.put(item)
            assert self.changed.wait_for(
                lambda: len(self.published) + len(self.errors) > before, LIMIT_S)
        self.worker.facts()

    def _publish(self, result, data):
        with self.changed:
            self.published.append(data.stamp_ns)
            self.changed.notify()

    def _on_error(self, kind, text):
        with self.changed:
            self.errors.append((kind, text))
            self.changed.notify()


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.engine.may_answer.set()
    assert bench.worker.close(LIMIT_S)


def test_a_pair_is_read_with_the_header_of_its_left_image():
    data = new_reader().read(matched(stamp_ns=42))
    assert data.left.shape == data.right.shape == (6, 8, 3)
    assert data.left.dtype == np.uint8
    assert (data.stamp_ns, data.frame_id) == (42, 'left_optical')
    assert data.rig.baseline == pytest.approx(BASELINE)
    assert data.rig.left.fx == FX


def test_the_calibration_is_kept_until_it_changes():
    reader = new_reader()
    first = reader.read(matched(1)).rig
    assert reader.read(matched(2)).rig is first
    other = reader.read(matched(3, right_info=camera_info(baseline=0.2))).rig
    assert other.baseline == pytest.approx(0.2)


@pytest.mark.parametrize('changes, error, text', [
    ({'left_image': image(encoding='hsv9')}, MessageError, "/left_image: encoding 'hsv9'"),
    ({'right_image': image(size_hw=(4, 8))}, MessageError,
     '/right_image: image is 8x4 px, its camera_info says 8x6'),
    ({'right_info': camera_info(baseline=-0.1)}, CalibrationError, 'left and right swapped'),
    ({'right_info': camera_info(baseline=0.0)}, CalibrationError, 'no baseline'),
    ({'right_info': camera_info(baseline=100.0)}, CalibrationError, 'likely millimetres'),
])
def test_a_bad_set_is_refused_in_plain_words(changes, error, text):
    with pytest.raises(error, match=text):
        new_reader().read(matched(**changes))


def test_a_baseline_of_zero_is_taken_from_tf_and_told():
    reader = new_reader(baseline=0.12)
    info = camera_info(frame_id='right_optical', baseline=0.0)
    assert reader.read(matched(right_info=info)).rig.baseline == 0.12
    assert reader.notes == ['/right_info gives no baseline (P[3] = 0); 0.1200 m are taken instead']


def test_an_image_in_another_frame_than_its_camera_info_is_told():
    reader = new_reader()
    reader.read(matched(left_image=image(frame_id='other')))
    assert reader.notes == ["/left_image is in frame 'other', its camera_info in 'left_optical'"]


def test_after_a_refusal_a_good_calibration_serves_again():
    reader = new_reader()
    reader.read(matched())
    with pytest.raises(CalibrationError):
        reader.read(matched(right_info=camera_info(baseline=-0.1)))
    assert reader.rig is None
    assert reader.read(matched()).rig is not None


def test_every_kind_of_failure_is_counted_and_the_next_set_answered(bench):
    bench.put(matched(1))
    bench.put(matched(2, left_image=image(encoding='hsv9')))
    bench.put(matched(3, right_info=camera_info(baseline=-0.1)))
    bench.engine.error = RuntimeError('out of memory')
    bench.put(matched(4))
    failing = bench.worker.facts()
    bench.put(matched(5))
    assert bench.published == [1, 5]
    assert [kind for kind, _ in bench.errors] == ['message', 'calibration', 'inference']
    assert failing.last_error == {'inference': 'RuntimeError: out of memory'}
    assert dict(failing.failed) == {'message': 1, 'calibration': 1, 'inference': 1}


def test_the_newest_set_is_answered_and_what_it_replaced_counted(bench):
    bench.engine.may_answer.clear()
    bench.worker.put(matched(1))
    assert bench.engine.busy.wait(LIMIT_S)
    for stamp in (2, 3, 4):
        bench.worker.put(matched(stamp))
    with bench.changed:
        bench.engine.may_answer.set()
        assert bench.changed.wait_for(lambda: len(bench.published) == 2, LIMIT_S)
    assert bench.published == [1, 4]
    assert bench.worker.facts().dropped == 2


def test_a_new_epoch_and_a_new_calibration_reset_the_engine(bench):
    resets = []
    for item in (matched(1), matched(2), matched(3, epoch=1), matched(4, epoch=1),
                 matched(5, epoch=1, right_info=camera_info(baseline=0.2))):
        bench.put(item)
        resets.append(bench.engine.resets)
    # 1 by the start, 1 by the first calibration
    assert resets == [2, 2, 3, 3, 4]


def test_a_paused_worker_has_ended_its_answer_and_takes_nothing(bench):
    bench.put(matched(1))
    bench.worker.pause()
    bench.worker.put(matched(2))
    bench.worker.pause()   # drops it
    bench.worker.resume()
    bench.put(matched(3))
    assert bench.published == [1, 3]


def test_closing_waits_for_the_answer_in_progress(bench):
    bench.engine.may_answer.clear()
    bench.worker.put(matched(1))
    assert bench.engine.busy.wait(LIMIT_S)
    assert not bench.worker.close(timeout_s=0.01)
    bench.engine.may_answer.set()
    assert bench.worker.close(LIMIT_S)
    assert bench.published == [1]
