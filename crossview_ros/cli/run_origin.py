# SPDX-License-Identifier: Apache-2.0
"""Where the weights of a run come from: its chain of runs, what they saw, and the licence."""
from pathlib import Path
from typing import Any, NamedTuple

from crossview_ros.errors import CheckpointError

LICENCE = 'Apache-2.0'   # of what the package trained on rendered scenes alone
RENDERED = 'rendered scenes (crossview_ros.data.synthetic)'


class Origin(NamedTuple):
    """What weights were made of."""

    legs: list[dict[str, Any]]   # what each run of the chain did, the first one first
    data: list[str]              # what they were trained on
    licence: str | None          # None: nobody said


def origin_of(source: str | Path) -> Origin:
    """
    Follow what a run started from to the beginning.

    A chain may begin with a model, whose manifest knows the rest; of runs that are gone and of
    foreign files only the name is known.

    :param source: Folder of a run; name, folder or file of a model.
    """
    from crossview_ros.training.setup import load_run
    path = Path(source)
    if not (path / 'config.yaml').is_file():
        return _origin_of_model(source)
    config, _, _, history = load_run(path)
    start = config.model.start_from
    before = Origin([], [], LICENCE) if start is None else origin_of(start)
    # a model of an earlier export of this very run
    legs = [leg for leg in before.legs if leg['run'] != str(path)]
    legs.append({'run': str(path), 'task': config.task, 'steps': history['step'],
                 'minutes': round(history['elapsed_s'] / 60, 1)})
    seen = _seen(config)
    own = before.licence if seen == RENDERED else None
    return Origin(legs, [*before.data, *([] if seen in before.data else [seen])], own)


def _origin_of_model(source: str | Path) -> Origin:
    from crossview_ros.runtime.manifest import find_model, load_manifest
    nameless = Origin([{'run': str(source)}], [f'what {source} was trained on'], None)
    try:
        manifest = load_manifest(find_model(source))
    except CheckpointError:   # no model of ours
        return nameless
    notes = manifest.provenance
    return Origin(notes.get('legs') or nameless.legs,
                  [RENDERED] if str(notes.get('data', '')).startswith(RENDERED) else nameless.data,
                  manifest.licence)


def _seen(config: Any) -> str:
    """Say what a run of this `RunConfig` was trained on."""
    if config.data.source == 'rendered':
        return RENDERED
    if config.data.source == 'pairs':
        return f'pairs of recordings ({config.data.folder})'
    return 'data sets: ' + ', '.join(dict.fromkeys(use.name for use in config.data.mixture))
