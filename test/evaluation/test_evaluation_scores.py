# SPDX-License-Identifier: Apache-2.0
"""Scores of methods whose answers are known beforehand."""
import json

from crossview_ros.data import io
from crossview_ros.data.folders import find_samples
from crossview_ros.errors import ConfigError, DatasetError
from crossview_ros.evaluation.baselines import BASELINES
from crossview_ros.evaluation.methods import (
    Answer, BaselineMethod, MODEL_ANSWERS, ModelMethod)
from crossview_ros.evaluation.scores import (
    mean_scores, pooled_scores, Score, score_samples, TASKS)
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.metrics import Metric
from crossview_ros.runtime.results import PerceptionResult
import numpy as np
import pytest

CALIBRATION = {'fx': 60, 'fy': 60, 'cx_left': 20, 'cx_right': 20, 'cy': 19, 'baseline_m': 0.5}


class Answers:
    """A method that answers each sample with a fixed value."""

    def __init__(self, name, value):
        self.name, self._value = name, value

    def answer(self, sample):
        return self._value, 5.0

    def close(self):
        pass


class Engine:
    """A stand-in for Perception that notes what it is asked."""

    def __init__(self, **fields):
        self.calls, self._fields = [], fields

    def warm_up(self):
        self.calls.append('warm up')

    def reset(self):
        self.calls.append('reset')

    def process(self, left, right, rig, stamp_ns):
        self.calls.append((left.mean(), right is None, rig, stamp_ns))
        return PerceptionResult(stamp_ns, **self._fields)

    def close(self):
        self.calls.append('close')


@pytest.fixture
def stereo_folder(tmp_path):
    """Write two samples of 40 x 48 px: constant disparity 10 px, and 20 px with a rig."""
    for name, value in (('a', 10), ('b', 20)):
        folder = tmp_path / name
        folder.mkdir()
        for image in ('left.png', 'right.png'):
            io.write_image(folder / image, np.zeros((40, 48, 3), np.uint8))
        io.write_pfm(folder / 'disp_gt.pfm', np.full((40, 48), value, np.float32))
    (tmp_path / 'b' / 'calib.json').write_text(json.dumps(CALIBRATION))
    return tmp_path


def test_each_sample_and_method_gets_a_row_with_errors_as_counted_by_hand(stereo_folder):
    answer = np.full((40, 48), 12, np.float32)
    answer[:20] = np.nan    # half is missing: 20 px each
    progress = []

    scores = score_samples('stereo', find_samples('stereo', stereo_folder),
                           [Answers('x', answer), BaselineMethod('constant', 'stereo')],
                           progress=lambda *step: progress.append(step))

    assert [(row.sample, row.method) for row in scores] == \
        [('a', 'x'), ('a', 'constant'), ('b', 'x'), ('b', 'constant')]
    epe = [row.metrics['epe'] for row in scores]
    assert [metric.value for metric in epe] == [(2 + 20) / 2, 0, (8 + 20) / 2, 0]
    assert {metric.unit for metric in epe} == {'px'}
    assert scores[0].metrics['coverage'].value == 0.5 and scores[0].elapsed_ms == 5.0
    assert progress == [(1, 2), (2, 2)]


def test_half_scale_halves_the_constant_and_the_truth(stereo_folder):
    folder = stereo_folder / 'a'
    for image in ('left.png', 'right.png'):
        io.write_image(folder / image, np.zeros((80, 96, 3), np.uint8))
    io.write_pfm(folder / 'disp_gt.pfm', np.full((80, 96), 10, np.float32))

    score, = score_samples('stereo', find_samples('stereo', folder),
                           [Answers('x', np.full((40, 48), 8, np.float32))], scale=0.5)

    assert score.metrics['epe'].value == 3    # 8 against 10 / 2


def test_depth_is_scored_where_the_calibration_gives_it(stereo_folder):
    notes = []

    score, = score_samples('depth', find_samples('stereo', stereo_folder),
                           [Answers('x', np.full((40, 48), 25, np.float32))], note=notes.append)

    # true depth 60 * 0.5 / 20 = 1.5 m, answered 60 * 0.5 / 25 = 1.2 m
    assert score.sample == 'b'
    assert score.metrics['abs_rel'].value == pytest.approx(0.3 / 1.5, abs=1e-6)
    assert score.metrics['rmse'].unit == 'm'
    assert notes == ["'a' left out: no calibration that gives metric depth"]


def test_depth_without_any_calibration_is_refused(stereo_folder):
    with pytest.raises(DatasetError, match='none of 1 samples can be evaluated for depth'):
        score_samples('depth', find_samples('stereo', stereo_folder / 'a'), [])


def test_a_sample_without_a_true_pixel_is_refused(stereo_folder):
    io.write_pfm(stereo_folder / 'a' / 'disp_gt.pfm', np.full((40, 48), np.nan, np.float32))

    with pytest.raises(DatasetError, match="'a' has no pixel with truth"):
        score_samples('stereo', find_samples('stereo', stereo_folder / 'a'),
                      [Answers('x', np.zeros((40, 48), np.float32))])


