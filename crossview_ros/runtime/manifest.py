# SPDX-License-Identifier: Apache-2.0
"""The manifest of a model folder: what goes in, what comes out, which files belong to it."""
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
import hashlib
from pathlib import Path
import re
from typing import Any, Literal

from crossview_ros.config import from_dict, load_yaml
from crossview_ros.errors import CheckpointError, ConfigError
from crossview_ros.geometry.tiling import parse_weight, TilingSpec
from crossview_ros.model_store import find_model, MANIFEST, WEIGHTS
import numpy as np

__all__ = ['find_model', 'gain_and_bias', 'InputNormalisation', 'load_manifest', 'MANIFEST',
           'ModelManifest', 'OutputSpec', 'parse_weight', 'TilingSpec', 'verify_files']

TASKS = ('stereo', 'flow', 'pose', 'depth')
LOG_SCALE_RANGES = {'laplace_bounded': (0.25, 4.0), 'laplace_bounded2': (3.0, 3.0)}


@dataclass(frozen=True)
class InputNormalisation:
    """What the network's input looks like: colours in [0, 1], minus mean, over std."""

    mean: tuple[float, float, float]   # in the order of ``channels``
    std: tuple[float, float, float]
    channels: Literal['rgb', 'bgr'] = 'rgb'

    def __post_init__(self) -> None:
        """Refuse a division by zero or less."""
        if min(self.std) <= 0:
            raise CheckpointError(f'normalisation: std must be greater than 0, got {self.std}')


