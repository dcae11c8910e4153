# SPDX-License-Identifier: Apache-2.0
"""Put the page of a report together: summary, pictures, accuracy, time, losses, what ran."""
from html import escape

from crossview_ros.metrics import Metric
from crossview_ros.replay import report_html as html
from crossview_ros.replay.figures import describe, number_and_unit, position, significant
from crossview_ros.replay.metrics_file import percentiles
from crossview_ros.replay.report_data import LIVE, Panel, ReportData
from crossview_ros.replay.report_panels import panel_grid
from crossview_ros.replay.report_style import CSS

_PLOT_TITLES = {
    'latency_histogram': 'Latency',
    'course': 'Course of the run',
    'error_by_range': 'Depth error by distance',
    'confidence_reliability': 'Is the confidence honest?',
}


def build_page(data: ReportData, tiles: list[tuple[Panel, dict[str, bytes]]],
               plots: dict[str, bytes]) -> str:
    """
    Return report.html.

    :param tiles: Per pictured frame, column name -> PNG.
    :param plots: Diagram name -> PNG, from report_plots.
    """
    body = [
        _header(data), _cards(data), _notes(data),
        panel_grid(data, tiles),
        html.section('How accurate' if data.has_truth else 'What the output is like',
                     _accuracy_hint(data), _accuracy(data, plots)),
        html.section('How fast', _speed_hint(data), _speed(data, plots)),
        html.section('What came in, what went out', 'Every stereo pair is accounted for.',
                     _counts(data)),
        html.section('What ran', '', _facts(data)),
        '<footer>The same figures for machines: metrics.json beside this file; its keys are '
        'explained by their "meaning".</footer>',
    ]
    return ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<link rel="icon" href="data:,"><title>{escape(data.title)}</title>'
            f'<style>{CSS}</style></head>\n<body><main>\n' + '\n'.join(filter(None, body))
            + '\n</main></body></html>\n')


def summary_sentence(data: ReportData) -> str:
    """Say in plain words what the run shows, and what it cannot show."""
    subject = 'A live ROS 2 node' if data.mode == LIVE else 'Perception, run in process,'
    rate = f' at {significant(data.rate_hz, 2)} frames/s' if data.rate_hz else ''
    parts = [f'{subject} answered {data.num_answered} of {len(data.frames)} stereo pairs{rate}.']
    figures = data.figures
    if 'depth.abs_rel' in figures:
        parts.append(f'Its depth in metres is off by {_text(figures, "depth.abs_rel")} of the '
                     f'true depth on average; {_text(figures, "depth.delta_1")} of the pixels are '
                     f'within a factor of 1.25, and {_text(figures, "depth.coverage")} of the '
                     'true pixels in range got a depth.')
    elif not data.has_truth:
        parts.append('The bag holds no true depth, so this report can show the depth but not say '
                     'how wrong it is.')
    return ' '.join(parts)


def _text(figures: dict[str, Metric], name: str) -> str:
    if name not in figures:
        return '-'
    number, unit = number_and_unit(name, figures[name])
    return f'{number} {unit}'.strip()


def _header(data: ReportData) -> str:
    badge = 'live ROS 2 node' if data.mode == LIVE else 'in process, without ROS'
    return (f'<header><span class="badge">{badge}</span><h1>{escape(data.title)}</h1>'
            f'<p class="lead">{escape(summary_sentence(data))}</p></header>')


def _cards(data: ReportData) -> str:
    figures = data.figures
    cards = [_figure_card(figures, 'depth.abs_rel', 'missing pixels count as 100 %'),
             _figure_card(figures, 'depth.delta_1', 'of true pixels within a factor of 1.25'),
             _figure_card(figures, 'depth.coverage', 'of true pixels in range got a depth'),
             _figure_card(figures, 'disparity.epe', _constant_text(data)),
             _figure_card(figures, 'disparity.bad_2', 'of true pixels off by more than 2 px')]
    if not data.has_truth:
        cards += [_figure_card(figures, 'depth.valid_share', 'of all pixels'),
                  _figure_card(figures, 'depth.median', 'over the pixels with depth'),
                  _figure_card(figures, 'photo.error', _unmoved_text(data))]
    lost = len(data.frames) - data.num_answered
    cards.append(html.card('Stereo pairs answered', f'{data.num_answered}/{len(data.frames)}', '',
                           'none lost' if lost == 0 else f'{lost} without an answer'))
    times = percentiles(data.latencies_ms)
    if times:
        what = 'image sent to depth received' if data.mode == LIVE else 'images in to depth out'
        cards.append(html.card('Latency, median', f'{times["p50"]:.0f}', 'ms',
                               f'p95 {times["p95"]:.0f} ms; {what}'))
    if data.rate_hz:
        cards.append(html.card('Rate', significant(data.rate_hz, 2), 'frames/s',
                               'answered over the whole run'))
    cards = [text for text in cards if text]
    columns = 3 if len(cards) in (3, 5, 6) else 4
    return f'<div class="cards" style="--columns:{columns}">{"".join(cards)}</div>'


