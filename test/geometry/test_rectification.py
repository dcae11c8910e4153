# SPDX-License-Identifier: Apache-2.0
"""Rectification puts each pixel where the formula of its distortion model says."""
from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.rectification import Rectifier
import numpy as np
import pytest

SIZE_HW = (60, 80)
K = np.array([[70.0, 0, 41.0], [0, 72.0, 29.0], [0, 0, 1]])
P = np.array([[65.0, 0, 39.5, -6.5], [0, 65.0, 30.5, 0], [0, 0, 1, 0]])
ANGLE = 0.03
R = np.array([[np.cos(ANGLE), 0, np.sin(ANGLE)], [0, 1, 0], [-np.sin(ANGLE), 0, np.cos(ANGLE)]])
RATIONAL = (0.1, -0.03, 0.001, -0.002, 0.01, 0.15, -0.02, 0.003)
THIN_PRISM = (0.004, -0.002, 0.003, 0.001)
MODELS = [
    ('plumb_bob', (-0.2, 0.05, 0.001, -0.002, 0.01)),
    ('rational_polynomial', RATIONAL),
    ('rational_polynomial', RATIONAL + THIN_PRISM),
    ('rational_polynomial', RATIONAL + THIN_PRISM + (0.02, -0.03)),
    ('equidistant', (0.02, -0.01, 0.004, -0.001))]


def distorted(model, d, x, y):
    """Distort normalised coordinates; written from the definitions, not from OpenCV's code."""
    r2 = x * x + y * y
    if model == 'equidistant':
        r = np.sqrt(r2)
        theta = np.arctan(r)
        bent = theta * (1 + d[0] * theta ** 2 + d[1] * theta ** 4 + d[2] * theta ** 6
                        + d[3] * theta ** 8)
        scale = np.where(r > 1e-12, bent / np.maximum(r, 1e-12), 1.0)
        return x * scale, y * scale
    k1, k2, p1, p2, k3 = d[:5]
    radial = 1 + k1 * r2 + k2 * r2 ** 2 + k3 * r2 ** 3
    if model == 'rational_polynomial':
        radial = radial / (1 + d[5] * r2 + d[6] * r2 ** 2 + d[7] * r2 ** 3)
    s1, s2, s3, s4, tilt_x, tilt_y = (*d[8:], *np.zeros(14 - max(8, len(d))))
    x, y = (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + s1 * r2 + s2 * r2 ** 2,
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + s3 * r2 + s4 * r2 ** 2)
    return tilted(x, y, tilt_x, tilt_y)


def tilted(x, y, about_x, about_y):
    """Project onto a tilted sensor, as the documentation of OpenCV's calib3d says."""
    cx, sx, cy, sy = np.cos(about_x), np.sin(about_x), np.cos(about_y), np.sin(about_y)
    r = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]]) \
        @ np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    onto = np.array([[r[2, 2], 0, -r[0, 2]], [0, r[2, 2], -r[1, 2]], [0, 0, 1]]) @ r
    u, v, w = np.tensordot(onto, np.stack((x, y, np.ones_like(x))), 1)
    return u / w, v / w


@pytest.mark.parametrize('model, d', MODELS)
def test_maps_follow_the_model(model, d):
    rectifier = Rectifier(K, d, R, P, model, SIZE_HW)
    v, u = np.mgrid[:SIZE_HW[0], :SIZE_HW[1]]
    rays = np.stack(((u - P[0, 2]) / P[0, 0], (v - P[1, 2]) / P[1, 1], np.ones(SIZE_HW)), -1)
    raw = rays @ R   # R^T ray: from the rectified frame back into the camera
    x, y = distorted(model, d, raw[..., 0] / raw[..., 2], raw[..., 1] / raw[..., 2])
    assert np.abs(rectifier.map_u - (K[0, 0] * x + K[0, 2])).max() < 1e-3
    assert np.abs(rectifier.map_v - (K[1, 1] * y + K[1, 2])).max() < 1e-3


