# SPDX-License-Identifier: Apache-2.0
"""Tables of odometry: drift by the length of the way, and beside a classical odometry."""
from crossview_ros.replay import report_html as html
from crossview_ros.replay.figures import describe, number_and_unit, position, significant
from crossview_ros.replay.report_data import ReportData
from crossview_ros.replay.subpaths import SubpathRow

OURS = 'crossview'


def length_table(data: ReportData) -> str:
    """Return the drift over sub-paths, a row for each length and method."""
    if not data.subpaths:
        return ''
    rows = [(subpath_name(row), row.method, significant(row.drift_percent), '%',
             significant(row.turn_deg_m), 'deg/m', str(row.count))
            for row in sorted(data.subpaths, key=lambda row: row.length_m)]
    table = html.table(('sub-paths of', 'method', 'drift', '', 'turn', '', 'sub-paths'), rows,
                       numbers=(2, 4, 6))
    return html.box('Drift by length: mean over all sub-paths, one from each frame on', table)


def baseline_table(data: ReportData) -> str:
    """Return the figures of the whole path beside those of a classical odometry."""
    if data.baseline is None:
        return ''
    theirs = data.baseline.figures
    names = sorted((name for name in theirs if name in data.figures), key=position)
    rows = [(describe(name).label, number_and_unit(name, data.figures[name])[0],
             *number_and_unit(name, theirs[name])) for name in names]
    lost = data.track.num_lost, data.baseline.track.num_lost
    rows.append(('Frames lost', str(lost[0]), str(lost[1]), ''))
    table = html.table(('figure', OURS, data.baseline.name, 'unit'), rows, numbers=(1, 2))
    return html.box(f'Beside {data.baseline.name} of OpenCV, frame to frame', table)


def subpath_name(row: SubpathRow) -> str:
    """Return the length of a row in words."""
    length = f'{significant(row.length_m)} m'
    return length if row.share is None else f'{length} ({row.share:.0%} of the path)'
