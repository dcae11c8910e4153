# SPDX-License-Identifier: Apache-2.0
"""The top of a report: what ran in one sentence, the figures that matter, what to know."""
from html import escape

from crossview_ros.metrics import Metric
from crossview_ros.replay import report_html as html
from crossview_ros.replay.figures import describe, number_and_unit, significant
from crossview_ros.replay.metrics_file import percentiles
from crossview_ros.replay.report_data import LIVE, ReportData

OUTPUT_NAMES = {'stereo': 'depth', 'flow': 'flow', 'odometry': 'odometry'}


def header(data: ReportData) -> str:
    """Return badge, title and summary."""
    badge = 'live ROS 2 node' if data.mode == LIVE else 'in process, without ROS'
    return (f'<header><span class="badge">{badge}</span><h1>{escape(data.title)}</h1>'
            f'<p class="lead">{escape(summary_sentence(data))}</p></header>')


def summary_sentence(data: ReportData) -> str:
    """Say in plain words what the run shows, and what it cannot show."""
    subject = 'A live ROS 2 node' if data.mode == LIVE else 'Perception, run in process,'
    rate = f' at {significant(data.rate_hz, 2)} frames/s' if data.rate_hz else ''
    parts = [f'{subject} answered {data.num_answered} of {len(data.frames)} {data.subject}{rate}.',
             _depth_words(data), _flow_words(data), _odometry_words(data)]
    return ' '.join(filter(None, parts))


def cards(data: ReportData) -> str:
    """Return the figures that a reader looks for first."""
    texts = [text for text in (*_figure_cards(data), *_run_cards(data)) if text]
    columns = 3 if len(texts) in (3, 5, 6, 9) else 4
    return f'<div class="cards" style="--columns:{columns}">{"".join(texts)}</div>'


def notes(data: ReportData) -> str:
    """Return what a reader must know."""
    if not data.notes:
        return ''
    items = ''.join(f'<li>{escape(note)}</li>' for note in data.notes)
    return f'<div class="notes"><ul>{items}</ul></div>'


def _depth_words(data: ReportData) -> str:
    figures = data.figures
    if 'depth.abs_rel' in figures:
        return (f'Its depth in metres is off by {_text(figures, "depth.abs_rel")} of the true '
                f'depth on average; {_text(figures, "depth.delta_1")} of the pixels are within a '
                f'factor of 1.25, and {_text(figures, "depth.coverage")} of the true pixels in '
                'range got a depth.')
    if 'holdout.mae' in figures:
        return (f'On LiDAR rings that it did not get, its depth is off by '
                f'{_text(figures, "holdout.mae")}, {_text(figures, "holdout.abs_rel")} of the '
                'depth; linear interpolation of the points that it got by '
                f'{_text(figures, "holdout.mae_linear")}, '
                f'{_text(figures, "holdout.abs_rel_linear")}.')
    if data.has_depth and 'disparity.epe' not in figures:
        return ('The bag holds no true depth, so this report can show the depth but not say how '
                'wrong it is.')
    return ''


def _flow_words(data: ReportData) -> str:
    figures = data.figures
    if 'flow.epe' in figures:
        return (f'Its optical flow is off by {_text(figures, "flow.epe")}; the image moved by '
                f'{_text(figures, "flow.epe_zero")}.')
    if 'flow.photo' in figures and not data.has_depth:
        return ('There is no true flow to compare with: moved back by the flow, the next image '
                f'differs by {_text(figures, "flow.photo")}, unmoved by '
                f'{_text(figures, "flow.photo_unmoved")}.')
    if len(data.frames) == 1 and any(output.task == 'flow' for output in data.outputs):
        return 'A single image shows no motion: optical flow needs two.'
    return ''


def _odometry_words(data: ReportData) -> str:
    figures = data.figures
    if 'odometry.drift_percent' in figures:
        return (f'Its odometry drifted by {_text(figures, "odometry.drift_percent")} of the true '
                f'path of {_text(figures, "odometry.true_path")}.')
    if data.track.stands_still and 'odometry.away' in figures:
        return (f'The camera stood still; odometry strayed by {_text(figures, "odometry.away")} '
                f'and {_text(figures, "odometry.turn")}.')
    return ''


