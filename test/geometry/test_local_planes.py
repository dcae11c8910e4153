# SPDX-License-Identifier: Apache-2.0
"""Inverse depth between sparse points: exact on planes, sharp at edges, deaf to outliers."""
from crossview_ros.geometry.local_planes import fit_inverse_depth, nearest_points
import numpy as np

HEIGHT, WIDTH = 96, 160
V, U = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
GREY = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


def ring_pixels(step_v=12, step_u=3, first_v=4):
    """Return pixels (N, 2) on rows far apart, as the rings of a LiDAR draw them."""
    v, u = np.mgrid[first_v:HEIGHT:step_v, 1:WIDTH:step_u]
    return np.stack((u.ravel(), v.ravel()), axis=1).astype(np.float64)


def at(image, uv):
    return image[uv[:, 1].astype(int), uv[:, 0].astype(int)]


def test_a_tilted_plane_is_exact_between_the_rings():
    inverse_depth = 0.02 + 0.0002 * U + 0.001 * V   # a plane seen by a pinhole camera
    uv = ring_pixels()
    field = fit_inverse_depth(uv, at(inverse_depth, uv), GREY)
    inside = (slice(4, 89), slice(1, 158))
    relative = np.abs(field.inverse_depth / inverse_depth - 1)[inside]
    # not 0: the ridge that keeps planes level leaves so much
    assert relative.max() < 0.01
    assert field.spread[inside].max() < 0.01
    middle = slice(9, 11)   # halfway between two rings, where depth bends most
    linear_in_depth = (1 / inverse_depth[4, 80] + 1 / inverse_depth[16, 80]) / 2
    assert abs(linear_in_depth * inverse_depth[10, 80] - 1) > 4 * relative[middle, 79].max()


def test_an_edge_between_two_surfaces_follows_the_colours():
    # a near box whose slanted border only the image shows between the rings
    border = 60 + 20 * np.sin(V / 10)
    box = U < border
    image = np.where(box[..., None], (200, 40, 40), (40, 60, 200)).astype(np.uint8)
    inverse_depth = np.where(box, 1 / 5.0, 1 / 20.0)
    uv = ring_pixels(step_v=16)

    def share_on_wrong_side(picture):
        field = fit_inverse_depth(uv, at(inverse_depth, uv), picture)
        wrong = (field.inverse_depth > 0.1) != box
        return wrong[4:84].mean()

    guided = share_on_wrong_side(image)
    assert guided < 0.015
    assert guided < share_on_wrong_side(GREY)


def test_two_surfaces_are_not_blended_far_from_their_edge():
    inverse_depth = np.where(U < 80, 1 / 5.0, 1 / 20.0)
    image = np.where((U < 80)[..., None], 220, 30).repeat(3, axis=2).astype(np.uint8)
    uv = ring_pixels()
    field = fit_inverse_depth(uv, at(inverse_depth, uv), image)
    away = (np.abs(U - 80) > 6) & (V >= 4) & (V < 89)
    assert np.abs(field.inverse_depth / inverse_depth - 1)[away].max() < 0.02


def test_the_shape_of_a_true_guide_shows_between_the_rings():
    wave = 0.1 + 0.03 * np.sin(V / 5)   # more than a line between rows 12 px apart
    uv = ring_pixels()
    measured = at(wave, uv)
    alone = fit_inverse_depth(uv, measured, GREY).inverse_depth
    guided = fit_inverse_depth(uv, measured, GREY, (0.5 * wave).astype(np.float32) + 0.01)
    inside = (slice(4, 89), slice(1, 158))

    def error(field):
        return np.abs(field - wave)[inside].mean()

    assert error(guided.inverse_depth) < 0.8 * error(alone)


def test_a_guide_of_noise_does_little_harm():
    inverse_depth = 0.02 + 0.001 * V
    noise = np.random.default_rng(0).uniform(0.01, 0.2, (HEIGHT, WIDTH)).astype(np.float32)
    uv = ring_pixels()
    field = fit_inverse_depth(uv, at(inverse_depth, uv), GREY, noise).inverse_depth
    assert np.abs(field / inverse_depth - 1)[4:89].mean() < 0.02


def test_one_point_is_enough():
    field = fit_inverse_depth(np.array([[80.0, 40.0]]), np.array([0.1]), GREY)
    np.testing.assert_allclose(field.inverse_depth, 0.1, rtol=1e-3)
    assert field.distance_px[40, 80] < 3 < field.distance_px[90, 10]


def test_nearest_points_are_those_of_a_full_search():
    rng = np.random.default_rng(1)
    points, queries = rng.random((200, 2)), rng.random((50, 2))
    _, squared = nearest_points(points, queries, 7)
    every = ((points[None].astype(np.float32) - queries[:, None].astype(np.float32)) ** 2).sum(2)
    np.testing.assert_allclose(squared, np.sort(every, axis=1)[:, :7], rtol=1e-4, atol=1e-7)


def test_fewer_points_than_asked_for_are_all_returned():
    index, squared = nearest_points(np.zeros((2, 2)), np.ones((3, 2)), 5)
    assert index.shape == squared.shape == (3, 2)
