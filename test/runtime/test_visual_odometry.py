# SPDX-License-Identifier: Apache-2.0
"""The path of a camera: exact on exact input, honest about doubt, silent when lost."""
from block_matching import make_manifest
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.relative_pose import PoseStatus, RelativePose
from crossview_ros.geometry.se3 import exp_se3, invert, log_se3, transform_points
from crossview_ros.runtime import odometry as odometry_module
from crossview_ros.runtime.manifest import OutputSpec
from crossview_ros.runtime.odometry import flow_sigma, seen_depth, SeenDepth, VisualOdometry
from crossview_ros.runtime.options import PerceptionOptions
from crossview_ros.runtime.perception import Perception
from crossview_ros.runtime.results import TrackingStatus
import numpy as np
import pytest

ROWS, COLS = 96, 128
CAMERA = PinholeCamera(COLS, ROWS, 110.0, 110.0, 63.5, 47.5)
RIG = StereoRig(CAMERA, CAMERA, 0.2)
EXACT = {'covariance_factor': 1.0, 'shared_error': 0.0}   # errors of frames are independent
STEP = exp_se3(np.array((0.01, 0.0, 0.08, 0.0, 0.02, 0.005)))
DT_NS = 100_000_000
PLAIN = np.full((8, 8), 4.0, np.float32)   # depth where it does not matter
FAR = np.full((8, 8, 2), 50.0, np.float32)   # a flow that makes every frame a keyframe


def depth_at(step=0):
    """Return a smooth depth image [m]; other frames see other depths."""
    v, u = np.mgrid[:ROWS, :COLS]
    return (5 + 1.5 * np.sin(u / 19 + step) * np.cos(v / 13)).astype(np.float32)


