# SPDX-License-Identifier: Apache-2.0
"""The truth of a sample is read in each format, and refused in plain words."""
from crossview_ros.data import io
from crossview_ros.data.truth_files import read_disparity_truth, read_flow_truth, TRUTH_FORMATS
from crossview_ros.errors import DatasetError
import numpy as np
import pytest

DISPARITY = np.array([[1.5, np.nan, 3.25]], np.float32)
FLOW = np.array([[[1.5, -2], [np.nan, np.nan], [0, 64]]], np.float32)


@pytest.mark.parametrize('suffix, write', [('pfm', io.write_pfm), ('png', io.write_scaled_png)])
def test_disparity_is_read_by_its_suffix(tmp_path, suffix, write):
    path = tmp_path / f'truth.{suffix}'
    write(path, DISPARITY)

    np.testing.assert_array_equal(read_disparity_truth(path), DISPARITY)


def test_flow_is_read_by_its_suffix(tmp_path):
    io.write_flo(tmp_path / 'a.flo', FLOW)
    io.write_kitti_flow(tmp_path / 'b.png', FLOW)
    io.write_pfm(tmp_path / 'c.pfm', np.concatenate((FLOW, 0 * FLOW[..., :1]), -1))

    for name in ('a.flo', 'b.png', 'c.pfm'):
        np.testing.assert_array_equal(read_flow_truth(tmp_path / name), FLOW)


def test_a_named_format_is_read_whatever_the_suffix(tmp_path):
    (tmp_path / 'a.bin').write_bytes(b'')
    io.write_flo(tmp_path / 'a.bin', FLOW)

    np.testing.assert_array_equal(read_flow_truth(tmp_path / 'a.bin', 'flo'), FLOW)


@pytest.mark.parametrize('task', TRUTH_FORMATS)
def test_every_format_refuses_a_missing_file(tmp_path, task):
    for reader in TRUTH_FORMATS[task].values():
        with pytest.raises(DatasetError, match='cannot be read: No such file'):
            reader(tmp_path / 'nothing')


@pytest.mark.parametrize('read, name, truth_format, message', [
    (read_disparity_truth, 'a.npy', 'auto', r'ends in \.pfm, \.png; name its format'),
    (read_flow_truth, 'a.npy', 'auto', r'ends in \.flo, \.png, \.pfm'),
    (read_disparity_truth, 'a.flo', 'flo', "no format 'flo' for the truth of stereo; known: pfm"),
    (read_flow_truth, 'a.png', 'png256', "no format 'png256' for the truth of flow")])
def test_unknown_formats_are_told_with_the_known_ones(tmp_path, read, name, truth_format,
                                                      message):
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / name, truth_format)


def test_flow_and_disparity_are_not_taken_for_each_other(tmp_path):
    io.write_pfm(tmp_path / 'flow.pfm', np.zeros((2, 2, 3), np.float32))
    io.write_pfm(tmp_path / 'disparity.pfm', np.zeros((2, 2), np.float32))

    with pytest.raises(DatasetError, match='one channel, got 3; is it a flow'):
        read_disparity_truth(tmp_path / 'flow.pfm')
    with pytest.raises(DatasetError, match='is it a disparity'):
        read_flow_truth(tmp_path / 'disparity.pfm')