@pytest.mark.parametrize('model, d', MODELS)
def test_a_point_of_the_world_is_found_at_its_raw_pixel(rng, model, d):
    points = rng.uniform((-0.4, -0.3, 1), (0.4, 0.3, 1), (200, 3)) * rng.uniform(0.5, 9, (200, 1))
    raw = np.stack(distorted(model, d, *(points[:, :2] / points[:, 2:]).T))
    raw = K[[0, 1], [0, 1], None] * raw + K[:2, 2:]
    rectified = (P @ np.vstack((R @ points.T, np.zeros(200))))   # the baseline belongs to TF
    u, v = rectified[:2] / rectified[2]
    rectifier = Rectifier(K, d, R, P, model, SIZE_HW)
    for map_, truth in zip((rectifier.map_u, rectifier.map_v), raw):
        assert np.abs(bilinear(map_, u, v) - truth).max() < 3e-3   # the maps bend within a pixel


def bilinear(values, u, v):
    """Return the values at places between pixels."""
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    a, b = u - column, v - row
    return ((1 - b) * ((1 - a) * values[row, column] + a * values[row, column + 1])
            + b * ((1 - a) * values[row + 1, column] + a * values[row + 1, column + 1]))


@pytest.mark.parametrize('model, d', [('plumb_bob', (-0.4, 0.1, 0, 0, 0)),
                                      ('equidistant', (0.02, -0.01, 0.004, -0.001))])
def test_a_bent_line_becomes_straight(model, d):
    size_hw = 120, 160
    k = np.array([[130.0, 0, 80], [0, 130, 60], [0, 0, 1]])
    x = np.linspace(-1, 1, 4001)
    u, v = distorted(model, d, x, np.full_like(x, -0.3))   # a straight line of the world
    line = np.interp(np.arange(160), 130 * u + 80, 130 * v + 60)
    profile = np.exp(-(np.arange(120)[:, None] - line) ** 2 / 4)
    image = np.repeat(np.rint(255 * profile)[..., None], 3, axis=2).astype(np.uint8)
    rows = line_rows(Rectifier(k, d, np.eye(3), k, model, size_hw)(image))
    assert np.ptp(line_rows(image)) > 2
    assert np.abs(rows - (60 - 0.3 * 130)).max() < 0.1


def line_rows(image):
    """Return where a bright line is in each column [px], away from the borders."""
    weights = image[:, 20:140, 0].astype(float)
    return (weights * np.arange(len(image))[:, None]).sum(axis=0) / weights.sum(axis=0)


@pytest.mark.parametrize('model', [*dict(MODELS), '', 'something else'])
def test_without_distortion_and_rotation_nothing_changes(rng, model):
    image = rng.integers(0, 256, (*SIZE_HW, 3), np.uint8)
    rectifier = Rectifier(K, np.zeros(5), np.eye(3), K, model, SIZE_HW)
    # borders may lose a ray to rounding
    assert np.array_equal(rectifier(image)[1:-1, 1:-1], image[1:-1, 1:-1])


@pytest.mark.parametrize('changes, message', [
    ({'distortion_model': 'barrel'}, "'barrel' is unknown; known are plumb_bob, rational_poly"),
    ({'d': (0.1, 0.2)}, 'plumb_bob has 4 or 5 coefficients, got 2'),
    ({'k': np.zeros((3, 3))}, 'not calibrated'),
    ({'p': np.full((3, 4), np.nan)}, 'finite'),
    ({'r': np.ones((3, 3))}, 'no rotation matrix')])
def test_calibrations_that_cannot_be_meant_are_refused(changes, message):
    values = {'k': K, 'd': (-0.2, 0.05, 0, 0, 0), 'r': R, 'p': P,
              'distortion_model': 'plumb_bob', **changes}
    with pytest.raises(CalibrationError, match=message):
        Rectifier(**values, size_hw=SIZE_HW)


def test_an_image_of_another_size_is_refused():
    rectifier = Rectifier(K, (), np.eye(3), K, 'plumb_bob', SIZE_HW)
    with pytest.raises(CalibrationError, match='image is 10x20 px, but the camera is 80x60'):
        rectifier(np.zeros((20, 10, 3), np.uint8))
