# SPDX-License-Identifier: Apache-2.0
"""A smaller sample keeps its truth, its unknown pixels and its rig consistent."""
from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.errors import ConfigError, DatasetError
from crossview_ros.evaluation.scaling import scaled_flow, scaled_stereo
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import numpy as np
import pytest


def stereo_sample(disparity, rig=None):
    image = np.zeros((*disparity.shape, 3), np.uint8)
    image[:, ::2] = 100
    return StereoSample(image, image, disparity, rig, 'x')


def test_half_size_halves_disparities_and_averages_images():
    left, right = (PinholeCamera(80, 64, 90, 90, cx, 32) for cx in (40, 44))
    disparity = np.full((64, 80), 8, np.float32)

    half = scaled_stereo(stereo_sample(disparity, StereoRig(left, right, 0.3)), 0.5)

    assert half.left.shape == (32, 40, 3) and (half.left == 50).all()
    assert (half.disparity == 4).all() and half.disparity.dtype == np.float32
    assert (half.rig.left.fx, half.rig.doffs, half.rig.baseline) == (45, 2, 0.3)


def test_truth_is_picked_and_never_averaged_so_that_unknown_stays_unknown():
    disparity = np.full((64, 64), 10, np.float32)
    disparity[:, 32:] = 40
    disparity[:32] = np.nan

    half = scaled_stereo(stereo_sample(disparity), 0.5).disparity

    assert np.isnan(half[:16]).all()
    assert (half[16:, :16] == 5).all() and (half[16:, 16:] == 20).all()


def test_an_odd_side_scales_by_what_it_became():
    # 75 px at 0.5 become 38 (round half to even): disparities shrink by 38 / 75
    half = scaled_stereo(stereo_sample(np.full((64, 75), 10, np.float32)), 0.5)

    assert half.disparity.shape == (32, 38)
    np.testing.assert_allclose(half.disparity, 10 * 38 / 75, rtol=1e-6)


def test_flow_scales_each_component_by_its_own_side():
    image = np.zeros((65, 80, 3), np.uint8)
    flow = np.tile(np.array([8, 13], np.float32), (65, 80, 1))
    flow[0, 0] = np.nan

    half = scaled_flow(FlowSample(image, image, flow, 'x'), 0.5)

    assert half.flow.shape == (32, 40, 2)
    np.testing.assert_allclose(half.flow[5, 5], [4, 13 * 32 / 65], rtol=1e-6)


def test_scale_one_changes_nothing(rng):
    sample = stereo_sample(rng.uniform(1, 20, (40, 50)).astype(np.float32))

    same = scaled_stereo(sample, 1.0)

    np.testing.assert_array_equal(same.left, sample.left)
    np.testing.assert_array_equal(same.disparity, sample.disparity)


def test_scales_that_cannot_be_meant_are_refused():
    sample = stereo_sample(np.ones((64, 80), np.float32))
    for scale in (0, 1.5, float('nan')):
        with pytest.raises(ConfigError, match='above 0 and at most 1'):
            scaled_stereo(sample, scale)
    with pytest.raises(DatasetError, match="'x' would be 32 x 26 px at scale 0.4; expected"):
        scaled_stereo(sample, 0.4)
