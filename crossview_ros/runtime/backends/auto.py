# SPDX-License-Identifier: Apache-2.0
"""
Choose a backend: the fastest of those that give the numbers of PyTorch, measured once.

The choice is kept in the cache folder, for the same weights, size, machine and versions.
"""
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata, util
import json
import os
from pathlib import Path
import statistics
import time

from crossview_ros.errors import BackendError
from crossview_ros.runtime.backends import Backend, BackendOptions, open_backend
from crossview_ros.runtime.backends.cache_folder import key_of, write_file
from crossview_ros.runtime.manifest import ModelManifest
from crossview_ros.runtime.parity import compare_backends, run_heads
import numpy as np

REFERENCE, RIVAL = 'torch', 'onnxruntime'
NUM_ROUNDS = 5
LIMIT_S = 2.0      # of the rounds, together
MIN_GAIN = 1.1     # a rival that is faster by less is not worth other rounding
MAX_WEIGHTS_MB = 100.0   # exporting more takes longer than a choice may
_Choice = tuple[str, str]   # backend, reason


def open_chosen(name: str, folder: Path, manifest: ModelManifest, options: BackendOptions,
                size_hw: tuple[int, int], heads: Iterable[str]) -> tuple[Backend, str]:
    """
    Open a backend by name, or the one that suits best.

    :param name: One of BACKENDS, or 'auto'.
    :param size_hw: Size of the network's input [px] for which to choose.
    :param heads: What will be run.
    :return: The backend, and in a few words why it runs.
    :raises BackendError: If it cannot be opened.
    :raises CheckpointError: If files of the model are missing or damaged.
    """
    if name != 'auto':
        return open_backend(name, folder, manifest, options), 'chosen by name'
    without_trial = _only_one(manifest, options)
    if without_trial is not None:
        return open_backend(without_trial[0], folder, manifest, options), without_trial[1]
    path = options.cache / 'auto' / f'{_key(manifest, options, size_hw, heads)}.json'
    choice = _read(path)
    if choice is not None:
        return open_backend(choice[0], folder, manifest, options), choice[1]
    return _try_both(folder, manifest, options, size_hw, tuple(heads), path)


def _only_one(manifest: ModelManifest, options: BackendOptions) -> _Choice | None:
    """Return the only backend that is possible, or worth a trial."""
    if options.precision not in ('auto', 'fp32'):
        return RIVAL, f"precision {options.precision} rules out '{REFERENCE}'"
    if not _installed('torch'):
        return RIVAL, 'PyTorch is not installed'
    for package in ('onnxruntime', 'onnx'):
        if not _installed(package):
            return REFERENCE, f'{package} is not installed'
    return None


def _try_both(folder: Path, manifest: ModelManifest, options: BackendOptions,
              size_hw: tuple[int, int], heads: tuple[str, ...], path: Path) \
        -> tuple[Backend, str]:
    reference = open_backend(REFERENCE, folder, manifest, options)
    weights_mb = sum((folder / name).stat().st_size for name in manifest.files) / 1e6
    if weights_mb > MAX_WEIGHTS_MB:
        return reference, (f'weights of {weights_mb:.0f} MB take long to export; backend '
                           f"'{RIVAL}' does it")
    options.progress(f'choosing a backend for {size_hw[0]}x{size_hw[1]}')
    rival = None
    try:
        rival = open_backend(RIVAL, folder, manifest, options)
        if rival.device != reference.device:
            raise BackendError(f'{RIVAL} has no {reference.device} here')
        chosen, reason = _race(reference, rival, manifest, size_hw, heads)
        write_file(path, lambda to: to.write_text(json.dumps(
            {'backend': chosen.name, 'reason': reason})))
    except BackendError as error:   # torch works in any case
        chosen, reason = reference, str(error)
    for loser in (reference, rival):
        if loser is not None and loser is not chosen:
            loser.close()
    return chosen, reason


def _race(reference: Backend, rival: Backend, manifest: ModelManifest, size_hw: tuple[int, int],
          heads: tuple[str, ...]) -> tuple[Backend, str]:
    """Return the better backend and why."""
    pair = sample_pair(size_hw)
    worst = max(compare_backends(rival, reference, manifest, heads, [pair]),
                key=lambda parity: parity.relative / parity.tolerance)
    if not worst.ok:
        return reference, (f"'{rival.name}' is off by {worst.relative:.1e} of {worst.output}, "
                           f'more than {worst.tolerance:.1e}')
    times_s: dict[str, list[float]] = {reference.name: [], rival.name: []}
    start_s = time.perf_counter()
    while len(times_s[rival.name]) < NUM_ROUNDS and (
            not times_s[rival.name] or time.perf_counter() - start_s < LIMIT_S):
        for backend in (reference, rival):   # in turn: what slows the machine slows both
            times_s[backend.name].append(_elapsed_s(backend, manifest, heads, pair))
    mine_ms, its_ms = (1e3 * statistics.median(times_s[backend.name])
                       for backend in (reference, rival))
    figures = (f'{reference.name} {mine_ms:.0f} ms, {rival.name} {its_ms:.0f} ms at '
               f'{size_hw[0]}x{size_hw[1]} on {reference.device}, deviation '
               f'{worst.relative:.0e} of {worst.output}')
    return (rival if its_ms * MIN_GAIN < mine_ms else reference), figures


def sample_pair(size_hw: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """
    Return two views: blocks of random colours, and the same 4 px further left.

    :return: (1, h, w, 3) uint8 each.
    """
    rows, cols = size_hw
    blocks = np.random.default_rng(seed).integers(
        0, 256, (1, -(-rows // 8), -(-cols // 8) + 1, 3), np.uint8)
    wide = blocks.repeat(8, 1).repeat(8, 2)
    return tuple(np.ascontiguousarray(wide[:, :rows, shift:shift + cols]) for shift in (0, 4))


def _elapsed_s(backend: Backend, manifest: ModelManifest, heads: tuple[str, ...],
               pair: tuple[np.ndarray, np.ndarray]) -> float:
    start_s = time.perf_counter()
    run_heads(backend, manifest, heads, pair)   # returns with the outputs on the host
    return time.perf_counter() - start_s


def _key(manifest: ModelManifest, options: BackendOptions, size_hw: tuple[int, int],
         heads: Iterable[str]) -> str:
    return key_of({
        'files': manifest.files, 'heads': sorted(heads), 'size_hw': list(size_hw),
        'device': options.device, 'num_threads': options.num_threads,
        'omp': os.environ.get('OMP_NUM_THREADS'), 'processor': _processor(),
        'versions': _versions(),
        'tolerance': manifest.tolerance})


def _versions() -> dict[str, str]:
    """Return the versions of what competes; ONNX Runtime has a name for each device."""
    found = {}
    for package in ('torch', 'onnx', 'onnxruntime', 'onnxruntime-gpu', 'crossview_ros'):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _processor() -> list[str | int | None]:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return [names[0] if names else None, os.cpu_count()]


def _read(path: Path) -> _Choice | None:
    try:
        kept = json.loads(path.read_text(encoding='utf-8'))
        return (kept['backend'], kept['reason']) if kept['backend'] in (REFERENCE, RIVAL) else None
    except (OSError, ValueError, KeyError, TypeError):   # none, or damaged: choose again
        return None


def _installed(package: str) -> bool:
    return util.find_spec(package) is not None