def gain_and_bias(normalisation: InputNormalisation) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 (3,) each: a normalised channel is its pixels * gain - bias."""
    std = np.asarray(normalisation.std, np.float32)
    return 1 / (255 * std), np.asarray(normalisation.mean, np.float32) / std


@dataclass(frozen=True)
class OutputSpec:
    """
    One task's output: its unit, and how its log_scale c gives the scale b of a Laplace error.

    ``laplace``: log b = c; ``laplace_bounded``: b = (B - A) sigmoid(c) + A;
    ``laplace_bounded2``: log b = 2 A (sigmoid(c / B) - 0.5). Source: croco.md 6.2.
    """

    unit: str   # of the output and of b
    log_scale: Literal['laplace', 'laplace_bounded', 'laplace_bounded2'] | None = None
    log_scale_range: tuple[float, float] | None = None   # (A, B); None: the loss's own default
    # of depth and pose: they are those of a camera of this focal length [network px]; None: as
    # they are
    focal_px: float | None = None
    # of depth: its scale can be right; else only its shape. Of pose: translation is in metres;
    # else in median depths of the first view
    metric: bool = True

    def __post_init__(self) -> None:
        """Fill in the default range, and refuse one that gives no scale."""
        default = LOG_SCALE_RANGES.get(self.log_scale)
        low, high = self.log_scale_range or default or (1.0, 1.0)
        if self.log_scale_range is not None and default is None:
            raise CheckpointError(f'outputs: log_scale {self.log_scale!r} has no '
                                  f'log_scale_range, got {self.log_scale_range}')
        if not (low > 0 and high > 0) or self.log_scale == 'laplace_bounded' and low >= high:
            raise CheckpointError(f'outputs: log_scale_range of {self.log_scale} must be two '
                                  'numbers above 0, rising for laplace_bounded; got '
                                  f'{(low, high)}')
        object.__setattr__(self, 'log_scale_range', default and (low, high))


@dataclass(frozen=True)
class ModelManifest:
    """
    What models/<name>/manifest.yaml says.

    Contradictions raise CheckpointError. Nested parts may be given as plain values.
    """

    name: str
    architecture: dict[str, Any]          # preset, and the configuration that it stands for
    tasks: list[str]
    size_multiple: int                    # [px] of the network's input height and width
    default_size_hw: tuple[int, int]      # [px] largest working size; larger inputs shrink to it
    normalisation: InputNormalisation
    outputs: dict[str, OutputSpec]        # task -> what it gives
    files: dict[str, str]                 # file name -> sha256
    licence: str
    # task -> weight file of its network; empty: one network, in WEIGHTS, serves every task
    networks: dict[str, str] = field(default_factory=dict)
    tiling: dict[str, TilingSpec] = field(default_factory=dict)   # tasks that can run tiled
    # whether answers gain by a search in the full images (geometry.near_matching)
    sharpen: bool = False
    fixed_size_hw: tuple[int, int] | None = None   # [px] the only input size of the networks
    # backend -> precision -> output -> largest deviation from the torch float32 reference
    tolerance: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)   # config, commit, steps, data

    def __post_init__(self) -> None:
        """Turn plain values into the nested dataclasses, then check that all fits together."""
        source = f"manifest of '{self.name}'"
        object.__setattr__(self, 'default_size_hw', tuple(self.default_size_hw))
        if isinstance(self.normalisation, dict):
            object.__setattr__(self, 'normalisation',
                               from_dict(InputNormalisation, self.normalisation, source))
        object.__setattr__(self, 'outputs', {
            task: from_dict(OutputSpec, spec, source) if isinstance(spec, dict) else spec
            for task, spec in self.outputs.items()})
        object.__setattr__(self, 'tiling', {
            task: from_dict(TilingSpec, spec, source) if isinstance(spec, dict) else spec
            for task, spec in self.tiling.items()})
        if self.fixed_size_hw is not None:
            object.__setattr__(self, 'fixed_size_hw', tuple(self.fixed_size_hw))
        for fault in _faults(self):
            raise CheckpointError(f'{source}: {fault}; export the model again')

    def network_of(self, task: str) -> str:
        """Return the weight file of the network that runs a task."""
        return self.networks.get(task, WEIGHTS)

    def for_tasks(self, tasks: Iterable[str]) -> 'ModelManifest':
        """Return the part of the model that some tasks need; one network is not divided."""
        kept = [task for task in self.tasks if task in set(tasks)]
        networks = {task: file for task, file in self.networks.items() if task in kept}
        dropped = set(self.networks.values()) - set(networks.values())
        return replace(
            self, tasks=kept, networks=networks,
            outputs={task: self.outputs[task] for task in kept},
            tiling={task: spec for task, spec in self.tiling.items() if task in kept},
            files={name: sha for name, sha in self.files.items() if name not in dropped})


def load_manifest(folder: str | Path) -> ModelManifest:
    """
    Read the manifest of a model folder; the other files are not touched.

    :raises CheckpointError: If it is missing, is not YAML, or says what cannot be.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise CheckpointError(f'{path}: expected a model folder with a {MANIFEST}, but there is '
                              'none; name a model, or a folder that `crossview export` wrote')
    try:
        return from_dict(ModelManifest, load_yaml(path), str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from error


def verify_files(folder: str | Path, manifest: ModelManifest) -> None:
    """
    Check that every file of the manifest is there and is the one that was exported.

    :raises CheckpointError: For the first file that is missing or has another SHA-256.
    """
    for name, expected in manifest.files.items():
        path = Path(folder) / name
        try:
            with path.open('rb') as file:
                digest = hashlib.sha256()
                for block in iter(lambda: file.read(1 << 20), b''):
                    digest.update(block)
        except OSError as error:
            raise CheckpointError(f'{path}: the manifest lists this file, but it cannot be read: '
                                  f'{error.strerror}; fetch the model again') from error
        if digest.hexdigest() != expected.lower():
            raise CheckpointError(
                f'{path}: expected sha256 {expected[:12]}..., got {digest.hexdigest()[:12]}...; '
                'the file is damaged or not of this manifest: fetch or export the model again')


def _faults(manifest: ModelManifest) -> list[str]:
    """Return what contradicts itself, in words."""
    faults = []
    unknown = [task for task in manifest.tasks if task not in TASKS]
    if unknown or not manifest.tasks:
        faults.append(f'tasks must be among {", ".join(TASKS)}, got {manifest.tasks}')
    if set(manifest.outputs) != set(manifest.tasks):
        faults.append(f'outputs are described for {sorted(manifest.outputs)}, but the tasks are '
                      f'{sorted(manifest.tasks)}')
    if manifest.size_multiple < 1 or min(manifest.default_size_hw) < 1:
        faults.append(f'sizes must be at least 1 px, got size_multiple {manifest.size_multiple} '
                      f'and default_size_hw {manifest.default_size_hw}')
    faults += _network_faults(manifest) + _tiling_faults(manifest)
    for name, digest in manifest.files.items():
        if Path(name).name != name or name in ('.', '..'):
            faults.append(f"files: '{name}' is not the name of a file in this folder")
        if not re.fullmatch('[0-9a-fA-F]{64}', digest):
            faults.append(f"files: '{name}': a sha256 has 64 hexadecimal digits, got '{digest}'")
    return faults


def _network_faults(manifest: ModelManifest) -> list[str]:
    if not manifest.networks:
        return []
    faults = []
    if set(manifest.networks) != set(manifest.tasks):
        faults.append(f'networks are named for {sorted(manifest.networks)}, but the tasks are '
                      f'{sorted(manifest.tasks)}')
    unlisted = sorted(set(manifest.networks.values()) - set(manifest.files))
    if unlisted:
        faults.append(f'networks: {", ".join(unlisted)} is not among the files '
                      f'{sorted(manifest.files)}')
    return faults


def _tiling_faults(manifest: ModelManifest) -> list[str]:
    faults, multiple, fixed_hw = [], manifest.size_multiple, manifest.fixed_size_hw
    blind = sorted(task for task in manifest.tiling if task not in manifest.outputs
                   or manifest.outputs[task].log_scale is None)
    if blind:
        faults.append(f'tiling: {", ".join(blind)} is no task with a log_scale, which weighs '
                      'the windows')
    sizes = {f'tiling: window_hw of {task}': spec.window_hw
             for task, spec in manifest.tiling.items()}
    for name, size_hw in {**sizes, 'fixed_size_hw': fixed_hw or (multiple, multiple)}.items():
        if len(size_hw) != 2 or multiple > 0 and any(side < 1 or side % multiple
                                                     for side in size_hw):
            faults.append(f'{name} must be two multiples of {multiple} px, got {size_hw}')
    if fixed_hw is not None and any(size_hw != fixed_hw for size_hw in sizes.values()):
        faults.append(f'tiling: every window_hw must be the fixed_size_hw {fixed_hw}')
    return faults
