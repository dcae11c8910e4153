# SPDX-License-Identifier: Apache-2.0
"""results.json: all that the tables, the curves and the page of an experiment are made of."""
from dataclasses import asdict
import json
import os
from pathlib import Path
from typing import Any

from crossview_ros.experiments.legs import finished
from crossview_ros.experiments.plan import ExperimentConfig, Leg
from crossview_ros.experiments.reproduction import reproduction, settings_digests
from crossview_ros.experiments.summary import judge, summarise

RESULTS = 'results.json'


def gather(experiment: ExperimentConfig, legs: list[Leg], folder: Path, name: str,
           command: str, earlier: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Collect what the finished legs have measured.

    :param legs: Of the whole experiment.
    :param name: Of the experiment, with its size.
    :param command: That does it again.
    :param earlier: Results of the same experiment that these are compared with.
    :return: Plain values; the configs of the runs stay in their folders.
    """
    found = [finished(leg, folder) for leg in legs]
    digests = settings_digests(legs)
    records = [{**{key: value for key, value in record.items() if key != 'config'},
                'settings': digests[record['name']]} for record in found if record is not None]
    claims = [{**asdict(claim), 'cells': list(claim.cells)} for claim in experiment.claims]
    again = {} if earlier is None else \
        {'reproduction': reproduction(claims, records, earlier['legs'])}
    return {'name': name, 'title': experiment.title, 'about': experiment.about,
            'command': command, 'jobs': experiment.jobs, 'num_legs': len(legs),
            'rows': {key: row.label for key, row in experiment.rows.items()},
            'cells': {key: cell.label for key, cell in experiment.cells.items()},
            'summary': summarise(records),
            'claims': [{**claim, 'leads': judge(claim, records)} for claim in claims],
            'legs': records, **again}


def write_results(results: dict[str, Any], path: Path) -> None:
    """Write them in one piece."""
    temporary = path.with_name(path.name + '.tmp')
    temporary.write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    os.replace(temporary, path)