def test_a_sample_without_truth_among_others_is_nan_told_and_in_no_mean(stereo_folder):
    io.write_pfm(stereo_folder / 'a' / 'disp_gt.pfm', np.full((40, 48), np.nan, np.float32))
    notes = []

    scores = score_samples('stereo', find_samples('stereo', stereo_folder),
                           [Answers('x', np.full((40, 48), 12, np.float32))], note=notes.append)

    assert np.isnan([metric.value for metric in scores[0].metrics.values()]).all()
    assert len(notes) == 1 and "'a' has no pixel with truth" in notes[0]
    assert mean_scores(scores)[0].metrics['epe'].value == 8
    assert pooled_scores(scores)[0].metrics['L1err'].value == 8


def test_pooled_figures_count_every_pixel_the_same(stereo_folder):
    truth = np.full((40, 48), 10, np.float32)
    truth[:, 12:] = np.nan      # a quarter of the pixels of the other sample
    io.write_pfm(stereo_folder / 'a' / 'disp_gt.pfm', truth)

    scores = score_samples('stereo', find_samples('stereo', stereo_folder),
                           [Answers('x', np.full((40, 48), 12, np.float32)),
                            BaselineMethod('constant', 'stereo')])

    means, pooled = mean_scores(scores), pooled_scores(scores)
    assert [score.method for score in pooled] == ['x', 'constant']
    assert means[0].metrics['epe'].value == (2 + 8) / 2
    assert pooled[0].metrics['L1err'] == Metric((2 + 4 * 8) / 5, 'px')
    assert pooled[0].metrics['D1-all'] == Metric(80.0, '%')
    assert pooled[1].metrics['bad@0.5'].value == 0


def test_flow_is_scored_against_zero(tmp_path):
    for image in ('frame1.png', 'frame2.png'):
        io.write_image(tmp_path / image, np.zeros((40, 48, 3), np.uint8))
    io.write_flo(tmp_path / 'flow_gt.flo', np.tile(np.float32([3, 4]), (40, 48, 1)))

    score, = score_samples('flow', find_samples('flow', tmp_path),
                           [BaselineMethod('zero', 'flow')])

    assert score.metrics['epe'].value == 5 and score.metrics['fl_all'].value == 1


def test_the_mean_counts_every_sample_the_same():
    scores = [Score(sample, method, {'epe': Metric(value, 'px')}, 10 * value)
              for sample, method, value in (('a', 'x', 1.0), ('a', 'y', 5.0), ('b', 'x', 2.0),
                                            ('b', 'y', 7.0))]

    assert mean_scores(scores) == [Score('mean', 'x', {'epe': Metric(1.5, 'px')}, 15.0),
                                   Score('mean', 'y', {'epe': Metric(6.0, 'px')}, 60.0)]


def test_every_task_has_baselines_and_a_way_to_run_a_model():
    assert {task.kind for task in TASKS.values()} == set(BASELINES) == set(MODEL_ANSWERS)
    with pytest.raises(ConfigError, match="no baseline 'dis' for stereo; known: sgbm, sgbm-fill"):
        BaselineMethod('dis', 'stereo')


def test_a_stereo_model_gets_the_rig_of_the_sample_or_one_without_doffs(stereo_folder):
    disparity = np.full((40, 48), 10, np.float32)
    engine = Engine(disparity=disparity)
    method = ModelMethod('x', 'stereo', engine)

    scores = score_samples('stereo', find_samples('stereo', stereo_folder), [method])
    method.close()

    assert [row.metrics['epe'].value for row in scores] == [0, 10]
    assert engine.calls[0] == 'warm up' and engine.calls[-1] == 'close'
    made_up, given = (call[2] for call in engine.calls if isinstance(call, tuple))
    assert made_up.doffs == 0 and made_up.left.size_hw == (40, 48)
    camera = PinholeCamera(48, 40, 60, 60, 20, 19)
    assert given == StereoRig(camera, camera, 0.5)


def test_a_flow_model_sees_the_first_image_and_then_the_second(tmp_path):
    for image, value in (('frame1.png', 1), ('frame2.png', 2)):
        io.write_image(tmp_path / image, np.full((40, 48, 3), value, np.uint8))
    flow = np.zeros((40, 48, 2), np.float32)
    io.write_flo(tmp_path / 'flow_gt.flo', flow)
    engine = Engine(flow=flow)

    score_samples('flow', find_samples('flow', tmp_path), [ModelMethod('x', 'flow', engine)])

    assert engine.calls[:2] == ['warm up', 'reset']
    assert [call[:2] for call in engine.calls[2:]] == [(1, True), (2, True)]
    assert engine.calls[3][3] > engine.calls[2][3]   # later stamp


def test_the_error_of_the_surest_leaves_out_the_fifth_with_the_least_confidence(stereo_folder):
    truth = np.full((40, 48), 10, np.float32)
    answer = truth + np.arange(48, dtype=np.float32) / 4     # column by column worse
    confidence = np.broadcast_to(-np.arange(48, dtype=np.float32), (40, 48))

    class Sure(Answers):

        def answer(self, sample):
            return Answer(answer, 5.0, confidence)

    files = find_samples('stereo', stereo_folder / 'a')
    score, = score_samples('stereo', files, [Sure('sure', None)])

    assert score.metrics['epe'].value == pytest.approx(47 / 8)
    # 38 or 39 of the 48 columns stay
    assert score.metrics['epe_sure'].value == pytest.approx(38 / 8, abs=0.2)
    plain, = score_samples('stereo', files, [Answers('plain', answer)])
    assert np.isnan(plain.metrics['epe_sure'].value)
