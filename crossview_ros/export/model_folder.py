# SPDX-License-Identifier: Apache-2.0
"""A training run becomes models/<name>/: fp16 weights and a manifest that says what they are."""
import hashlib
from pathlib import Path
import subprocess
from typing import NamedTuple

from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.model_store import MANIFEST, WEIGHTS
from crossview_ros.networks.checkpoint import load_multi_task, save_weights
from crossview_ros.networks.downstream import ModelConfig, TASK_UNITS
from crossview_ros.runtime.manifest import ModelManifest
from torch import Tensor

SIZE_MULTIPLE = 32   # [px] keeps both 1/16 token sides even, as dense heads need


class TrainedModel(NamedTuple):
    """What training leaves behind."""

    architecture: ModelConfig
    weights: dict[str, Tensor]
    preset: str
    provenance: dict        # plain values: command, config, steps, minutes, metrics


def write_model_folder(trained: TrainedModel, out: Path, size_hw: tuple[int, int]) -> dict:
    """
    Write weights in fp16, and their manifest.

    :param size_hw: Largest working size [px]; larger inputs are scaled down to it.
    :return: The manifest as plain values.
    :raises CheckpointError: If what was written does not load.
    """
    architecture = trained.architecture
    out.mkdir(parents=True, exist_ok=True)
    save_weights(out / WEIGHTS, architecture, trained.weights)
    load_multi_task(out / WEIGHTS)   # what was written must load
    manifest = ModelManifest(
        name=out.name,
        architecture={'preset': trained.preset, **to_dict(architecture)},
        tasks=sorted(architecture.heads),
        size_multiple=SIZE_MULTIPLE,
        default_size_hw=size_hw,
        normalisation=to_dict(architecture.normalisation),
        outputs={task: {'unit': TASK_UNITS[task], 'log_scale': 'laplace'}
                 for task in sorted(architecture.heads)},
        tolerance={},
        files={WEIGHTS: sha256(out / WEIGHTS)},
        licence='Apache-2.0',
        provenance={'commit': _commit(),
                    'data': 'rendered scenes (crossview_ros.data.synthetic), nothing else',
                    **trained.provenance})
    values = to_dict(manifest)
    (out / MANIFEST).write_text(dump_yaml(values), encoding='utf-8')
    return values


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _commit() -> str:
    """Return the commit of the source tree, '+' behind it if it has changes."""
    root = Path(__file__).resolve().parents[2]
    try:
        result = subprocess.run(['git', '-C', str(root), 'describe', '--always', '--dirty=+'],
                                capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return result.stdout.strip()
