# SPDX-License-Identifier: Apache-2.0
"""Co-visibility and parallax of two views of a wall, where both follow by counting."""
import math

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.se3 import exp_se3, make_transform
from crossview_ros.replay.covisibility import (
    DepthView, find_corners, overlap_by_depth, overlap_by_matches)
import cv2
import numpy as np
import pytest
from wall_bag import CAMERA, DEPTH, FX, HEIGHT, METRES_PER_PIXEL, wall, WIDTH

CELL_SHARE = 1 / 12   # matching sees overlap in cells of a twelfth of the width


def moved(x):
    """Return the pose of a camera that has gone to the right [m]."""
    return make_transform(np.eye(3), (x, 0, 0))


def wall_view(x, distance_m=DEPTH, size=(80, 60)):
    """Return the depth of a wall seen from x."""
    camera = CAMERA.scaled(*size)
    return DepthView(np.full(size[::-1], distance_m, np.float32), camera, moved(x))


@pytest.mark.parametrize('columns', [8, 20, 60, 80])
def test_covisibility_by_depth_is_the_share_of_the_wall_that_both_see(columns):
    shift_m = columns / 80 * WIDTH * METRES_PER_PIXEL
    overlap = overlap_by_depth(wall_view(0), wall_view(shift_m))
    assert overlap.covisibility == pytest.approx(1 - columns / 80, abs=1 / 80)   # one column


def test_parallax_is_the_angle_between_the_lines_of_sight():
    # a small image in front of the middle between the two places: half the shift to each side
    camera = PinholeCamera(9, 9, 1000.0, 1000.0, 4.0, 4.0)
    views = [DepthView(np.full((9, 9), 2.0, np.float32), camera, exp_se3(np.array(
        [x, 0, 0, 0, -math.atan2(x, 2.0), 0]))) for x in (-0.1, 0.1)]
    overlap = overlap_by_depth(*views)
    # the points of both at depth 2 of tilted cameras lie within 1 % of the point in the middle
    assert overlap.parallax_deg == pytest.approx(2 * math.degrees(math.atan(0.05)), rel=0.02)


def test_a_point_behind_something_nearer_is_not_covisible():
    overlap = overlap_by_depth(wall_view(0), wall_view(0.0, distance_m=DEPTH / 2))
    assert overlap.covisibility == 0


def test_views_without_depth_share_nothing():
    overlap = overlap_by_depth(wall_view(0), wall_view(0, distance_m=np.nan))
    assert overlap.covisibility == 0
    assert overlap.parallax_deg == 0   # the points of the first lie in the other as well


@pytest.mark.parametrize('shift', [20, 80, 160])
def test_covisibility_by_matches_is_the_share_of_the_wall_that_both_see(shift):
    picture = cv2.cvtColor(wall(WIDTH + shift), cv2.COLOR_RGB2GRAY)
    a, b = (find_corners(picture[:, x:x + WIDTH], CAMERA) for x in (0, shift))
    overlap = overlap_by_matches(a, b, moved(-shift * METRES_PER_PIXEL), exact=True)
    assert overlap.covisibility == pytest.approx(1 - shift / WIDTH, abs=1.5 * CELL_SHARE)
    # largest for a point in the middle between the places; at the edges of the images less
    largest = 2 * math.degrees(math.atan(shift / 2 / FX))
    assert 0.75 * largest < overlap.parallax_deg <= largest + 0.01


def test_a_turn_alone_is_no_parallax():
    picture = cv2.cvtColor(wall(WIDTH), cv2.COLOR_RGB2GRAY)
    turn = exp_se3(np.array([0, 0, 0, 0, math.radians(5), 0]))[:3, :3]
    homography = CAMERA.matrix @ turn @ np.linalg.inv(CAMERA.matrix)
    turned = cv2.warpPerspective(picture, homography, (WIDTH, HEIGHT))
    overlap = overlap_by_matches(find_corners(picture, CAMERA), find_corners(turned, CAMERA))
    assert overlap.covisibility > 0.7         # of 320 px, 26 leave the image
    assert overlap.parallax_deg < 0.3         # corners are found to a pixel: 0.2 deg


def test_different_walls_share_nothing():
    greys = [cv2.cvtColor(wall(WIDTH, seed=seed), cv2.COLOR_RGB2GRAY) for seed in (1, 2)]
    overlap = overlap_by_matches(*(find_corners(grey, CAMERA) for grey in greys))
    assert overlap.covisibility < 0.3


def test_an_image_without_texture_matches_nothing():
    flat = find_corners(np.full((HEIGHT, WIDTH), 90, np.uint8), CAMERA)
    assert overlap_by_matches(flat, flat).covisibility == 0
