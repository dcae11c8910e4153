# SPDX-License-Identifier: Apache-2.0
"""Images of every size fit the network, and its outputs come back at the right place and scale."""
import math

from block_matching import DEFAULT_HW, make_manifest, MULTIPLE, texture
from crossview_ros.errors import ConfigError
from crossview_ros.runtime.input_adapter import InputAdapter
from crossview_ros.runtime.manifest import InputNormalisation
import numpy as np
import pytest

SIZES_HW = [
    DEFAULT_HW,
    (32, 48),      # smaller, multiples
    (61, 83),      # smaller, odd
    (128, 192),    # twice the default
    (375, 1242),   # wide
    (101, 37),     # tall
    (16, 4000), (4000, 16), (3, 5000), (1, 1)]


def adapter_for(image_hw, inference_size=None, **changes):
    """Return the adapter of the fake model."""
    return InputAdapter.create(make_manifest(**changes), image_hw, inference_size)


@pytest.mark.parametrize('image_hw', SIZES_HW)
def test_network_sizes_are_multiples_within_the_limit(image_hw):
    adapter = adapter_for(image_hw)
    for image, working, network, limit in zip(image_hw, adapter.working_hw, adapter.network_hw,
                                              DEFAULT_HW):
        assert 1 <= working <= min(image, limit)
        assert network % MULTIPLE == 0 and working <= network < working + MULTIPLE
    assert adapter.prepare(texture(*image_hw)).shape == (1, 3, *adapter.network_hw)


@pytest.mark.parametrize('image_hw', SIZES_HW)
def test_outputs_come_back_at_the_image_size(image_hw):
    adapter = adapter_for(image_hw)
    for channels in (1, 2):
        values = np.full((1, channels, *adapter.network_hw), 3.0, np.float32)
        restored = adapter.restore(values)
        assert restored.shape == (image_hw if channels == 1 else (*image_hw, 2))
        assert restored.dtype == np.float32 and restored.flags.c_contiguous
        np.testing.assert_allclose(restored, 3.0, rtol=1e-6)   # interpolation weights


@pytest.mark.parametrize('image_hw, working_hw', [
    ((32, 48), (32, 48)),        # never enlarged
    ((128, 192), (64, 96)),      # both sides reach the limit
    ((128, 96), (64, 48)),       # the height does
    ((375, 1242), (29, 96)),     # 28.99 rows: no multiple is within 5 %
    ((132, 384), (32, 96)),      # 33 rows: squeezed to 32, saving 16 padded ones
    ((16, 4000), (16, 96)),      # would be 0.4 rows; up to one multiple nothing is lost
    ((3, 5000), (3, 96))])
def test_working_size_keeps_the_aspect_ratio_where_it_can(image_hw, working_hw):
    assert adapter_for(image_hw).working_hw == working_hw


def test_inference_size_replaces_the_default_in_both_directions():
    assert adapter_for((480, 640), (120, 160)).working_hw == (120, 160)
    assert adapter_for((480, 640), (960, 1280)).working_hw == (480, 640)
    with pytest.raises(ConfigError, match='inference_size must be'):
        adapter_for((480, 640), (0, 160))


def test_without_padding_every_size_may_stay():
    manifest = make_manifest()
    for image_hw, limit_hw, working_hw in (((128, 192), None, (128, 192)),
                                           ((61, 83), None, (61, 83)),
                                           ((375, 1242), (200, 300), (91, 300))):
        adapter = InputAdapter.create(manifest, image_hw, limit_hw, padded=False)
        assert adapter.working_hw == adapter.network_hw == working_hw


@pytest.mark.parametrize('image_hw, working_hw', [
    ((48, 80), (48, 80)), ((128, 192), (64, 96)), ((61, 300), (20, 96))])
def test_a_network_of_one_size_gets_that_size(image_hw, working_hw):
    adapter = adapter_for(image_hw, default_size_hw=(480, 640), fixed_size_hw=(64, 96))
    assert (adapter.working_hw, adapter.network_hw) == (working_hw, (64, 96))


def test_prepared_pixels_are_normalised_per_channel_and_padded_by_repetition():
    image = texture(20, 37)
    adapter = adapter_for((20, 37))
    prepared = adapter.prepare(image)[0]
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.3])
    expected = ((image / 255 - mean) / std).transpose(2, 0, 1)
    # float32 rounding of numbers up to 4
    np.testing.assert_allclose(prepared[:, :20, :37], expected, atol=2e-6)
    np.testing.assert_array_equal(
        prepared, np.pad(prepared[:, :20, :37], ((0, 0), (0, 12), (0, 11)), mode='edge'))


