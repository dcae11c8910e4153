# SPDX-License-Identifier: Apache-2.0
"""Motion of the base from that of the camera, against finite differences and sampling."""
from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.base_motion import base_motion
from crossview_ros.geometry.se3 import exp_se3, invert, log_se3
import numpy as np
import pytest

T_BASE_CAMERA = exp_se3([0.3, -0.2, 1.1, 0.4, -1.2, 0.7])
T_START_CAMERA = exp_se3([4.0, 1.0, -2.0, 0.5, 0.2, -1.0])
STEP = exp_se3([0.02, 0.01, 0.1, 0.01, -0.03, 0.02])
DT_S = 0.1


def covariance(rng, scale):
    """Return a random (6, 6) covariance."""
    root = rng.normal(0, scale, (6, 6))
    return root @ root.T


def motion(pose_covariance=np.eye(6), covariance_rel=np.eye(6)):
    """Return the motion of the base for the constants above."""
    return base_motion(T_START_CAMERA, pose_covariance, STEP, covariance_rel, DT_S, T_BASE_CAMERA)


def test_odom_is_where_the_base_began():
    still = base_motion(np.eye(4), np.eye(6), np.eye(4), np.eye(6), DT_S, T_BASE_CAMERA)
    np.testing.assert_allclose(still.T_odom_base, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(still.twist, 0, atol=1e-12)


def test_a_point_of_the_camera_is_the_same_by_both_ways():
    # odom and base coincide at the start, where the camera's frame is T_BASE_CAMERA in odom
    point = np.array([0.5, -0.3, 2.0, 1.0])
    by_base = motion().T_odom_base @ T_BASE_CAMERA @ point
    np.testing.assert_allclose(by_base, T_BASE_CAMERA @ T_START_CAMERA @ point, atol=1e-12)


def test_the_twist_carries_the_base_over_the_step():
    T_prev_cur = T_BASE_CAMERA @ STEP @ invert(T_BASE_CAMERA)
    np.testing.assert_allclose(exp_se3(motion().twist * DT_S), T_prev_cur, atol=1e-12)


def test_the_pose_covariance_is_that_of_samples_about_the_fixed_axes(rng):
    given = covariance(rng, 1e-4)
    found = motion(pose_covariance=given)
    rotation, errors = found.T_odom_base[:3, :3], []
    for noise in rng.multivariate_normal(np.zeros(6), given, 20000):
        T = T_BASE_CAMERA @ T_START_CAMERA @ exp_se3(noise) @ invert(T_BASE_CAMERA)
        turned = np.eye(4)
        turned[:3, :3] = T[:3, :3] @ rotation.T
        errors.append(np.concatenate((T[:3, 3] - found.T_odom_base[:3, 3],
                                      log_se3(turned)[3:])))
    sampled = np.cov(np.transpose(errors))
    # 20000 samples: 1 % of a variance, at 4 sigma
    np.testing.assert_allclose(sampled, found.covariance,
                               atol=0.04 * np.diagonal(sampled).max())


def test_the_twist_covariance_is_that_of_samples(rng):
    given = covariance(rng, 1e-4)
    found = motion(covariance_rel=given)
    twists = [motion_of(STEP @ exp_se3(noise))
              for noise in rng.multivariate_normal(np.zeros(6), given, 20000)]
    sampled = np.cov(np.transpose(twists))
    # the step itself turns the noise by its small rotation: 5 %
    np.testing.assert_allclose(sampled, found.twist_covariance,
                               atol=0.06 * np.diagonal(sampled).max())


def motion_of(step):
    """Return the twist of the base for a step of the camera."""
    return log_se3(T_BASE_CAMERA @ step @ invert(T_BASE_CAMERA)) / DT_S


def test_covariances_are_symmetric_to_the_last_bit(rng):
    found = motion(covariance(rng, 1.0), covariance(rng, 1.0))
    for matrix in (found.covariance, found.twist_covariance):
        assert (matrix == matrix.T).all()


@pytest.mark.parametrize('dt_s', [0.0, -0.1, float('nan')])
def test_a_step_without_a_duration_is_refused(dt_s):
    with pytest.raises(CalibrationError, match='duration greater than 0 s'):
        base_motion(np.eye(4), np.eye(6), np.eye(4), np.eye(6), dt_s, np.eye(4))
