# SPDX-License-Identifier: Apache-2.0
"""Small pieces of HTML that a report is put together from; every text is escaped."""
import base64
from collections.abc import Iterable, Sequence
from html import escape

from crossview_ros.replay.report_pictures import ColourBar


def card(name: str, value: str, unit: str, more: str = '') -> str:
    """Return one summary figure."""
    return (f'<div class="card"><div class="name">{escape(name)}</div>'
            f'<div class="value">{escape(value)}<span class="unit">{escape(unit)}</span></div>'
            f'<div class="more">{escape(more)}</div></div>')


def section(title: str, hint: str, body: str) -> str:
    """Return a headline, a sentence and a body; nothing where the body is empty."""
    if not body:
        return ''
    lead = f'<p class="hint">{escape(hint)}</p>' if hint else ''
    return f'<section><h2>{escape(title)}</h2>{lead}{body}</section>'


def picture(png: bytes, description: str) -> str:
    """Return an embedded PNG."""
    data = base64.b64encode(png).decode('ascii')
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (),
          meanings: Sequence[int] = (), losses: Sequence[bool] = ()) -> str:
    """
    Return a table.

    :param numbers: Columns to align right.
    :param meanings: Columns in small print.
    :param losses: Per row, whether it stands out as a loss.
    """
    def cell(tag: str, column: int, text: str) -> str:
        kind = 'number' if column in numbers else 'meaning' if column in meanings else ''
        return f'<{tag} class="{kind}">{escape(text)}</{tag}>' if kind else \
            f'<{tag}>{escape(text)}</{tag}>'

    lines = ['<tr>' + ''.join(cell('th', i, text) for i, text in enumerate(header)) + '</tr>']
    for index, row in enumerate(rows):
        kind = ' class="loss"' if index < len(losses) and losses[index] else ''
        cells = ''.join(cell('td', i, text) for i, text in enumerate(row))
        lines.append(f'<tr{kind}>{cells}</tr>')
    return f'<table>{"".join(lines)}</table>'


def fact_table(facts: dict[str, str]) -> str:
    """Return name and text in two columns."""
    rows = (f'<tr><td class="fact">{escape(name)}</td><td class="text">{escape(text)}</td></tr>'
            for name, text in facts.items())
    return f'<table>{"".join(rows)}</table>'


def box(title: str, body: str) -> str:
    """Return a framed body with a small headline."""
    return f'<div class="box"><h3>{escape(title)}</h3>{body}</div>'


def colour_bar(bar: ColourBar) -> str:
    """Return a colour scale with ticks."""
    ticks = ''.join(f'<span style="left:{100 * position:.1f}%">{escape(text)}</span>'
                    for position, text in bar.ticks)
    return (f'<div class="bar" style="background:linear-gradient(90deg,{",".join(bar.stops)})">'
            f'</div><div class="ticks">{ticks}</div>')