def _figure_card(figures: dict[str, Metric], name: str, more: str) -> str:
    if name not in figures:
        return ''
    return html.card(describe(name).label, *number_and_unit(name, figures[name]), more)


def _constant_text(data: ReportData) -> str:
    constant = data.figures.get('disparity.epe_constant')
    return '' if constant is None else \
        f'the best constant would be off by {significant(constant.value)} px'


def _unmoved_text(data: ReportData) -> str:
    unmoved = data.figures.get('photo.unmoved')
    return '' if unmoved is None else \
        f'left against moved right image; unmoved {significant(unmoved.value)}'


def _notes(data: ReportData) -> str:
    if not data.notes:
        return ''
    items = ''.join(f'<li>{escape(note)}</li>' for note in data.notes)
    return f'<div class="notes"><ul>{items}</ul></div>'


def _accuracy_hint(data: ReportData) -> str:
    return 'Against the ground truth of the bag. Each figure is computed per frame and averaged ' \
        'over the frames.' if data.has_truth else \
        'Without ground truth these figures describe the output; they do not judge it.'


def _accuracy(data: ReportData, plots: dict[str, bytes]) -> str:
    names = sorted(data.figures, key=position)
    rows = [(describe(name).label, *number_and_unit(name, data.figures[name]),
             describe(name).meaning) for name in names]
    if not rows:
        return ''
    figures = html.box('Figures', html.table(('figure', 'value', 'unit', 'meaning'), rows,
                                             numbers=(1,), meanings=(3,)))
    diagrams = ''.join(_plot(name, plots) for name in ('error_by_range', 'confidence_reliability'))
    return f'<div class="plots">{diagrams}<div class="wide">{figures}</div></div>'


def _speed_hint(data: ReportData) -> str:
    return 'From the moment a stereo pair is published to the moment its depth image is ' \
        'received by another process, transport included.' if data.mode == LIVE else \
        'From images in memory to depth in memory; reading the bag is not counted.'


def _speed(data: ReportData, plots: dict[str, bytes]) -> str:
    histogram = _plot('latency_histogram', plots)
    run_course = _plot('course', plots)
    rows = [(stage, f'{times["p50"]:.1f}', f'{times["p95"]:.1f}', 'ms')
            for stage, times in ((stage, percentiles(values))
                                 for stage, values in data.stages_ms.items()) if times]
    stages = html.box('Time by stage', html.table(('stage', 'median', 'p95', 'unit'), rows,
                                                  numbers=(1, 2))) if rows else ''
    if stages and run_course:
        run_course = f'<div class="wide">{run_course}</div>'
    body = histogram + stages + run_course
    return f'<div class="plots">{body}</div>' if body else ''


def _plot(name: str, plots: dict[str, bytes]) -> str:
    if name not in plots:
        return ''
    title = _PLOT_TITLES[name]
    return html.box(title, html.picture(plots[name], title))


def _counts(data: ReportData) -> str:
    if not data.counts:
        return ''
    rows = [(count.name, str(count.value), count.meaning) for count in data.counts]
    losses = [count.kind == 'loss' and count.value > 0 for count in data.counts]
    return f'<div class="box">' \
        f'{html.table(("", "count", "meaning"), rows, (1,), (2,), losses)}</div>'


def _facts(data: ReportData) -> str:
    boxes = ''.join(html.box(title, html.fact_table(facts))
                    for title, facts in data.facts.items() if facts)
    command = html.box('The command that made this report',
                       f'<pre>{escape(data.command)}</pre>') if data.command else ''
    return f'<div class="panels">{command}<div class="twocol">{boxes}</div></div>'