def test_pixels_are_fitted_without_being_changed():
    image = texture(20, 37)
    pixels = adapter_for((20, 37)).fit(image)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    np.testing.assert_array_equal(
        pixels[0], np.pad(image, ((0, 12), (0, 11), (0, 0)), mode='edge'))


def test_channel_order_is_the_manifests():
    image = texture(16, 16)
    rgb = adapter_for((16, 16), normalisation=InputNormalisation((0, 0, 0), (1, 1, 1)))
    bgr = adapter_for((16, 16), normalisation=InputNormalisation((0, 0, 0), (1, 1, 1), 'bgr'))
    np.testing.assert_array_equal(bgr.prepare(image), rgb.prepare(image)[:, ::-1])


def test_prepare_takes_views_and_leaves_them_alone():
    whole = texture(256, 200)
    view, copy = whole[::2, ::-1], whole.copy()
    adapter = adapter_for(view.shape[:2])
    np.testing.assert_array_equal(adapter.prepare(view), adapter.prepare(view.copy()))
    np.testing.assert_array_equal(whole, copy)


def test_native_size_comes_back_bit_for_bit(rng):
    adapter = adapter_for((61, 83))
    values = rng.normal(size=(1, 1, *adapter.network_hw)).astype(np.float32)
    np.testing.assert_array_equal(adapter.restore_disparity(values), values[0, 0, :61, :83])


def test_restored_array_is_a_copy(rng):
    adapter = adapter_for(DEFAULT_HW)
    values = rng.normal(size=(1, 1, *adapter.network_hw)).astype(np.float32)
    assert not np.shares_memory(adapter.restore(values), values)


def test_offsets_scale_with_their_axis():
    adapter = adapter_for((132, 384))   # 4.125 rows and 4 columns a network pixel
    assert adapter.scale_xy == (4.0, 132 / 32)
    ones = np.ones((1, 2, *adapter.network_hw), np.float32)
    np.testing.assert_array_equal(adapter.restore_disparity(ones[:, :1]), 4.0)
    flow = adapter.restore_flow(ones)
    np.testing.assert_array_equal(flow[..., 0], 4.0)
    np.testing.assert_array_equal(flow[..., 1], np.float32(132 / 32))


def test_log_scale_grows_by_the_log_of_the_enlargement():
    adapter = adapter_for((132, 384))
    zeros = np.zeros((1, 1, *adapter.network_hw), np.float32)
    assert adapter.restore_log_scale(zeros, 1) == pytest.approx(math.log(4), abs=1e-6)
    geometric_mean = math.log(math.sqrt(4 * 132 / 32))
    assert adapter.restore_log_scale(zeros, 2) == pytest.approx(geometric_mean, abs=1e-6)


@pytest.mark.parametrize('image_hw', [(128, 120), (125, 119)])
@pytest.mark.parametrize('axis', [0, 1])
def test_places_survive_the_way_there_and_back(image_hw, axis):
    # A ramp of 2 grey levels a pixel: a shift by half a network pixel would change it by 2.
    ramp = np.indices((*image_hw, 3), np.uint8)[axis] * 2
    adapter = adapter_for(image_hw, normalisation=InputNormalisation((0,) * 3, (1,) * 3))
    assert adapter.working_hw[axis] < image_hw[axis]
    restored = 255 * adapter.restore(adapter.prepare(ramp)[:, :1])
    error = (restored - ramp[..., 0])[8:-8, 8:-8]
    # whole grey levels in the network's input: half a level, 0 on average
    assert np.abs(error).max() < 0.51 and abs(error.mean()) < 0.1


def test_doubled_image_doubles_restored_disparity():
    small, large = adapter_for((64, 96)), adapter_for((128, 192))
    values = np.random.default_rng(1).uniform(0, 9, (1, 1, 64, 96)).astype(np.float32)
    np.testing.assert_allclose(large.restore_disparity(values).reshape(64, 2, 96, 2)
                               .mean((1, 3))[2:-2, 2:-2],
                               2 * _smoothed(small.restore_disparity(values))[2:-2, 2:-2],
                               rtol=1e-5)


def _smoothed(values):
    """Apply what doubling (bilinear) and averaging 2x2 does to each axis: (1, 6, 1) / 8."""
    for axis in (0, 1):
        values = (np.roll(values, 1, axis) + 6 * values + np.roll(values, -1, axis)) / 8
    return values
