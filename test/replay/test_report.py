# SPDX-License-Identifier: Apache-2.0
"""The report: self-contained, every figure with its unit, undefined numbers null, honest words."""
import base64
import io
import json
import re

from crossview_ros.metrics import Metric
from crossview_ros.replay.figures import FIGURES, number_and_unit, significant
from crossview_ros.replay.metrics_file import metrics_dict, percentiles
from crossview_ros.replay.report import write_report
from crossview_ros.replay.report_data import (
    Count, FrameRecord, IN_PROCESS, LIVE, Panel, panel_indices, ReportData)
from crossview_ros.replay.report_pictures import (
    depth_tile, DepthScale, error_tile, MISSED, NO_DATA, shrink_image, shrink_map, TOO_FAR,
    TOO_NEAR)
from crossview_ros.replay.report_summary import summary_sentence
from crossview_ros.replay.scores import RangeRow, ReliabilityRow
from matplotlib.image import imread
import numpy as np
import pytest


def make_data(rng, num_frames=8, truth=True, **changes):
    """Return report data of a small run whose frame 3 got no answer."""
    depth = rng.uniform(1.0, 9.0, (24, 32)).astype(np.float32)
    depth[:2] = np.nan
    image = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    panels = [Panel(index, index * 10**8, image, depth, np.full((24, 32), 0.5, np.float32),
                    depth + 0.1 if truth else None, {'depth.abs_rel': Metric(0.1234, '-')})
              for index in (1, 5)]
    frames = [FrameRecord(index, index * 10**8, None if index == 3 else 40.0 + index,
                          {'depth.abs_rel': 0.1} if truth else {}) for index in range(num_frames)]
    figures = {'depth.abs_rel': Metric(0.1234, '-'), 'depth.delta_1': Metric(0.9, '-'),
               'depth.coverage': Metric(1.0, '-'), 'disparity.epe': Metric(1.5, 'px')} \
        if truth else {'depth.median': Metric(3.25, 'm')}
    values = {'title': 'A <run> & more', 'mode': LIVE, 'command': 'crossview demo',
              'figures': figures, 'frames': frames, 'panels': panels,
              'counts': [Count('answered', 7, 'pairs with depth', 'ok'),
                         Count('dropped', 1, 'newest wins', 'loss')],
              'facts': {'Model': {'model': 'crossview_tiny'}}, 'notes': ['rendered'],
              'ranges': [RangeRow(0.0, 2.0, 1.0, 1.0, 0.1, 0.2)] if truth else [],
              'reliability': [ReliabilityRow(0.5, 0.6, 1.0)] if truth else [],
              'stages_ms': {'encode': [10.0] * num_frames}, 'rate_hz': 4.0}
    return ReportData(**{**values, **changes})


@pytest.mark.parametrize('truth', [False, True])
def test_report_is_self_contained(tmp_path, rng, truth):
    page = write_report(tmp_path, make_data(rng, truth=truth)).read_text(encoding='utf-8')
    for pattern in (r'https?:', r'<script', r'<link(?! rel="icon" href="data:,")', r'url\('):
        assert not re.search(pattern, page), pattern
    assert all(source.startswith('data:image/png;base64,')
               for source in re.findall(r'src="([^"]*)"', page))


def test_pictures_in_the_page_are_the_files_beside_it(tmp_path, rng):
    page = write_report(tmp_path, make_data(rng)).read_text(encoding='utf-8')
    embedded = {base64.b64decode(text) for text in re.findall(r'base64,([^"]+)"', page)}
    files = {file.read_bytes() for file in (tmp_path / 'report_pictures').iterdir()}
    assert embedded == files
    assert len(list((tmp_path / 'report_pictures').glob('frame_*.png'))) == 2 * 5
    for content in embedded:
        assert imread(io.BytesIO(content)).ndim == 3


def test_texts_are_escaped(tmp_path, rng):
    page = write_report(tmp_path, make_data(rng)).read_text(encoding='utf-8')
    assert 'A &lt;run&gt; &amp; more' in page and '<run>' not in page


def test_page_shows_figures_with_units_drops_and_what_ran(tmp_path, rng):
    page = write_report(tmp_path, make_data(rng)).read_text(encoding='utf-8')
    for text in ('12.3<span class="unit">%', '1.50<span class="unit">px', '7/8', '1 without',
                 'live ROS 2 node', 'crossview_tiny', 'crossview demo', 'rendered'):
        assert text in page, text
    assert re.search(r'<tr class="loss"><td>dropped</td>', page)


