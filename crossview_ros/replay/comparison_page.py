# SPDX-License-Identifier: Apache-2.0
"""Print a comparison of two reports as rows of text, and write it as a page."""
from html import escape
import math

from crossview_ros.metrics import Metric
from crossview_ros.replay import report_html as html
from crossview_ros.replay.comparison import BETTER, Comparison, Difference, LATENCY, WORSE
from crossview_ros.replay.figures import describe, number_and_unit
from crossview_ros.replay.report_style import CSS

HEADER = ('figure', 'A', 'B', 'B - A', '95 % interval', 'unit', 'frames', 'B is')


def comparison_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a row of text for each figure, the columns as in `HEADER`."""
    return [_row(entry) for entry in comparison.differences]


def verdict_sentence(comparison: Comparison) -> str:
    """Say which differences are beyond the interval."""
    words = []
    for verdict in (BETTER, WORSE):
        names = [_label(entry.name).lower() for entry in comparison.differences
                 if entry.verdict == verdict]
        words.append(f'B is {verdict} in {", ".join(names)}.' if names
                     else f'B is {verdict} in nothing beyond the interval.')
    return ' '.join(words)


def comparison_page(comparison: Comparison, command: str) -> str:
    """Return the page."""
    rows = comparison_rows(comparison)
    losses = [entry.verdict == WORSE for entry in comparison.differences]
    table = html.table(HEADER, rows, numbers=(1, 2, 3, 4, 6), losses=losses)
    titles = ''.join(f'<li>{letter}: {escape(title)}, {count} frames</li>' for letter, title, count
                     in zip('AB', comparison.titles, comparison.num_frames))
    hint = (f'{comparison.num_common} frames have the same stamp in both and are compared in '
            'pairs. The interval is that of the mean difference: in 95 of 100 resamples of blocks '
            'of frames it lies within. Figures of the whole run, without frames, have none.')
    body = (f'<header><h1>Two reports compared</h1><p class="lead">'
            f'{escape(verdict_sentence(comparison))}</p></header>'
            f'<div class="notes"><ul>{titles}</ul></div>'
            + html.section('Differences', hint, f'<div class="box">{table}</div>')
            + html.section('The command that made this page', '',
                           f'<div class="box"><pre>{escape(command)}</pre></div>'))
    return ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,"><title>Two reports compared</title>'
            f'<style>{CSS}</style></head>\n<body><main>\n{body}\n</main></body></html>\n')


def _row(entry: Difference) -> tuple[str, ...]:
    texts = [number_and_unit(entry.name, Metric(value, entry.unit))
             for value in (entry.first, entry.second, entry.interval.mean, entry.interval.low,
                           entry.interval.high)]
    limits = f'{_signed(texts[3][0])} to {_signed(texts[4][0])}' \
        if math.isfinite(entry.interval.low) else '-'
    return (_label(entry.name), texts[0][0], texts[1][0], _signed(texts[2][0]), limits,
            texts[0][1], str(entry.num_frames) if entry.num_frames else 'run', entry.verdict)


def _signed(number: str) -> str:
    return f'+{number}' if number != '-' and float(number) > 0 else number


def _label(name: str) -> str:
    return 'Latency' if name == LATENCY else describe(name).label
