# SPDX-License-Identifier: Apache-2.0
"""Does a table come out again: its means and verdicts against those of earlier results."""
from collections.abc import Sequence
from dataclasses import replace
import hashlib
import json
from pathlib import Path
from typing import Any

from crossview_ros.config import to_dict
from crossview_ros.errors import ConfigError
from crossview_ros.experiments.plan import Leg
from crossview_ros.experiments.summary import judge, Record, summarise
from crossview_ros.training.run_config import RunConfig

HOW = ('log_every', 'checkpoint_every', 'engine', 'smoke')   # change nothing that is measured


def settings_digests(legs: Sequence[Leg]) -> dict[str, str]:
    """
    Return {name of a run: digest of all settings that its figures depend on}.

    Settings that have their default count as absent, so that a new one leaves digests as they
    are; those of the run that another starts from count as its own.

    :param legs: Each after the one that it starts from.
    """
    digests: dict[str, str] = {}
    for leg in legs:
        config, start = leg.config, leg.config.model.start_from
        if start in digests:
            config = replace(config, model=replace(config.model, start_from=digests[start]))
        default = to_dict(RunConfig(config.task, config.steps))
        changed = {key: value for key, value in _changed(to_dict(config), default).items()
                   if key not in HOW}
        told = json.dumps([config.task, config.steps, changed], sort_keys=True)
        digests[leg.name] = hashlib.sha256(told.encode()).hexdigest()[:16]
    return digests


def read_results(path: Path, name: str) -> dict[str, Any]:
    """
    Read the results of an experiment.

    :param name: Of the experiment, with its size.
    :raises ConfigError: If the file holds no results, or those of another experiment.
    """
    try:
        results = json.loads(path.read_text(encoding='utf-8'))
        found = results['name']
        for leg in results['legs']:
            leg['name'], leg['figures']
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f'{path}: cannot be read as the results of an experiment '
                          f'({type(error).__name__}: {error}); expected a results.json, or the '
                          'file beside a page') from error
    if found != name:
        raise ConfigError(f"{path}: holds the results of '{found}', not of '{name}'")
    return results


def reproduction(claims: Sequence[dict[str, Any]], now: Sequence[Record],
                 earlier: Sequence[Record]) -> dict[str, Any]:
    """
    Compare finished runs with earlier ones of the same names and settings.

    :return: ``num_runs`` that are compared and ``num_others`` of now that are not; ``figures``:
        for each mean over seeds both values, the larger standard deviation and whether they
        differ by no more than it; ``verdicts``: for each lead of a claim both verdicts.
    """
    known = {record['name']: record for record in earlier}
    again = [record for record in now if record['name'] in known
             and record['settings'] == known[record['name']].get('settings')]
    before = [known[record['name']] for record in again]
    return {'num_runs': len(again), 'num_others': len(now) - len(again),
            'figures': [_figure(*pair) for pair in zip(summarise(again), summarise(before))],
            'verdicts': [_verdict(claim, *pair) for claim in claims
                         for pair in zip(judge(claim, again), judge(claim, before))]}


def _changed(values: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """Return what differs from the default, nested mappings likewise."""
    return {key: _changed(value, default[key])
            if isinstance(value, dict) and isinstance(default.get(key), dict) else value
            for key, value in values.items() if key not in default or value != default[key]}


def _figure(now: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    place = {key: now[key] for key in ('cell', 'fraction', 'row', 'figure')}
    deviations = [entry['deviation'] for entry in (now, earlier)]
    bound = None if None in deviations else max(deviations)
    return {**place, 'now': now['mean'], 'earlier': earlier['mean'], 'spread': bound,
            'within': abs(now['mean'] - earlier['mean']) <= (bound or 0.0)}


def _verdict(claim: dict[str, Any], now: dict[str, Any],
             earlier: dict[str, Any]) -> dict[str, Any]:
    place = {key: now[key] for key in ('cell', 'fraction', 'figure')}
    return {'claim': claim['text'], **place, 'now': now['verdict'],
            'earlier': earlier['verdict']}
