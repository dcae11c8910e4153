# SPDX-License-Identifier: Apache-2.0
from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.errors import DatasetError
import numpy as np
import pytest

IMAGE = np.zeros((4, 6, 3), np.uint8)


def test_fitting_arrays_are_accepted():
    sample = StereoSample(IMAGE, IMAGE, np.zeros((4, 6), np.float32))

    assert sample.rig is None


def test_images_of_two_sizes_are_refused():
    with pytest.raises(DatasetError, match=r'right must be uint8 RGB of shape \(4, 6, 3\)'):
        StereoSample(IMAGE, IMAGE[:3], np.zeros((4, 6), np.float32))


def test_images_as_floats_are_refused():
    with pytest.raises(DatasetError, match='image1 must be uint8 RGB .* got float64'):
        FlowSample(IMAGE / 255, IMAGE, np.zeros((4, 6, 2), np.float32))


def test_flow_with_channels_first_is_refused():
    with pytest.raises(DatasetError, match=r'flow must be float32 of shape \(4, 6, 2\)'):
        FlowSample(IMAGE, IMAGE, np.zeros((2, 4, 6), np.float32))
