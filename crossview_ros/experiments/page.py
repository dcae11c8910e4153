# SPDX-License-Identifier: Apache-2.0
"""The page of all experiments, made from their results alone."""
import json
from pathlib import Path
from typing import Any

from crossview_ros.experiments.curves import draw_curves
from crossview_ros.experiments.results import write_results
from crossview_ros.experiments.tables import section

HEAD = """# Experiments

Written by `crossview experiment`, from the results that lie beside this page. Each number is the
last validation of a run, on held-out rendered records that are the same for all rows: mean ±
standard deviation (n - 1) over the seeds of the fine-tuning. The pre-training has one seed.
Rows of a table differ in their pre-training only."""


def write_page(results: dict[str, Any], page: Path) -> None:
    """
    Put an experiment's results and diagrams beside a page, and write it anew.

    :param page: Markdown file; the folder of the same stem holds results and diagrams of all
        experiments that it shows.
    """
    folder = page.with_suffix('')
    folder.mkdir(parents=True, exist_ok=True)
    write_results(results, folder / f'{results["name"]}.json')
    for cell, diagram in draw_curves(results).items():
        (folder / _picture(results['name'], cell)).write_bytes(diagram)
    page.write_text(page_text(folder), encoding='utf-8')


def page_text(folder: Path) -> str:
    """Return the markdown of all results (``*.json``) of a folder that lies beside the page."""
    parts = [HEAD]
    for path in sorted(folder.glob('*.json')):
        results = json.loads(path.read_text(encoding='utf-8'))
        pictures = {cell: _picture(results['name'], cell) for cell in results['cells']}
        parts.append(section(results, {cell: f'{folder.name}/{picture}'
                                       for cell, picture in pictures.items()
                                       if (folder / picture).is_file()}))
    return '\n\n'.join(parts).rstrip('\n') + '\n'


def _picture(name: str, cell: str) -> str:
    return f'{name}_{cell}.png'
