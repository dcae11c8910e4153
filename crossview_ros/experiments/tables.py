# SPDX-License-Identifier: Apache-2.0
"""Markdown of an experiment's results: tables with spreads, claims with verdicts, effort."""
from collections.abc import Sequence
from typing import Any

Results = dict[str, Any]


def section(results: Results, curves: dict[str, str]) -> str:
    """
    Return the markdown of one experiment.

    :param curves: Cell -> path of its diagram, as the page links it.
    """
    done, wanted = len(results['legs']), results['num_legs']
    parts = [f'## {results["title"]}', results['about'].strip(),
             f'    {results["command"]}']
    if done < wanted:
        parts.append(f'{done} of {wanted} runs are done; the same command goes on.')
    parts += [_claims(results)] if results['claims'] else []
    for cell, label in results['cells'].items():
        table = _cell(results, cell)
        if table:
            parts += [f'### {label}', table]
            parts += [f'![validation over steps]({curves[cell]})'] if cell in curves else []
    if 'reproduction' in results:
        parts += ['### Made again', _reproduction(results)]
    parts += ['### Effort', _effort(results)]
    return '\n\n'.join(parts) + '\n'


def _cell(results: Results, cell: str) -> str:
    """Return the table of a cell: rows by fraction, mean and spread of each figure."""
    entries = [entry for entry in results['summary'] if entry['cell'] == cell]
    figures = list({entry['figure']['key']: entry['figure'] for entry in entries}.values())
    places = dict.fromkeys((entry['fraction'], entry['row'])
                           for entry in sorted(entries, key=lambda entry: entry['fraction']))
    lines = []
    for fraction, row in places:
        found = {entry['figure']['key']: entry for entry in entries
                 if (entry['fraction'], entry['row']) == (fraction, row)}
        leg = next(leg for leg in results['legs'] if (leg['cell'], leg['fraction'], leg['row'])
                   == (cell, fraction, row))
        lines.append([f'{100 * fraction:g} % ({leg["num_records"]})', results['rows'][row],
                      *(_number(found[figure['key']]) for figure in figures),
                      str(len(next(iter(found.values()))['seeds']))])
    return table(['labels', 'pre-training', *map(_heading, figures), 'seeds'], lines)


def _claims(results: Results) -> str:
    """Return for each claim its paired leads, the verdicts, and the reason where one fails."""
    parts = ['### Claims', 'A lead is the mean of the differences seed by seed (the rows share '
             'data, their order, augmentation and fresh heads), ± their standard deviation over '
             'seeds; positive: as claimed. A claim holds where the lead is greater than this and '
             'than the standard deviation of either row.']
    for claim in results['claims']:
        parts.append(f'**{claim["text"]}** ({results["rows"][claim["better"]]} over '
                     f'{results["rows"][claim["than"]]})')
        if not claim['leads']:
            parts.append('Not measured yet.')
            continue
        lines = [[results['cells'][lead['cell']], f'{100 * lead["fraction"]:g} %',
                  _heading(lead['figure']), _number(lead, True), lead['verdict']]
                 for lead in claim['leads']]
        parts.append(table(['cell', 'labels', 'figure', 'lead', 'verdict'], lines))
        if claim['if_not'] and any(lead['verdict'] != 'holds' for lead in claim['leads']):
            parts.append(f'Where it does not hold: {claim["if_not"].strip()}')
    return '\n\n'.join(parts)


def _reproduction(results: Results) -> str:
    """Return how the means and verdicts of these results and earlier ones agree."""
    found = results['reproduction']
    figures, verdicts = found['figures'], found['verdicts']
    same = [verdict for verdict in verdicts if verdict['now'] == verdict['earlier']]
    text = (f'{found["num_runs"]} runs had been made before with the same settings. Of '
            f'{len(figures)} means over seeds, {sum(entry["within"] for entry in figures)} differ '
            'by no more than the standard deviation over seeds (the larger of both); of '
            f'{len(verdicts)} verdicts on claims, {len(same)} are the same.')
    if found['num_others']:
        text += (f' {found["num_others"]} runs had not been made before, or with other settings, '
                 'and are left out.')
    lines = [[results['cells'][entry['cell']], f'{100 * entry["fraction"]:g} %',
              results['rows'][entry['row']], _heading(entry['figure']),
              *(_rounded(entry, key) for key in ('earlier', 'now', 'spread')),
              'yes' if entry['within'] else 'no'] for entry in figures]
    parts = [text, table(['cell', 'labels', 'pre-training', 'figure', 'earlier', 'now', 'spread',
                          'within'], lines)] if lines else [text]
    others = [[verdict['claim'], results['cells'][verdict['cell']],
               f'{100 * verdict["fraction"]:g} %', _heading(verdict['figure']),
               verdict['earlier'], verdict['now']] for verdict in verdicts if verdict not in same]
    if others:
        parts.append(table(['claim', 'cell', 'labels', 'figure', 'earlier', 'now'], others))
    return '\n\n'.join(parts)


def _effort(results: Results) -> str:
    """Return what the runs of each kind took, and on what."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for leg in results['legs']:
        kind = ('pre-training', results['rows'][leg['row']]) if leg['cell'] is None \
            else (results['cells'][leg['cell']], 'each')
        groups.setdefault(kind, []).append(leg)
    lines = [[*kind, str(len(legs)), str(legs[0]['steps']), str(legs[0]['batch_size']),
              f'{sum(leg["minutes"] for leg in legs) / len(legs):.1f}', _last(legs)]
             for kind, legs in groups.items()]
    total = sum(leg['minutes'] for leg in results['legs'])
    machines = dict.fromkeys('{device}, {cores} cores, {threads} threads, torch {torch}'.format(
        **leg['environment']) for leg in results['legs'])
    return table(['runs', 'row', 'number', 'steps', 'batch', 'minutes each', 'last validation'],
                 lines) + (f'\n\n{total:.0f} minutes of training in all, {results["jobs"]} at a '
                           f'time: {"; ".join(machines)}.')


def _last(legs: Sequence[dict]) -> str:
    """Say what a pre-training reached: a low loss alone helps nobody."""
    if legs[0]['cell'] is not None:
        return ''
    names = {'loss': 'loss {:.3f}', 'reference_gain_percent': 'reference gains {:.0f} %',
             'inter_top10th_percent': 'point in the best tenth {:.0f} %'}
    figures = legs[0]['figures']
    return ', '.join(text.format(figures[name]) for name, text in names.items()
                     if name in figures)


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a markdown table whose source is aligned too."""
    rows = [heads, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    texts = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |'
             for row in rows]
    rule = '|' + '|'.join('-' * (width + 2) for width in widths) + '|'
    return '\n'.join([texts[0], rule, *texts[1:]])


def _heading(figure: dict) -> str:
    arrow = 'higher' if figure['more_is_better'] else 'lower'
    unit = '' if figure['unit'] == '-' else f' [{figure["unit"]}]'
    return f'{figure["label"]}{unit}, {arrow} is better'


def _rounded(entry: dict, key: str) -> str:
    return '-' if entry[key] is None else f'{entry[key]:.{entry["figure"]["digits"]}f}'


def _number(entry: dict, signed: bool = False) -> str:
    digits = entry['figure']['digits']
    mean = f'{entry["mean"]:{"+" if signed else ""}.{digits}f}'
    deviation = entry['deviation']
    return mean if deviation is None else f'{mean} ± {deviation:.{digits}f}'
