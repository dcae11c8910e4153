# SPDX-License-Identifier: Apache-2.0
"""Means and spreads over seeds, paired differences between rows, and what they say of claims."""
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

Record = dict[str, Any]   # of a finished leg


@dataclass(frozen=True)
class Figure:
    """A figure of merit: which value of a validation it is, and how it is shown."""

    key: str
    label: str
    unit: str
    factor: float = 1.0
    digits: int = 2
    more_is_better: bool = False


STEREO = (Figure('stereo_epe_px', 'stereo EPE', 'px', 1, 3),
          Figure('stereo_bad_2', 'stereo bad-2', '%', 100, 1))
FLOW = (Figure('flow_epe_px', 'flow EPE', 'px', 1, 3),)
FIGURES = {   # task -> what its tables show
    'stereo': STEREO, 'flow': FLOW, 'multi': STEREO + FLOW,
    'depth': (Figure('abs_rel', 'abs_rel', '-', 1, 3),
              Figure('delta_1', 'delta1', '%', 100, 1, True)),
    'pose': (Figure('translation_m', 'translation error', 'cm', 100, 1),
             Figure('rotation_deg', 'rotation error', 'deg'))}


class Spread(NamedTuple):
    """Mean and standard deviation (n - 1) over seeds; None of fewer than two."""

    mean: float
    deviation: float | None
    count: int


def spread(values: Sequence[float]) -> Spread:
    """
    Return mean and standard deviation of at least one value.

    :raises ValueError: If there is none.
    """
    if not len(values):
        raise ValueError('a mean needs a value')
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), deviation, len(values))


def paired_lead(better: dict[int, float], than: dict[int, float],
                more_is_better: bool = False) -> Spread | None:
    """
    Return by how much one row is ahead of another, seed by seed; None without a common seed.

    :param better: Seed -> value; seeds share data and fresh heads, so that what they have in
        common cancels.
    """
    sign = 1 if more_is_better else -1
    common = sorted(set(better) & set(than))
    return spread([sign * (better[seed] - than[seed]) for seed in common]) if common else None


def verdict(lead: Spread, better: Spread, than: Spread) -> str:
    """
    Say what a lead is worth.

    It counts if it is greater than its own standard deviation and than those of both rows.
    """
    if lead.deviation is None:
        return 'one seed only'
    bound = max(part.deviation or 0.0 for part in (lead, better, than))
    if abs(lead.mean) <= bound:
        return 'within the spread'
    return 'holds' if lead.mean > 0 else 'the reverse'


def summarise(records: Sequence[Record]) -> list[dict[str, Any]]:
    """
    Return one entry for each figure of each row, cell and fraction.

    :param records: Of finished legs, in any order; those of pre-training are left out.
    """
    entries = []
    for cell, fraction, row in _places(records):
        chosen = _of(records, cell, fraction, row)
        for figure in FIGURES[next(iter(chosen.values()))['task']]:
            values = _values(chosen, figure)
            entries.append({'cell': cell, 'fraction': fraction, 'row': row,
                            'figure': asdict(figure), **spread(list(values.values()))._asdict(),
                            'seeds': sorted(values)})
    return entries


def judge(claim: dict[str, Any], records: Sequence[Record]) -> list[dict[str, Any]]:
    """
    Compare the two rows of a claim wherever both are known.

    :param claim: ``better``, ``than`` and ``cells``.
    :return: For each cell, fraction and figure the paired lead, and the verdict.
    """
    found = []
    for cell, fraction in dict.fromkeys(place[:2] for place in _places(records)):
        rows = [_of(records, cell, fraction, claim[name]) for name in ('better', 'than')]
        if cell not in claim['cells'] or not all(rows):
            continue
        for figure in FIGURES[next(iter(rows[0].values()))['task']]:
            values = [_values(row, figure) for row in rows]
            lead = paired_lead(*values, figure.more_is_better)
            if lead is not None:
                sides = [spread(list(side.values())) for side in values]
                found.append({'cell': cell, 'fraction': fraction, 'figure': asdict(figure),
                              **lead._asdict(), 'verdict': verdict(lead, *sides)})
    return found


def _places(records: Sequence[Record]) -> list[tuple[str, float, str]]:
    """Return cell, fraction and row of fine-tunings, each once, in the order of the records."""
    return list(dict.fromkeys((record['cell'], record['fraction'], record['row'])
                              for record in records if record['cell'] is not None))


def _of(records: Sequence[Record], cell: str, fraction: float, row: str) -> dict[int, Record]:
    return {record['seed']: record for record in records
            if (record['cell'], record['fraction'], record['row']) == (cell, fraction, row)}


def _values(records: dict[int, Record], figure: Figure) -> dict[int, float]:
    return {seed: figure.factor * record['figures'][figure.key]
            for seed, record in records.items()}
