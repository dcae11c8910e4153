# SPDX-License-Identifier: Apache-2.0
"""Baselines find what they should, and have the reference levels of the shared data."""
from crossview_ros.data.folders import find_samples, read_flow_sample, read_stereo_sample
from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.evaluation.baselines import BASELINES
from crossview_ros.metrics.flow import flow_metrics
import numpy as np
import pytest


@pytest.fixture
def texture(rng):
    return rng.integers(0, 256, (64, 160, 3), dtype=np.uint8)


def test_sgbm_finds_a_known_disparity_up_to_the_left_border(texture):
    disparity = np.full((64, 160), 6, np.float32)
    found = BASELINES['stereo']['sgbm'](
        StereoSample(texture, np.roll(texture, -6, axis=1), disparity))

    assert found.shape == (64, 160) and found.dtype == np.float32
    assert np.isfinite(found[:, 20:-10]).mean() > 0.95
    assert np.nanmax(np.abs(found[:, 20:-10] - 6)) <= 0.5   # SGBM's step is 1/16 px


def test_holes_get_the_smaller_of_the_two_neighbours_in_the_row(texture, monkeypatch):
    nan = np.nan
    holes = np.array([[nan, 4, nan, nan, 9, nan], [nan] * 6, [1, nan, 7, nan, 2, 3]], np.float32)
    monkeypatch.setattr('crossview_ros.evaluation.baselines.sgbm', lambda sample: holes)

    filled = BASELINES['stereo']['sgbm-filled'](
        StereoSample(texture, texture, np.ones((64, 160), np.float32)))

    np.testing.assert_array_equal(
        filled, [[4, 4, 4, 4, 9, 9], [nan] * 6, [1, 1, 7, 2, 2, 3]])


def test_the_constant_is_the_median_of_the_truth(texture):
    disparity = np.full((64, 160), np.nan, np.float32)
    disparity[0, :3] = 1, 5, 90
    found = BASELINES['stereo']['constant'](StereoSample(texture, texture, disparity))

    assert found.shape == (64, 160) and (found == 5).all()


def test_dis_finds_a_known_motion_and_zero_stays_zero(texture):
    import cv2
    image1 = cv2.GaussianBlur(texture, (0, 0), 2)
    image1 = cv2.normalize(image1, None, 0, 255, cv2.NORM_MINMAX)
    sample = FlowSample(image1, np.roll(image1, (1, 3), (0, 1)),
                        np.tile(np.array([3, 1], np.float32), (64, 160, 1)))

    found = BASELINES['flow']['dis'](sample)

    assert found.dtype == np.float32
    assert np.median(np.abs(found - sample.flow)[10:-10, 10:-10]) < 0.2
    assert not BASELINES['flow']['zero'](sample).any()


# EPE over the pixels that SGBM answers, from the README of the shared data, whose parameters are
# not known in full: 10 % covers the choice of penalties and filters
@pytest.mark.parametrize('name, epe_px', [('cloth3', 0.34), ('kitti00_000000', 1.897),
                                          ('motorcycle', 0.943), ('teddy', 0.655)])
def test_sgbm_has_the_reference_level_on_real_pairs(shared_dir, name, epe_px):
    sample = read_stereo_sample(*find_samples('stereo', shared_dir / 'data' / 'stereo' / name))

    error = np.abs(BASELINES['stereo']['sgbm'](sample) - sample.disparity)

    assert np.nanmean(error) == pytest.approx(epe_px, rel=0.1)


def test_dis_and_zero_have_the_reference_level_on_a_real_pair(shared_dir):
    sample = read_flow_sample(*find_samples('flow', shared_dir / 'data' / 'flow' / 'rubberwhale'))
    epe_px = {name: flow_metrics(baseline(sample), sample.flow)['epe'].value
              for name, baseline in BASELINES['flow'].items()}

    assert epe_px['zero'] == pytest.approx(1.26, abs=0.005)   # rounded in the README
    assert epe_px['dis'] == pytest.approx(0.225, rel=0.1)     # varies with OpenCV's version