def _figure_cards(data: ReportData) -> list[str]:
    figures = data.figures
    moving = any(output.task != 'stereo' for output in data.outputs)
    if 'depth.abs_rel' in figures or 'disparity.epe' in figures:
        depth = [_card(figures, 'depth.abs_rel', 'missing pixels count as 100 %'),
                 moving or _card(figures, 'depth.delta_1', 'of true pixels within a factor of '
                                 '1.25'),
                 _card(figures, 'depth.coverage', 'of true pixels in range got a depth'),
                 _card(figures, 'disparity.epe', _against(
                     figures, 'disparity.epe_constant', 'the best constant would be off by')),
                 moving or _card(figures, 'disparity.bad_2', 'of true pixels off by more than '
                                 '2 px')]
    else:
        depth = [_card(figures, 'holdout.mae', _against(
                     figures, 'holdout.mae_linear', 'linear interpolation is off by')),
                 _card(figures, 'holdout.abs_rel', _against(
                     figures, 'holdout.abs_rel_linear', 'linear interpolation is off by')),
                 _card(figures, 'depth.valid_share', 'of all pixels'),
                 _card(figures, 'depth.median', 'over the pixels with depth'),
                 _card(figures, 'photo.error', _against(
                     figures, 'photo.unmoved', 'left against moved right image; unmoved'))]
    return [text for text in (*depth, *_motion_cards(data)) if isinstance(text, str)]


def _motion_cards(data: ReportData) -> list[str]:
    figures = data.figures
    if 'flow.epe' in figures:
        flow = [_card(figures, 'flow.epe', _against(figures, 'flow.epe_zero',
                                                    'no motion would be off by'))]
    else:
        flow = [_card(figures, 'flow.photo', _against(
            figures, 'flow.photo_unmoved', 'image before against moved image; unmoved'))]
        if not data.has_depth:
            flow = [_card(figures, 'flow.valid_share', 'of all pixels'),
                    _card(figures, 'flow.median', 'over the pixels with flow'), *flow]
    return [*flow, _odometry_card(data)]


def _odometry_card(data: ReportData) -> str:
    figures = data.figures
    if data.track.stands_still and 'odometry.away' in figures:
        return html.card('Odometry while standing',
                         *number_and_unit('odometry.away', figures['odometry.away']),
                         f'and {_text(figures, "odometry.turn")}, although nothing moved')
    if 'odometry.drift_percent' in figures:
        return _card(figures, 'odometry.drift_percent', _against(
            figures, 'odometry.true_path', 'of the true path of'))
    return _card(figures, 'odometry.path', 'the bag has no true path')


def _run_cards(data: ReportData) -> list[str]:
    lost = len(data.frames) - data.num_answered
    more = 'none lost' if lost == 0 else f'{lost} without an answer'
    if len(data.outputs) > 1:
        more += ''.join(f'; {OUTPUT_NAMES[output.task]} {output.answered} of {output.possible}'
                        for output in data.outputs if output.task != 'stereo')
    texts = [html.card(f'{data.subject.capitalize()} answered',
                       f'{data.num_answered}/{len(data.frames)}', '', more)]
    times = percentiles(data.latencies_ms)
    if times:
        result = 'depth' if data.has_depth else 'flow'
        what = f'image sent to {result} received' if data.mode == LIVE else \
            f'images in to {result} out'
        texts.append(html.card('Latency, median', f'{times["p50"]:.0f}', 'ms',
                               f'p95 {times["p95"]:.0f} ms; {what}'))
    if data.rate_hz:
        texts.append(html.card('Rate', significant(data.rate_hz, 2), 'frames/s',
                               'answered over the whole run'))
    return texts


def _card(figures: dict[str, Metric], name: str, more: str) -> str:
    if name not in figures:
        return ''
    return html.card(describe(name).label, *number_and_unit(name, figures[name]), more)


def _against(figures: dict[str, Metric], name: str, words: str) -> str:
    return f'{words} {_text(figures, name)}' if name in figures else ''


def _text(figures: dict[str, Metric], name: str) -> str:
    if name not in figures:
        return '-'
    number, unit = number_and_unit(name, figures[name])
    return f'{number} {unit}'.strip()
