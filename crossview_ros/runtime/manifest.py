# SPDX-License-Identifier: Apache-2.0
"""The manifest of a model folder: what goes in, what comes out, which files belong to it."""
from dataclasses import dataclass, field
import hashlib
from pathlib import Path
import re
from typing import Any, Literal

from crossview_ros.config import from_dict, load_yaml
from crossview_ros.errors import CheckpointError, ConfigError
from crossview_ros.model_store import find_model, MANIFEST

__all__ = ['find_model', 'InputNormalisation', 'load_manifest', 'MANIFEST', 'ModelManifest',
           'OutputSpec', 'verify_files']

TASKS = ('stereo', 'flow', 'pose', 'depth')


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


@dataclass(frozen=True)
class OutputSpec:
    """One task's output: its unit, and what its log_scale is the logarithm of."""

    unit: str
    # laplace: b = exp(log_scale), the scale of a Laplace distribution in ``unit``
    log_scale: Literal['laplace'] | None = None


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
        for fault in _faults(self):
            raise CheckpointError(f'{source}: {fault}; export the model again')


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
    for name, digest in manifest.files.items():
        if Path(name).name != name or name in ('.', '..'):
            faults.append(f"files: '{name}' is not the name of a file in this folder")
        if not re.fullmatch('[0-9a-fA-F]{64}', digest):
            faults.append(f"files: '{name}': a sha256 has 64 hexadecimal digits, got '{digest}'")
    return faults
