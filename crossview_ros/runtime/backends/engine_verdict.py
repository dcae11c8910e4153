# SPDX-License-Identifier: Apache-2.0
"""
Let no engine answer before its numbers were compared with those of PyTorch in float32.

The verdict is kept beside the engines, so one GPU is asked once.
"""
import dataclasses
import json
import logging
from pathlib import Path

from crossview_ros.errors import BackendError
from crossview_ros.runtime.backends import (
    Backend, BackendOptions, open_backend, OUTPUT_OF_TASK)
from crossview_ros.runtime.backends.auto import sample_pair
from crossview_ros.runtime.backends.cache_folder import key_of, write_file
from crossview_ros.runtime.backends.engines import EngineSource
from crossview_ros.runtime.parity import compare_backends, OutputParity

logger = logging.getLogger(__name__)


def verify_engines(backend: Backend, source: EngineSource,
                   size_hw: tuple[int, int]) -> list[OutputParity]:
    """
    Compare a backend with PyTorch on the CPU, unless that was done before for these engines.

    Without PyTorch, as on a robot that got its engines from elsewhere, they run unverified, with
    a warning.

    :param backend: Has the engines of this size loaded, of the precision that it names.
    :return: The deviations; none where nobody could compare.
    :raises BackendError: If an output is off by more than the tolerance, with the figures.
    """
    path = source.cache / f'{_key(source, size_hw, backend.precision)}.parity.json'
    found = _read(path)
    if found is None:
        found = _measure(backend, source, size_hw)
        if found:
            _keep(path, found)
    wrong = [parity for parity in found if not parity.ok]
    if wrong:
        figures = ', '.join(f'{parity.graph} {parity.output} {parity.relative:.1e} (tolerance '
                            f'{parity.tolerance:.1e})' for parity in wrong)
        text = (f"'{backend.name}' in {backend.precision} at {size_hw[0]}x{size_hw[1]} is too "
                f'far from PyTorch: {figures}')
        logger.warning('%s', text)
        raise BackendError(text)
    return found


def _measure(backend: Backend, source: EngineSource,
             size_hw: tuple[int, int]) -> list[OutputParity]:
    source.options.progress(f'comparing {backend.precision} with PyTorch')
    try:
        reference = open_backend('torch', source.folder, source.manifest,
                                 BackendOptions(device='cpu', precision='fp32'))
    except BackendError as error:
        logger.warning('the engines run unverified: %s', error)
        return []
    try:
        heads = [task for task in source.manifest.tasks if task in OUTPUT_OF_TASK]
        return compare_backends(backend, reference, source.manifest, heads,
                                [sample_pair(size_hw)])
    finally:
        reference.close()


def _key(source: EngineSource, size_hw: tuple[int, int], precision: str) -> str:
    keys = source.keys(size_hw, precision)
    return key_of({'engines': sorted(key.digest for key in keys.values()),
                   'gpu': str(source.gpu), 'tolerance': source.manifest.tolerance})


def _read(path: Path) -> list[OutputParity] | None:
    try:
        return [OutputParity(**values) for values in json.loads(path.read_text('utf-8'))]
    except (OSError, ValueError, TypeError):   # none, or damaged
        return None


def _keep(path: Path, found: list[OutputParity]) -> None:
    text = json.dumps([dataclasses.asdict(parity) for parity in found])
    try:
        write_file(path, lambda part: part.write_text(text, 'utf-8'))
    except BackendError as error:
        logger.warning('%s', error)
