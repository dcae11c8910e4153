# SPDX-License-Identifier: Apache-2.0
import struct

from crossview_ros.data import io
from crossview_ros.errors import DatasetError
import cv2
import numpy as np
import pytest


def test_pfm_rows_are_stored_bottom_to_top(tmp_path):
    path = tmp_path / 'a.pfm'
    path.write_bytes(b'Pf\n2 2\n-1.0\n' + struct.pack('<4f', 3, 4, 1, 2))

    np.testing.assert_array_equal(io.read_pfm(path), [[1, 2], [3, 4]])


def test_pfm_with_positive_scale_is_big_endian(tmp_path):
    path = tmp_path / 'a.pfm'
    path.write_bytes(b'PF\n1 1\n1.0\n' + struct.pack('>3f', 1, 2, 3))

    np.testing.assert_array_equal(io.read_pfm(path), [[[1, 2, 3]]])


@pytest.mark.parametrize('shape', [(5, 7), (5, 7, 3)])
def test_pfm_is_read_as_written_with_unknown_values(tmp_path, rng, shape):
    values = rng.normal(size=shape).astype(np.float32)
    values[2, 3] = np.nan

    io.write_pfm(tmp_path / 'a.pfm', values)

    np.testing.assert_array_equal(io.read_pfm(tmp_path / 'a.pfm'), values)
    assert np.isinf(np.frombuffer((tmp_path / 'a.pfm').read_bytes()[-4 * values.size:],
                                  '<f4')).sum() == np.isnan(values).sum()


def test_flo_layout_is_magic_width_height_then_interleaved_components(tmp_path):
    path = tmp_path / 'a.flo'
    path.write_bytes(b'PIEH' + struct.pack('<2i', 2, 1) + struct.pack('<4f', 1, -2, 1.7e9, 0))

    flow = io.read_flo(path)

    assert flow.shape == (1, 2, 2)
    np.testing.assert_array_equal(flow[0, 0], [1, -2])
    assert np.isnan(flow[0, 1]).all()


def test_flo_is_read_as_written(tmp_path, rng):
    flow = rng.normal(0, 20, (6, 4, 2)).astype(np.float32)
    flow[1, 1] = np.nan

    io.write_flo(tmp_path / 'a.flo', flow)

    np.testing.assert_array_equal(io.read_flo(tmp_path / 'a.flo'), flow)


def test_kitti_flow_png_follows_the_development_kit(tmp_path):
    raw = np.zeros((1, 3, 3), np.uint16)
    raw[0, 0] = 32768 + 64, 32768 - 32, 1        # (1, -0.5) px
    raw[0, 1] = 40000, 40000, 0                  # not valid
    cv2.imwrite(str(tmp_path / 'a.png'), raw[..., ::-1])

    flow = io.read_kitti_flow(tmp_path / 'a.png')

    np.testing.assert_array_equal(flow[0, 0], [1.0, -0.5])
    assert np.isnan(flow[0, 1:]).all()


def test_kitti_flow_png_is_read_as_written_to_half_a_step(tmp_path, rng):
    flow = rng.uniform(-400, 400, (8, 9, 2)).astype(np.float32)
    flow[0, 0] = np.nan

    io.write_kitti_flow(tmp_path / 'a.png', flow)

    np.testing.assert_allclose(io.read_kitti_flow(tmp_path / 'a.png'), flow, atol=0.5 / 64 + 1e-4)


def test_scaled_png_is_read_as_written_to_half_a_step(tmp_path, rng):
    disparity = rng.uniform(0.1, 200, (8, 9)).astype(np.float32)
    disparity[3] = np.nan

    io.write_scaled_png(tmp_path / 'a.png', disparity)

    np.testing.assert_allclose(io.read_scaled_png(tmp_path / 'a.png'), disparity,
                               atol=0.5 / 256 + 1e-4)


def test_images_keep_their_channel_order(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200                          # red

    io.write_image(tmp_path / 'a.png', image)

    np.testing.assert_array_equal(io.read_image(tmp_path / 'a.png'), image)
    assert cv2.imread(str(tmp_path / 'a.png'))[0, 0].tolist() == [0, 0, 200]


@pytest.mark.parametrize('read', [io.read_image, io.read_pfm, io.read_flo, io.read_scaled_png,
                                  io.read_kitti_flow])
def test_missing_and_foreign_files_are_named(tmp_path, read):
    (tmp_path / 'junk.png').write_bytes(b'no such format')

    with pytest.raises(DatasetError, match='missing.png: cannot be read'):
        read(tmp_path / 'missing.png')
    with pytest.raises(DatasetError, match='junk.png: is n'):
        read(tmp_path / 'junk.png')


def test_truncated_files_say_how_much_is_missing(tmp_path):
    io.write_flo(tmp_path / 'a.flo', np.zeros((4, 5, 2), np.float32))
    data = (tmp_path / 'a.flo').read_bytes()
    (tmp_path / 'a.flo').write_bytes(data[:-8])

    with pytest.raises(DatasetError, match='damaged: 152 bytes .* promises 160'):
        io.read_flo(tmp_path / 'a.flo')


def test_absurd_sizes_are_refused_before_memory_is_asked_for(tmp_path):
    (tmp_path / 'a.flo').write_bytes(b'PIEH' + struct.pack('<2i', 2 ** 30, 2 ** 30))

    with pytest.raises(DatasetError, match='damaged: its header says'):
        io.read_flo(tmp_path / 'a.flo')


def test_values_beyond_16_bits_are_refused(tmp_path):
    with pytest.raises(DatasetError, match='do not fit 16 bits at scale 256'):
        io.write_scaled_png(tmp_path / 'a.png', np.array([[300.0]]))
    with pytest.raises(DatasetError, match='beyond 512 px'):
        io.write_kitti_flow(tmp_path / 'a.png', np.full((1, 1, 2), 600.0))


def test_real_flow_file_has_the_documented_motion(shared_dir):
    flow = io.read_flo(shared_dir / 'data/flow/rubberwhale/flow_gt.flo')

    length = np.hypot(flow[..., 0], flow[..., 1])
    assert flow.shape == (388, 584, 2)
    assert np.isfinite(length).mean() == pytest.approx(0.984, abs=5e-4)   # the data's README
    assert np.nanmean(length) == pytest.approx(1.26, abs=5e-3)


def test_real_disparity_png_has_the_documented_range(shared_dir):
    disparity = io.read_scaled_png(shared_dir / 'data/stereo/motorcycle/disp_gt.png')

    assert np.isfinite(disparity).mean() == pytest.approx(0.927, abs=5e-4)
    assert np.nanmin(disparity) == pytest.approx(7.19, abs=5e-3)
    assert np.nanmax(disparity) == pytest.approx(59.91, abs=5e-3)


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
def test_an_image_that_breaks_off_is_refused_before_a_decoder_fills_it_up(tmp_path, rng, suffix):
    path = tmp_path / f'torn.{suffix}'
    io.write_image(path, rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DatasetError, match='torn.*breaks off'):
        io.read_image(path)