def flow_of(depth, T_prev_cur):
    """Return the exact flow of a rigid scene, float32."""
    v, u = np.mgrid[:ROWS, :COLS].astype(np.float64)
    points = np.stack(((u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy,
                       np.ones_like(u)), -1) * depth[..., None]
    x, y, z = np.moveaxis(transform_points(invert(T_prev_cur), points), -1, 0)
    return np.stack((CAMERA.fx * x / z + CAMERA.cx - u, CAMERA.fy * y / z + CAMERA.cy - v),
                    -1).astype(np.float32)


def step_once(odometry, number, T_prev_cur=STEP, lost=False, noise=None):
    """Track from frame ``number`` to the next."""
    depth = depth_at(number)
    flow = flow_of(depth, T_prev_cur)
    if lost:
        flow[:] = np.nan
    if noise is not None:
        flow += noise.normal(0, 0.4, flow.shape)
    seen = SeenDepth(depth, None, CAMERA, 1 + number * DT_NS)
    sigma = np.full(depth.shape, 0.4, np.float32)
    return odometry.track(seen, flow, sigma, 1 + (number + 1) * DT_NS)


def test_steps_add_up_to_the_path():
    odometry = VisualOdometry()
    first = odometry.begin(1)
    assert first.status is TrackingStatus.INITIALISING
    assert np.array_equal(first.T_odom_camera, np.eye(4)) and not first.covariance.any()
    for number in range(10):
        step = step_once(odometry, number)
    assert step.status is TrackingStatus.OK
    assert np.abs(step.T_prev_cur - STEP).max() < 1e-5
    assert np.abs(step.T_odom_camera - np.linalg.matrix_power(STEP, 10)).max() < 1e-4


def test_doubt_grows_along_the_path_and_is_a_covariance():
    odometry = VisualOdometry()
    odometry.begin(1)
    noise = np.random.default_rng(0)
    before = 0.0
    for number in range(8):
        covariance = step_once(odometry, number, noise=noise).covariance
        assert np.array_equal(covariance, covariance.T) or np.allclose(covariance, covariance.T)
        assert np.linalg.eigvalsh(covariance).min() > 0
        assert np.trace(covariance[:3, :3]) > before
        before = np.trace(covariance[:3, :3])


def test_the_covariance_of_the_path_tells_its_errors():
    """NEES of the end of 60 paths of 6 steps; the noise of the flow is independent here."""
    truth = np.linalg.matrix_power(STEP, 6)
    nees = []
    for seed in range(60):
        odometry = VisualOdometry(calibration_error=0.0, **EXACT)
        noise = np.random.default_rng(seed)
        odometry.begin(1)
        for number in range(6):
            step = step_once(odometry, number, noise=noise)
        error = log_se3(invert(step.T_odom_camera) @ truth)
        nees.append(error @ np.linalg.solve(step.covariance, error))
    assert abs(np.mean(nees) - 6) < 4 * np.sqrt(12 / 60)   # 4 standard errors


def test_covariances_of_large_steps_are_composed_in_the_axes_of_the_camera(monkeypatch):
    """Steps of metres and radians with known noise: 500 ends of paths fit the covariance."""
    step = exp_se3(np.array((1.0, 0.3, 2.0, 0.4, 0.9, -0.5)))
    sigma = np.array((0.02, 0.002, 0.005, 0.001, 0.003, 0.0005))
    rng, nees = np.random.default_rng(0), []

    def noisy_step(*_):
        return RelativePose(PoseStatus.OK, step @ exp_se3(sigma * rng.normal(size=6)),
                            np.diag(sigma ** 2), 100, 100)
    monkeypatch.setattr(odometry_module, 'estimate_relative_pose', noisy_step)
    truth = np.linalg.matrix_power(step, 5)
    for _ in range(500):
        odometry = VisualOdometry(calibration_error=0.0, **EXACT)
        odometry.begin(1)
        for number in range(5):
            seen = SeenDepth(PLAIN, None, CAMERA, 1 + number * DT_NS)
            end = odometry.track(seen, FAR, None, 1 + (number + 1) * DT_NS)
        error = log_se3(invert(end.T_odom_camera) @ truth)
        nees.append(error @ np.linalg.solve(end.covariance, error))
    assert abs(np.mean(nees) - 6) < 4 * np.sqrt(12 / 500)   # 4 standard errors


def test_errors_that_all_steps_share_grow_with_the_path_and_not_its_root(monkeypatch):
    """Depths that are all too large by one factor: 500 paths of 30 steps with their own factor."""
    step, share = exp_se3(np.array((0.0, 0.0, 0.5, 0.0, 0.0, 0.0))), 0.02
    rng, ends = np.random.default_rng(0), []
    for _ in range(500):
        wrong = exp_se3((1 + share * rng.normal()) * log_se3(step))
        answer = RelativePose(PoseStatus.OK, wrong, 1e-12 * np.eye(6), 100, 100)
        monkeypatch.setattr(odometry_module, 'estimate_relative_pose', lambda *_: answer)
        odometry = VisualOdometry(calibration_error=share, **EXACT)
        odometry.begin(1)
        for number in range(30):
            seen = SeenDepth(PLAIN, None, CAMERA, 1 + number * DT_NS)
            end = odometry.track(seen, FAR, None, 1 + (number + 1) * DT_NS)
        ends.append(end)
    sigma_m = np.sqrt([end.covariance[2, 2] for end in ends])
    errors = np.array([end.T_odom_camera[2, 3] - 15.0 for end in ends])
    assert np.std(errors / sigma_m) == pytest.approx(1.0, abs=4 / np.sqrt(2 * 500))
    assert sigma_m.mean() == pytest.approx(share * 15.0, rel=0.01)


def test_a_shift_leaves_doubt_about_the_turn_and_a_turn_about_the_place(monkeypatch):
    share, depth = 0.02, 5.0
    for twist in ((0.5, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0.1, 0)):
        answer = RelativePose(PoseStatus.OK, exp_se3(np.array(twist, float)), 1e-12 * np.eye(6))
        monkeypatch.setattr(odometry_module, 'estimate_relative_pose', lambda *_: answer)
        odometry = VisualOdometry(calibration_error=share, **EXACT)
        odometry.begin(1)
        seen = SeenDepth(np.full((8, 8), depth, np.float32), None, CAMERA, 1)
        sigma = np.sqrt(np.diag(odometry.track(seen, FAR, None, DT_NS).covariance_rel))
        # both move the picture of what is 5 m away by 0.1 rad
        assert sigma == pytest.approx(np.repeat((share * 0.5, share * 0.1), 3), rel=1e-3)


def test_the_doubt_of_the_network_becomes_standard_deviations(rng):
    scale, size = 0.5, (200, 200)
    log_scale = np.full(size, np.log(scale), np.float32)
    # the flow's scale is of the error's length, whose direction is any
    length, angle = rng.exponential(scale, size), rng.uniform(0, 2 * np.pi, size)
    assert flow_sigma(log_scale)[0, 0] == pytest.approx((length * np.cos(angle)).std(), rel=0.03)
    disparity = np.full(size, 20, np.float32)
    focal_m = RIG.left.fx * RIG.baseline
    depth = focal_m / (disparity + rng.laplace(0, scale, size))
    seen = seen_depth(focal_m / disparity, disparity, log_scale, RIG, 1)
    assert seen.depth_sigma[0, 0] == pytest.approx(np.log(depth).std(), rel=0.03)
    assert flow_sigma(None) is None
    assert seen_depth(depth, disparity, None, RIG, 1).depth_sigma is None


def test_a_jump_back_in_time_is_a_gap_with_doubt():
    odometry = VisualOdometry()
    odometry.begin(1)
    for number in range(4):
        good = step_once(odometry, number)
    assert odometry.begin(1 + 2 * DT_NS).status is TrackingStatus.LOST
    again = step_once(odometry, 2)
    # back to where it was two steps earlier, then one step on
    assert np.abs(again.T_odom_camera - np.linalg.matrix_power(STEP, 3)).max() < 1e-4
    assert (np.diag(again.covariance) > 0.9 * 0.2 ** 2 * np.repeat((1, 0.25), 3)).all()
    assert np.trace(good.covariance) < 0.1 * np.trace(again.covariance)


def test_lost_means_no_pose_and_the_path_goes_on_with_doubt():
    odometry = VisualOdometry()
    odometry.begin(1)
    for number in range(3):
        good = step_once(odometry, number)
    lost = step_once(odometry, 3, lost=True)
    assert lost.status is TrackingStatus.LOST and 'too few points' in lost.lost_reason
    assert lost.T_prev_cur is lost.T_odom_camera is lost.covariance is None
    again = step_once(odometry, 4)
    assert again.status is TrackingStatus.OK and again.gap_s == pytest.approx(0.1)
    # as if the velocity had stayed: five steps
    assert np.abs(again.T_odom_camera - np.linalg.matrix_power(STEP, 5)).max() < 1e-4
    sigma_m = np.sqrt(np.diag(again.covariance))[:3]
    assert (sigma_m > 0.09).all()   # 1 m/s over 0.1 s
    assert np.trace(good.covariance) < 0.1 * np.trace(again.covariance)


def track_from(odometry, reference, number, T_reference_cur, noise=None):
    """Compare a frame with an earlier one."""
    flow = flow_of(depth_at(reference), T_reference_cur)
    if noise is not None:
        flow = flow + noise.normal(0, 0.4, flow.shape).astype(np.float32)
    seen = SeenDepth(depth_at(reference), None, CAMERA, 1 + reference * DT_NS)
    sigma = np.full((ROWS, COLS), 0.4, np.float32)
    return odometry.track(seen, flow, sigma, 1 + number * DT_NS, 1 + (number - 1) * DT_NS)


def test_a_keyframe_stays_until_the_camera_has_moved_enough():
    odometry, small = VisualOdometry(), exp_se3(np.array((0.02, 0, 0.01, 0, 0, 0)))
    odometry.begin(1)
    moved = [np.median(np.linalg.norm(flow_of(depth_at(), np.linalg.matrix_power(small, n)),
                                      axis=2)) / COLS for n in range(1, 30)]
    last = int(np.argmax(np.array(moved) > odometry_module.KEYFRAME_SHARE)) + 1
    assert last > 2
    for number in range(1, last + 1):
        assert odometry.keyframe_ns == 1
        step = track_from(odometry, 0, number, np.linalg.matrix_power(small, number))
        assert np.abs(step.T_prev_cur - small).max() < 1e-4
    assert odometry.keyframe_ns == 1 + last * DT_NS
    assert np.abs(step.T_odom_camera - np.linalg.matrix_power(small, last)).max() < 1e-4


def test_doubt_does_not_grow_while_a_keyframe_stays():
    odometry, small = VisualOdometry(), exp_se3(np.array((0.005, 0, 0, 0, 0, 0)))
    odometry.begin(1)
    noise = np.random.default_rng(0)
    traces = [np.trace(track_from(odometry, 0, number, np.linalg.matrix_power(small, number),
                                  noise).covariance) for number in range(1, 8)]
    assert odometry.keyframe_ns == 1 and max(traces) < 2.5 * traces[0]   # not 7 times


def test_a_resting_camera_stays_where_it_is_and_says_its_doubt():
    odometry = VisualOdometry()
    odometry.begin(1)
    noise = np.random.default_rng(0)
    for number in range(1, 20):
        depth = depth_at()
        flow = noise.normal(0, 0.1, (*depth.shape, 2)).astype(np.float32)
        step = odometry.track(SeenDepth(depth, None, CAMERA, 1), flow,
                              np.full(depth.shape, 0.1, np.float32), 1 + number * DT_NS,
                              1 + (number - 1) * DT_NS)
        assert step.status is TrackingStatus.OK
        assert np.array_equal(step.T_odom_camera, np.eye(4))
        assert np.linalg.eigvalsh(step.covariance).min() > 0


def test_a_slow_motion_is_not_taken_for_rest_for_ever():
    odometry, creep = VisualOdometry(), exp_se3(np.array((0.001, 0, 0, 0, 0, 0)))
    odometry.begin(1)
    noise = np.random.default_rng(0)
    for number in range(1, 40):
        step = track_from(odometry, 0, number, np.linalg.matrix_power(creep, number), noise)
    assert step.T_odom_camera[0, 3] == pytest.approx(0.039, abs=0.004)


def test_after_a_blackout_the_keyframe_tells_where_the_camera_is():
    odometry, small = VisualOdometry(), exp_se3(np.array((0.02, 0, 0.01, 0, 0, 0)))
    odometry.begin(1)
    track_from(odometry, 0, 1, small)
    for number in (2, 3):
        assert step_once(odometry, number, lost=True).status is TrackingStatus.LOST
    again = track_from(odometry, 0, 4, np.linalg.matrix_power(small, 4))
    assert again.gap_s == 0
    assert np.abs(again.T_odom_camera - np.linalg.matrix_power(small, 4)).max() < 1e-4
    assert np.sqrt(np.diag(again.covariance)[:3]).max() < 0.01   # nothing was guessed of the pose
    # the last step is a third of what happened since, by nobody's eyes
    assert np.abs(log_se3(again.T_prev_cur) - log_se3(small)).max() < 1e-4
    assert np.sqrt(np.diag(again.covariance_rel)[:3]).min() > 0.09   # 1 m/s over 0.1 s


def test_rounding_errors_do_not_grow_from_frame_to_frame():
    odometry = VisualOdometry()
    odometry.begin(1)
    for number in range(60):
        step = step_once(odometry, number)
        for T in (step.T_prev_cur, step.T_odom_camera):
            assert np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() < 1e-13


def test_reset_begins_anew():
    odometry = VisualOdometry()
    odometry.begin(1)
    step_once(odometry, 0)
    odometry.reset()
    assert odometry.begin(1).status is TrackingStatus.INITIALISING
    assert np.abs(step_once(odometry, 0).T_odom_camera - STEP).max() < 1e-5


class ExactBackend:
    """Answers with the exact disparity and flow of a scene that the camera moves through."""

    name, device = 'exact', 'cpu'

    def __init__(self):
        self.number = -1
        self.fail = False
        self.noise_px = 0.0

    def run(self, graph, inputs):
        """Run 'encode', 'stereo' or 'flow'."""
        if graph == 'encode':
            return {'features': self.number + 1}   # the stereo head comes after
        if graph == 'stereo':
            self.number += 1
            value = RIG.left.fx * RIG.baseline / depth_at(self.number)[None, None]
            return {'disparity': value, 'log_scale': np.full_like(value, -2)}
        start, end = inputs['features1'], inputs['features2']
        flow = flow_of(depth_at(start), np.linalg.matrix_power(STEP, end - start))
        flow = flow.transpose(2, 0, 1)[None]
        flow = flow + np.random.default_rng(7).normal(
            0, self.noise_px, flow.shape).astype(np.float32)
        if self.fail:
            flow = np.full_like(flow, np.nan)
        return {'flow': flow, 'log_scale': np.full_like(flow[:, :1], -2)}

    def to_numpy(self, handle):
        """Return the array."""
        return handle

    def wait(self):
        """Have nothing to wait for."""

    def close(self):
        """Free nothing."""


@pytest.fixture
def engine():
    manifest = make_manifest(default_size_hw=(ROWS, COLS))
    backend = ExactBackend()
    return backend, lambda tasks=None, **options: Perception(backend, manifest, tasks,
                                                             PerceptionOptions(**options))


def drive(perception, stamps):
    """Process one black pair for each stamp."""
    black = np.zeros((ROWS, COLS, 3), np.uint8)
    return [perception.process(black, black, RIG, stamp) for stamp in stamps]


@pytest.mark.parametrize('tasks', [None, ['odometry']])
def test_perception_gives_the_path_of_the_camera(engine, tasks):
    _, make = engine
    perception = make(tasks)
    results = drive(perception, range(1, 6 * DT_NS, DT_NS))
    assert [r.status.value for r in results] == ['initialising'] + 5 * ['ok']
    assert np.abs(results[-1].T_prev_cur - STEP).max() < 1e-5
    assert np.abs(results[-1].T_odom_camera - np.linalg.matrix_power(STEP, 5)).max() < 1e-4
    assert results[-1].covariance_rel.shape == (6, 6) and results[-1].num_inliers > 100
    assert 'odometry' in results[-1].timing_ms


@pytest.mark.parametrize('refine', [True, False])
def test_the_flow_follows_depth_and_motion_where_wanted(engine, refine):
    backend, make = engine
    backend.noise_px = 0.05
    result = drive(make(refine_flow=refine), (1, DT_NS))[-1]
    error = np.abs(result.flow - flow_of(depth_at(0), STEP)).mean()
    noise = 0.05 * np.sqrt(2 / np.pi)   # mean of |normal|
    assert error < 0.3 * noise if refine else error == pytest.approx(noise, rel=0.02)


def test_perception_loses_and_finds_the_camera(engine):
    backend, make = engine
    perception = make()
    drive(perception, (1, DT_NS, 2 * DT_NS))
    backend.fail = True
    lost = drive(perception, (3 * DT_NS,))[0]
    assert lost.status is TrackingStatus.LOST and lost.lost_reason
    assert lost.T_odom_camera is None and lost.depth is not None
    backend.fail = False
    assert drive(perception, (4 * DT_NS,))[0].status is TrackingStatus.OK


def test_a_zero_stamp_gives_depth_and_no_odometry(engine):
    _, make = engine
    perception = make()
    results = drive(perception, (1, DT_NS, 0, 3 * DT_NS, 4 * DT_NS))
    assert [r.status.value for r in results] == ['initialising', 'ok', 'off', 'lost', 'ok']
    assert all(r.depth is not None for r in results)
    # the unseen two steps are bridged with the last velocity
    assert np.abs(results[-1].T_odom_camera
                  - np.linalg.matrix_power(STEP, 4)).max() < 1e-3


def test_reset_of_perception_is_a_new_origin(engine):
    _, make = engine
    perception = make()
    drive(perception, (1, DT_NS))
    perception.reset()
    result = drive(perception, (2 * DT_NS,))[0]
    assert result.status is TrackingStatus.INITIALISING
    assert np.array_equal(result.T_odom_camera, np.eye(4))


def test_one_camera_has_no_odometry(engine):
    _, make = engine
    perception = make()
    black = np.zeros((ROWS, COLS, 3), np.uint8)
    for stamp_ns in (1, 2):
        result = perception.process(black, None, CAMERA, stamp_ns)
    assert result.status is TrackingStatus.OFF and result.T_odom_camera is None


def test_odometry_needs_both_heads():
    from crossview_ros.errors import ConfigError
    manifest = make_manifest(tasks=['flow'], outputs={'flow': OutputSpec('px', 'laplace')})
    with pytest.raises(ConfigError, match='can run the tasks flow here; asked for odometry'):
        Perception(ExactBackend(), manifest, ['odometry'], PerceptionOptions())
