# SPDX-License-Identifier: Apache-2.0
"""Colours of optical flow."""
from crossview_ros.errors import MessageError
from crossview_ros.geometry.flow_color import flow_to_color
import numpy as np
import pytest


def color_of(u, v, max_px=1.0):
    """Return the colour of one vector [px]."""
    return flow_to_color(np.array([[[u, v]]], np.float32), max_px)[0, 0].tolist()


@pytest.mark.parametrize('u, v, color', [
    (1, 0, [255, 0, 0]),          # to the right: red, as in the benchmark
    (0, 0, [255, 255, 255]),
    (0.5, 0, [255, 127, 127]),    # half as long: half as saturated
    (2, 0, [191, 0, 0]),          # beyond the maximum: darker
    (float('nan'), 0, [0, 0, 0]),
    (0, float('inf'), [0, 0, 0]),
])
def test_known_colors(u, v, color):
    assert color_of(u, v) == color


def test_the_four_directions_have_their_hues():
    down, left, up = color_of(0, 1), color_of(-1, 0), color_of(0, -1)
    assert down[0] == 255 and down[1] > 200 and down[2] == 0    # yellow
    assert left[2] == 255 and left[0] == 0                      # blue to cyan
    assert up[2] > 200 and 50 < up[0] < 200 and up[1] < 50      # violet


def test_hues_go_round_without_a_step():
    angles = np.linspace(-np.pi, np.pi, 2000)
    flow = np.stack((np.cos(angles), np.sin(angles)), axis=1)[None].astype(np.float32)
    colors = flow_to_color(flow, 1.0)[0].astype(int)
    # the fastest of the arcs takes 4 of 55 colours for 255 levels: 1.8 levels in 1 of 2000
    assert np.abs(np.diff(colors, axis=0)).max() <= 4
    assert np.abs(colors[0] - colors[-1]).max() <= 4


def test_by_default_the_longest_vector_is_fully_saturated(rng):
    flow = rng.normal(0, 5, (6, 7, 2)).astype(np.float32)
    flow[2, 3] = 40, 0
    flow[0, 0] = np.nan
    color = flow_to_color(flow)
    assert color.shape == (6, 7, 3) and color.dtype == np.uint8
    assert color[2, 3].tolist() == [255, 0, 0]
    assert (flow_to_color(np.full((2, 2, 2), np.nan, np.float32)) == 0).all()


def test_another_shape_is_refused():
    with pytest.raises(MessageError, match=r'\(H, W, 2\), got \(4, 4, 3\)'):
        flow_to_color(np.zeros((4, 4, 3), np.float32))
