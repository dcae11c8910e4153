# SPDX-License-Identifier: Apache-2.0
"""Where the images tell more than the network, the odometry sees it."""
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.corners import levelled
from crossview_ros.runtime.corner_sharpening import seen_corners, SHARP_PX, sharpened
from crossview_ros.runtime.odometry import SeenDepth
from crossview_ros.runtime.tracking import SeenView, Tracking
import numpy as np
import pytest

ROWS, COLS = 120, 160
CAMERA = PinholeCamera(COLS, ROWS, 130.0, 130.0, 79.5, 59.5)
RIG = StereoRig(CAMERA, CAMERA, 0.3)
DEPTH_M = 5.0
DISPARITY_PX = 130.0 * 0.3 / DEPTH_M
STEP_M = 0.1
FLOW_PX = -130.0 * STEP_M / DEPTH_M   # of a wall, for a step to the right
LATER_NS = 100_000_001


def wall(shift_px):
    """Return an image (H, W, 3) of a wall that is moved to the right [px]."""
    rng = np.random.default_rng(5)
    v, u = np.mgrid[:ROWS, :COLS].astype(np.float64)
    waves = sum(np.sin((u - shift_px) * a + v * b + c)
                for a, b, c in rng.uniform(-0.9, 0.9, (12, 3)))
    return np.repeat(np.uint8(np.round(120 + 15 * waves))[..., None], 3, 2)


def network_depth(share=1.06, sigma=0.06):
    """Return a depth that is wrong everywhere by one factor."""
    return SeenDepth(np.full((ROWS, COLS), share * DEPTH_M, np.float32),
                     np.full((ROWS, COLS), sigma, np.float32), CAMERA, 1)


def network_flow(error_px=0.4):
    flow = np.zeros((ROWS, COLS, 2), np.float32)
    flow[..., 0] = FLOW_PX + error_px
    return flow, np.full((ROWS, COLS), 0.4, np.float32)


def test_depth_of_corners_comes_from_the_pair():
    corners = seen_corners(wall(0), wall(-DISPARITY_PX), RIG, network_depth())
    assert len(corners.at) > 200
    # SHARP_PX of the disparity, by which depth errs in proportion
    assert corners.depth_sigma == pytest.approx(SHARP_PX / (RIG.left.fx * RIG.baseline
                                                            / corners.depth), rel=1e-5)
    assert np.sqrt(np.mean((corners.depth / DEPTH_M - 1) ** 2)) < SHARP_PX / DISPARITY_PX


def test_columns_of_the_principal_points_may_differ():
    right = PinholeCamera(COLS, ROWS, 130.0, 130.0, 82.5, 59.5)
    rig = StereoRig(CAMERA, right, 0.3)
    corners = seen_corners(wall(0), wall(-DISPARITY_PX + rig.doffs), rig, network_depth())
    assert np.median(corners.depth) == pytest.approx(DEPTH_M, rel=0.005)


def test_flow_is_sharper_at_corners_and_as_it_was_elsewhere():
    corners = seen_corners(wall(0), wall(-DISPARITY_PX), RIG, network_depth())
    flow, sigma = network_flow()
    seen, sharp, sharp_sigma = sharpened(corners, levelled(wall(FLOW_PX)), network_depth(), flow,
                                         sigma)
    at_corner = sharp_sigma < 0.4
    assert 200 < at_corner.sum() <= len(corners.at)
    assert (sharp_sigma[at_corner] == np.float32(SHARP_PX)).all()
    assert np.sqrt(((sharp - (FLOW_PX, 0))[at_corner] ** 2).mean()) < SHARP_PX
    assert np.array_equal(sharp[~at_corner], flow[~at_corner])
    assert np.median(seen.depth[at_corner]) == pytest.approx(DEPTH_M, rel=0.005)
    assert (seen.depth[~at_corner] == network_depth().depth[0, 0]).all()
    assert (flow == network_flow()[0]).all() and (sigma == 0.4).all()   # the caller's stay


def test_what_is_far_from_the_answer_of_a_sure_network_is_left_alone():
    corners = seen_corners(wall(0), wall(-DISPARITY_PX), RIG, network_depth())
    flow, sigma = network_flow(error_px=1.5)
    sigma[:] = 0.05
    _, sharp, _ = sharpened(corners, levelled(wall(FLOW_PX)), network_depth(), flow, sigma)
    assert np.array_equal(sharp, flow)


def test_one_camera_keeps_its_depth_and_gets_the_flow():
    corners = seen_corners(wall(0), None, CAMERA, network_depth())
    assert len(corners.at) > 200 and (corners.depth == np.float32(1.06 * DEPTH_M)).all()
    _, sharp, sigma = sharpened(corners, levelled(wall(FLOW_PX)), network_depth(),
                                *network_flow())
    assert np.median(sharp[sigma < 0.4][:, 0]) == pytest.approx(FLOW_PX, abs=0.02)


@pytest.mark.parametrize('seen', [None, SeenDepth(np.full((ROWS, COLS), 5.0, np.float32), None,
                                                  CAMERA, 1)])
def test_without_depth_or_its_doubt_there_are_no_corners(seen):
    assert len(seen_corners(wall(0), wall(-DISPARITY_PX), RIG, seen).at) == 0


def test_the_edge_of_what_an_image_shows_is_no_corner():
    left, visible = wall(0), np.ones((ROWS, COLS), bool)
    left[:, :60] = 0
    visible[:, :60] = False
    corners = seen_corners(left, wall(-DISPARITY_PX), RIG, network_depth(), visible)
    assert len(corners.at) > 50 and corners.at[:, 0].min() > 60 + 5


def test_the_odometry_gets_the_sharper_answer():
    def step_with(prepare):
        first, second = (prepare(SeenView(None, stamp, network_depth()), wall(shift),
                                 wall(shift - DISPARITY_PX))
                         for stamp, shift in ((1, 0.0), (LATER_NS, FLOW_PX)))
        tracking = Tracking()
        tracking.step(first, None, None, None)
        flow, sigma = network_flow()
        return tracking.step(second, first, (flow, np.log(sigma), None), None)['T_prev_cur']

    truth = np.eye(4)
    truth[0, 3] = STEP_M
    blurred = step_with(lambda view, left, right: view)
    sharp = step_with(lambda view, left, right: view.with_corners(left, right, RIG))
    # the network's flow is 0.4 px too short, its depth 6 % too far
    assert blurred[0, 3] == pytest.approx(1.06 * STEP_M * (1 + 0.4 / FLOW_PX), rel=1e-3)
    assert np.abs(sharp - truth).max() < 0.002
