# SPDX-License-Identifier: Apache-2.0
"""Samples become batches of tensors with channels first."""
from crossview_ros.data.collate import collate
from crossview_ros.data.samples import FrameSample, ImagePointSample, PairSample
from crossview_ros.errors import DatasetError
import numpy as np
import pytest
from ramps import flow_sample, stereo_sample
import torch


def test_images_and_truth_get_channels_first_and_keep_their_values(rng):
    stereo = [stereo_sample(rng, (32, 48)) for _ in range(2)]
    flow = [flow_sample(rng, (32, 48)) for _ in range(3)]
    stereo[1].disparity[4, 5] = np.nan

    batch, flows = collate(stereo), collate(flow)

    assert batch['left'].shape == (2, 3, 32, 48) and batch['left'].dtype == torch.float32
    assert batch['left'][1, 2, 4, 5].item() == pytest.approx(stereo[1].left[4, 5, 2] / 255)
    assert batch['disparity'].shape == (2, 1, 32, 48) and batch['disparity'][1, 0, 4, 5].isnan()
    assert batch['rig'] == [sample.rig for sample in stereo]
    assert flows['flow'].shape == (3, 2, 32, 48)
    np.testing.assert_array_equal(flows['flow'][2, 1].numpy(), flow[2].flow[..., 1])


def test_clouds_of_any_length_stay_a_list_and_absent_parts_are_none(rng):
    rig = stereo_sample(rng, (8, 160)).rig.cropped(0, 0, 12, 8)
    image = np.zeros((8, 12, 3), np.uint8)
    clouds = [ImagePointSample(image, np.zeros((n, 3), np.float32), rig.left) for n in (4, 7)]
    frames = [FrameSample(image, image, rig, 5, T_world_camera=np.eye(4))] * 2

    batch = collate(clouds)
    assert [tuple(cloud.shape) for cloud in batch['points']] == [(4, 3), (7, 3)]
    batch = collate(frames)
    assert batch['T_world_camera'].shape == (2, 4, 4)
    assert batch['points'] == [None, None] and batch['stamp_ns'] == [5, 5]


def test_samples_that_do_not_fit_together_are_refused(rng):
    pair = PairSample(np.zeros((8, 12, 3), np.uint8), np.zeros((8, 12, 3), np.uint8))
    with pytest.raises(DatasetError, match='one size, .*crop the samples first'):
        collate([stereo_sample(rng, (32, 48)), stereo_sample(rng, (32, 40))])
    with pytest.raises(DatasetError, match='one kind, got .*FlowSample.*PairSample'):
        collate([pair, flow_sample(rng, (8, 12))])
    with pytest.raises(DatasetError, match='got none'):
        collate([])
