# SPDX-License-Identifier: Apache-2.0
"""Put the page of a report together: summary, pictures, accuracy, time, losses, what ran."""
from html import escape

from crossview_ros.replay import report_html as html
from crossview_ros.replay import report_summary as summary
from crossview_ros.replay.figures import describe, number_and_unit, position
from crossview_ros.replay.metrics_file import percentiles
from crossview_ros.replay.report_data import LIVE, ReportData
from crossview_ros.replay.report_flow import flow_section
from crossview_ros.replay.report_odometry import baseline_table, length_table
from crossview_ros.replay.report_panels import panel_section, Tiles
from crossview_ros.replay.report_style import CSS
from crossview_ros.replay.report_worst import worst_section

LIDAR = 'Depth against LiDAR'
_PLOT_TITLES = {
    'latency_histogram': 'Latency',
    'course': 'Course of the run',
    'error_by_range': 'Depth error by distance',
    'confidence_reliability': 'Is the confidence honest?',
    'lidar_scatter': LIDAR,
    'top_view': 'The way of the camera from above',
    'error_growth': 'How the error grows',
    'sparsification_disparity': 'Does confidence tell where the depth is wrong?',
    'sparsification_lidar': 'Does confidence tell where the depth differs from LiDAR?',
    'sparsification_flow': 'Does confidence tell where the flow is wrong?',
}
_SPARSIFICATION = tuple(name for name in _PLOT_TITLES if name.startswith('sparsification'))
# headline of a table of figures -> first words of their names
_GROUPS = {
    'Depth': ('depth', 'disparity', 'confidence', 'photo'),
    LIDAR: ('lidar',),
    'Optical flow': ('flow',),
    'Odometry': ('odometry',),
}
_OUTPUT_MEANINGS = {
    'stereo': 'stereo pairs that got a depth image',
    'flow': 'steps from one frame to the next that got a flow',
    'odometry': 'steps from one frame to the next that got a pose',
}


def build_page(data: ReportData, tiles: Tiles, flow_tiles: Tiles, plots: dict[str, bytes],
               worst_tiles: Tiles = (), worst_flow_tiles: Tiles = ()) -> str:
    """
    Return report.html.

    :param tiles: Per pictured frame, column name -> PNG.
    :param flow_tiles: The same of the flow.
    :param plots: Diagram name -> PNG, from report_plots; 'flow_wheel' beside flow pictures.
    :param worst_tiles: As tiles, of the worst frames.
    :param worst_flow_tiles: As flow_tiles, of the worst frames.
    """
    body = [
        summary.header(data), summary.cards(data), summary.notes(data),
        panel_section(data, tiles),
        flow_section(data, flow_tiles, plots.get('flow_wheel', b'')),
        html.section('Where it went', _path_hint(data),
                     _odometry(data, plots)),
        worst_section(data, worst_tiles, worst_flow_tiles),
        html.section('How accurate' if data.has_truth else 'What the output is like',
                     _accuracy_hint(data), _accuracy(data, plots)),
        html.section('How fast', _speed_hint(data), _speed(data, plots)),
        html.section('What came in, what went out', 'Every frame is accounted for.',
                     _counts(data)),
        html.section('What ran', '', _facts(data)),
        '<footer>The same figures for machines: metrics.json beside this file; its keys are '
        'explained by their "meaning"; per_frame.csv has a row for each frame.</footer>',
    ]
    return ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<link rel="icon" href="data:,"><title>{escape(data.title)}</title>'
            f'<style>{CSS}</style></head>\n<body><main>\n' + '\n'.join(filter(None, body))
            + '\n</main></body></html>\n')


def _path_hint(data: ReportData) -> str:
    lost = data.track.num_lost
    gaps = f' The motion of {lost} frames could not be found; what happened there is missing ' \
           'from the path.' if lost else ''
    frame = 'Seen from above in the frame of the first camera pose.'
    if len(data.track.compared()[0]) < 2:
        return f'{frame} The bag holds no true poses to compare with.{gaps}'
    truth = f' The true poses: {data.path_truth}.' if data.path_truth else ''
    return f'{frame} Estimate and truth start at the same pose; nothing else is fitted.' \
        f'{truth}{gaps}'


def _accuracy_hint(data: ReportData) -> str:
    return 'Against the ground truth of the bag, as far as it goes. Depth and flow figures are ' \
        'computed per frame and averaged over the frames.' if data.has_truth else \
        'Without ground truth these figures describe the output; they do not judge it.'


def _accuracy(data: ReportData, plots: dict[str, bytes]) -> str:
    tables = {}
    for title, prefixes in _GROUPS.items():
        names = sorted((name for name in data.figures if name.split('.')[0] in prefixes),
                       key=position)
        rows = [(describe(name).label, *number_and_unit(name, data.figures[name]),
                 describe(name).meaning) for name in names]
        if rows:
            table = html.table(('figure', 'value', 'unit', 'meaning'), rows, numbers=(1,),
                               meanings=(3,))
            tables[title] = html.box(f'{title}: figures', table)
    if not tables:
        return ''
    body = ''.join(_plot(name, plots) for name in (
        'error_by_range', 'confidence_reliability', *_SPARSIFICATION))
    if 'lidar_scatter' in plots:   # the table stands beside it
        body += _plot('lidar_scatter', plots) + tables.pop(LIDAR)
    wide = ''.join(f'<div class="wide">{table}</div>' for table in tables.values())
    return f'<div class="plots">{body}{wide}</div>'


def _speed_hint(data: ReportData) -> str:
    result = 'depth' if data.has_depth else 'flow'
    return f'From the moment a stereo pair is published to the moment its {result} image is ' \
        'received by another process, transport included.' if data.mode == LIVE else \
        f'From images in memory to {result} in memory; reading the bag is not counted.'


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


def _odometry(data: ReportData, plots: dict[str, bytes]) -> str:
    body = ''.join((_plot('top_view', plots), _plot('error_growth', plots), length_table(data),
                    baseline_table(data)))
    return f'<div class="plots">{body}</div>' if body else ''


def _plot(name: str, plots: dict[str, bytes]) -> str:
    if name not in plots:
        return ''
    title = _PLOT_TITLES[name]
    return html.box(title, html.picture(plots[name], title))


def _counts(data: ReportData) -> str:
    rows = [(f'{summary.OUTPUT_NAMES[output.task]} answered',
             f'{output.answered} of {output.possible}', _OUTPUT_MEANINGS[output.task])
            for output in data.outputs]
    losses = [output.answered < output.possible for output in data.outputs]
    rows += [(count.name, str(count.value), count.meaning) for count in data.counts]
    losses += [count.kind == 'loss' and count.value > 0 for count in data.counts]
    if not rows:
        return ''
    return f'<div class="box">' \
        f'{html.table(("", "count", "meaning"), rows, (1,), (2,), losses)}</div>'


def _facts(data: ReportData) -> str:
    boxes = ''.join(html.box(title, html.fact_table(facts))
                    for title, facts in data.facts.items() if facts)
    command = html.box('The command that made this report',
                       f'<pre>{escape(data.command)}</pre>') if data.command else ''
    return f'<div class="panels">{command}<div class="twocol">{boxes}</div></div>'