def test_old_pictures_are_replaced_and_other_files_stay(tmp_path, rng):
    write_report(tmp_path, make_data(rng))
    stale = tmp_path / 'report_pictures' / 'frame_0099_depth.png'
    stale.write_bytes(b'old')
    foreign = tmp_path / 'report_pictures' / 'holiday.png'
    foreign.write_bytes(b'mine')
    write_report(tmp_path, make_data(rng))
    assert not stale.exists() and foreign.exists()


def test_metrics_json_is_strict_and_undefined_is_null(tmp_path, rng):
    figures = {'depth.abs_rel': Metric(float('nan'), '-')}
    write_report(tmp_path, make_data(rng, figures=figures))
    stored = json.loads((tmp_path / 'metrics.json').read_text(),
                        parse_constant=lambda text: pytest.fail(f'{text} is no JSON'))
    assert stored['metrics']['depth.abs_rel']['value'] is None
    assert stored['metrics']['depth.abs_rel']['unit'] == '-'
    frames = stored['frames']
    assert frames.pop('counts') == {'answered': {'value': 7, 'meaning': 'pairs with depth'},
                                    'dropped': {'value': 1, 'meaning': 'newest wins'}}
    assert frames == {'subject': 'stereo pairs', 'offered': 8, 'answered': 7, 'outputs': {}}
    assert stored['per_frame'][3]['latency_ms'] is None


def test_metrics_json_documents_its_keys(rng):
    from crossview_ros.replay import metrics_file
    for key in metrics_dict(make_data(rng)):
        assert f'`{key}`' in metrics_file.__doc__, key


def test_percentiles_of_known_numbers():
    assert percentiles(range(101)) == {'p50': 50.0, 'p95': 95.0, 'max': 100.0}
    assert percentiles([]) == {}


def test_summary_says_what_cannot_be_said(rng):
    text = summary_sentence(make_data(rng, truth=False, mode=IN_PROCESS))
    assert text.startswith('Perception, run in process, answered 7 of 8 stereo pairs')
    assert 'no true depth' in text and 'not say how wrong' in text
    assert 'off by 12.3 %' in summary_sentence(make_data(rng))


def test_report_of_a_run_without_any_answer(tmp_path, rng):
    data = make_data(rng, figures={}, panels=[], ranges=[], reliability=[], stages_ms={},
                     frames=[FrameRecord(0, 0, None)], rate_hz=None)
    assert '0/1' in write_report(tmp_path, data).read_text(encoding='utf-8')


def test_report_of_a_single_frame(tmp_path, rng):
    data = make_data(rng, num_frames=1)
    assert write_report(tmp_path, data).is_file()


@pytest.mark.parametrize(('value', 'text'), [
    (0.0, '0'), (123.456, '123'), (1.2345, '1.23'), (0.0012345, '0.00123'), (-2.5, '-2.50'),
    (float('nan'), '-'), (45678.9, '45679'), (9.9996, '10.0')])
def test_numbers_have_three_significant_digits(value, text):
    assert significant(value) == text


def test_shares_are_read_in_percent():
    assert number_and_unit('depth.abs_rel', Metric(0.1234, '-')) == ('12.3', '%')
    assert number_and_unit('disparity.epe', Metric(1.5, 'px')) == ('1.50', 'px')
    assert all(figure.meaning for figure in FIGURES.values())


def test_tiles_mark_invalid_and_out_of_range_pixels():
    depth = np.array([[2.0, np.nan, np.inf, -np.inf]], np.float32)
    tile = depth_tile(depth, DepthScale(1.0, 4.0))
    assert [tuple(pixel) for pixel in tile[0, 1:]] == [NO_DATA, TOO_FAR, TOO_NEAR]
    error = error_tile(depth, np.array([[2.0, 2.0, np.nan, 2.0]], np.float32))
    assert [tuple(pixel) for pixel in error[0, 1:]] == [MISSED, NO_DATA, MISSED]


def test_depth_scale_is_logarithmic():
    position = DepthScale(1.0, 16.0).position(np.array([1.0, 4.0, 16.0, 100.0, np.nan]))
    np.testing.assert_allclose(position, [0.0, 0.5, 1.0, 1.0, np.nan])


def test_image_and_map_shrink_to_the_same_grid():
    image, values = np.zeros((101, 1281, 3), np.uint8), np.zeros((101, 1281), np.float32)
    assert shrink_image(image).shape == (33, 427, 3)   # 1281 / 3
    assert shrink_map(values).shape == (33, 427)


def test_pictured_frames_are_spread_over_the_run():
    assert panel_indices(100, 5) == {10, 30, 50, 70, 90}
    assert panel_indices(3, 5) == {0, 1, 2}
