# SPDX-License-Identifier: Apache-2.0
"""Identities of rigid transforms, twists and quaternions."""
from crossview_ros.errors import CalibrationError
from crossview_ros.geometry import se3
import numpy as np
import pytest

HALF = np.sqrt(0.5)


def matrix_exponential(matrix, terms=60):
    """Sum the power series: a slow oracle."""
    total, term = np.eye(len(matrix)), np.eye(len(matrix))
    for n in range(1, terms):
        term = term @ matrix / n
        total = total + term
    return total


def twist_matrix(twist):
    x, y, z, rx, ry, rz = twist
    return np.array([[0, -rz, ry, x], [rz, 0, -rx, y], [-ry, rx, 0, z], [0, 0, 0, 0]])


def random_twist(rng, angle):
    axis = rng.normal(size=3)
    return np.concatenate((rng.uniform(-5, 5, 3), angle * axis / np.linalg.norm(axis)))


@pytest.fixture
def transforms(rng):
    """Return 20 transforms with rotations of all sizes."""
    return [se3.exp_se3(random_twist(rng, angle)) for angle in np.linspace(0, np.pi, 20)]


def test_inverse_times_transform_is_identity(transforms):
    for T in transforms:
        np.testing.assert_allclose(se3.invert(T) @ T, np.eye(4), atol=1e-13)
        np.testing.assert_allclose(T @ se3.invert(T), np.eye(4), atol=1e-13)


def test_a_stack_is_inverted_one_by_one(transforms):
    stack = np.stack(transforms).reshape(4, 5, 4, 4)
    np.testing.assert_array_equal(se3.invert(stack)[2, 3], se3.invert(stack[2, 3]))


def test_composition_is_the_product_in_order(transforms):
    a, b, c = transforms[3:6]
    np.testing.assert_allclose(se3.compose(a, b, c), a @ b @ c, atol=1e-13)
    np.testing.assert_array_equal(se3.compose(), np.eye(4))


def test_points_are_rotated_then_moved():
    # a quarter turn about z takes x to y
    T = se3.make_transform([[0, -1, 0], [1, 0, 0], [0, 0, 1]], (10, 20, 30))
    np.testing.assert_allclose(se3.transform_points(T, [[1, 2, 3]]), [[8, 21, 33]])


def test_points_of_any_shape_keep_it_and_nan_stays_nan(transforms, rng):
    points = rng.normal(size=(3, 4, 3))
    points[1, 2] = np.nan
    moved = se3.transform_points(transforms[7], points)
    expected = transforms[7][:3, :3] @ points[0, 1] + transforms[7][:3, 3]
    np.testing.assert_allclose(moved[0, 1], expected)
    assert np.isnan(moved[1, 2]).all() and np.isfinite(moved).sum() == 33


@pytest.mark.parametrize('angle', [0, 1e-12, 1e-8, 1e-5, 0.99e-4, 1.01e-4, 0.1, 1.0, 3.0, 3.14159])
def test_exponential_is_the_power_series_and_logarithm_inverts_it(rng, angle):
    twist = random_twist(rng, angle)
    T = se3.exp_se3(twist)
    np.testing.assert_allclose(T, matrix_exponential(twist_matrix(twist)), atol=1e-12)
    np.testing.assert_allclose(se3.log_se3(T), twist, atol=1e-9)


@pytest.mark.parametrize('axis', np.eye(3))
def test_half_turn_has_a_logarithm(axis):
    T = se3.exp_se3(np.concatenate(((1, 2, 3), np.pi * axis)))
    twist = se3.log_se3(T)
    assert np.linalg.norm(twist[3:]) == pytest.approx(np.pi)
    np.testing.assert_allclose(se3.exp_se3(twist), T, atol=1e-12)


def test_twist_order_is_translation_then_rotation():
    np.testing.assert_allclose(se3.exp_se3([1, 2, 3, 0, 0, 0])[:3, 3], (1, 2, 3))
    rotation = se3.exp_se3([0, 0, 0, 0, 0, np.pi / 2])[:3, :3]
    np.testing.assert_allclose(rotation @ (1, 0, 0), (0, 1, 0), atol=1e-15)


def test_adjoint_moves_a_twist_to_the_other_frame(transforms, rng):
    T = transforms[11]
    twist = random_twist(rng, 0.7)
    np.testing.assert_allclose(se3.exp_se3(se3.adjoint(T) @ twist),
                               T @ se3.exp_se3(twist) @ se3.invert(T), atol=1e-12)


@pytest.mark.parametrize('quat_xyzw, turned_x', [
    ((0, 0, 0, 1), (1, 0, 0)),
    ((0, 0, HALF, HALF), (0, 1, 0)),     # quarter turn about z
    ((0, HALF, 0, HALF), (0, 0, -1)),    # quarter turn about y
    ((0, 0, 1, 0), (-1, 0, 0)),          # half turn about z
])
def test_quaternions_are_in_the_order_x_y_z_w(quat_xyzw, turned_x):
    rotation = se3.rotation_from_quat_xyzw(np.array(quat_xyzw))
    np.testing.assert_allclose(rotation[:, 0], turned_x, atol=1e-15)
    np.testing.assert_allclose(se3.quat_xyzw_from_rotation(rotation), quat_xyzw, atol=1e-15)


def test_body_from_optical_is_the_quaternion_of_rep_103():
    rotation = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    np.testing.assert_allclose(se3.quat_xyzw_from_rotation(rotation), (-0.5, 0.5, -0.5, 0.5))


def test_quaternion_round_trip_keeps_every_rotation(transforms):
    for T in transforms:
        quat_xyzw = se3.quat_xyzw_from_rotation(T[:3, :3])
        assert np.linalg.norm(quat_xyzw) == pytest.approx(1, abs=1e-14) and quat_xyzw[3] >= 0
        np.testing.assert_allclose(se3.rotation_from_quat_xyzw(7 * quat_xyzw), T[:3, :3],
                                   atol=1e-13)


@pytest.mark.parametrize('quat_xyzw', [(0, 0, 0, 0), (0, np.nan, 0, 1), (np.inf, 0, 0, 1)])
def test_a_quaternion_without_direction_is_refused(quat_xyzw):
    with pytest.raises(CalibrationError, match='is no rotation; it must have length 1'):
        se3.rotation_from_quat_xyzw(np.array(quat_xyzw))
