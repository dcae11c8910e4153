# SPDX-License-Identifier: Apache-2.0
"""Perception sharpens what the network says of smaller images, where it is told to."""
from block_matching import BlockMatcher, make_manifest, make_rig, shifted_pair
from crossview_ros.errors import ConfigError
from crossview_ros.runtime.options import PerceptionOptions
from crossview_ros.runtime.perception import Perception
from crossview_ros.runtime.tracking import Tracking
import numpy as np
import pytest

SIZE_HW = (160, 240)   # 64 x 96 for the network: its whole pixels are 2.5 of these
DISPARITY, MOTION = 9, 4


def drive(doffs=0.0, views=2, tasks=('stereo', 'flow'), manifest=(), **options):
    """Return the answers for two frames; the camera goes sideways along a wall."""
    perception = Perception(BlockMatcher(), make_manifest(**dict(manifest)), list(tasks),
                            PerceptionOptions(refine_flow=False, **options))
    left, right = shifted_pair(SIZE_HW, DISPARITY, 3.0)
    rig = make_rig(SIZE_HW, doffs)
    for step in range(2):
        pair = [np.roll(image, -MOTION * step, 1) for image in (left, right)]
        result = perception.process(pair[0], pair[1] if views == 2 else None,
                                    rig if views == 2 else rig.left, step + 1)
    return result


def error(answer, truth):
    """Return the mean distance, without a border in which matches leave the image."""
    return np.abs(answer - truth)[24:-24, 60:-60].mean()


@pytest.mark.parametrize('doffs', [0.0, 4.0, -5.0])
def test_disparity_and_flow_of_a_wall_become_sharp(doffs):
    rough, sharp = drive(doffs, sharpen='off'), drive(doffs, sharpen='on')
    assert error(rough.disparity, DISPARITY) > 0.4 and error(sharp.disparity, DISPARITY) < 0.1
    truth = np.float32((-MOTION, 0))
    assert error(rough.flow, truth) > 0.1 and error(sharp.flow, truth) < 0.02
    np.testing.assert_array_equal(sharp.confidence, rough.confidence)
    inner = slice(24, -24), slice(60, -60)
    np.testing.assert_allclose(sharp.depth[inner], 20 / (sharp.disparity + doffs)[inner], 1e-5)


def test_one_camera_has_its_flow_sharpened():
    result = drive(views=1, tasks=['flow'], sharpen='on')
    assert result.disparity is None and error(result.flow, np.float32((-MOTION, 0))) < 0.02


def test_the_odometry_takes_the_flow_of_the_network(monkeypatch):
    taken = []
    step = Tracking.step

    def remember(tracking, frame, previous, flow, flow_from):
        taken.append(flow)
        return step(tracking, frame, previous, flow, flow_from)
    monkeypatch.setattr(Tracking, 'step', remember)
    for how in ('off', 'on'):
        published = drive(tasks=['stereo', 'flow', 'odometry'], sharpen=how).flow
    assert taken[0] is None and taken[2] is None   # first frames
    np.testing.assert_array_equal(taken[1][0], taken[3][0])
    assert np.abs(published - taken[3][0]).mean() > 0.1


def test_the_model_decides_unless_it_is_said():
    plain, sharp = drive(sharpen='off'), drive(sharpen='on')
    for sharpened, options in ((False, {}), (True, {'manifest': {'sharpen': True}})):
        expected = sharp if sharpened else plain
        result = drive(**options)
        np.testing.assert_array_equal(result.disparity, expected.disparity)
        np.testing.assert_array_equal(result.flow, expected.flow)
        assert ('sharpen' in result.timing_ms) == sharpened
    off = drive(sharpen='off', manifest={'sharpen': True})
    np.testing.assert_array_equal(off.disparity, plain.disparity)


def test_images_that_are_not_contiguous_are_welcome():
    left, right = shifted_pair(SIZE_HW, DISPARITY, 3.0)
    mirrored = [np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1] for image in (left, right)]
    answers = [Perception(BlockMatcher(), make_manifest(), ['stereo'], PerceptionOptions(
        sharpen='on')).process(*pair, make_rig(SIZE_HW), 1).depth
        for pair in ((left, right), mirrored)]
    np.testing.assert_array_equal(*answers)


def test_another_word_is_refused():
    with pytest.raises(ConfigError, match="sharpen must be one of auto, on, off, got 'yes'"):
        PerceptionOptions(sharpen='yes')
