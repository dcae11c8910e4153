# SPDX-License-Identifier: Apache-2.0
"""A training run becomes models/<name>/: fp16 weights and a manifest that says what they are."""
import hashlib
from pathlib import Path
import subprocess
from typing import NamedTuple

from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.model_store import MANIFEST, WEIGHTS
from crossview_ros.networks.checkpoint import Architecture, read_checkpoint, save_weights
from crossview_ros.networks.downstream import ModelConfig, TASK_UNITS
from crossview_ros.networks.heads import DptHeadConfig
from crossview_ros.runtime.manifest import ModelManifest, OutputSpec
from torch import Tensor

LICENCE = 'Apache-2.0'   # of what the package trained on rendered scenes
SIZE_MULTIPLE = 32   # [px] keeps both 1/16 token sides even, as dense heads need
LOG_SCALES = {'none': None, 'exp': 'laplace', 'bounded': 'laplace_bounded',
              'symmetric': 'laplace_bounded2'}   # of a DPT head -> in the manifest


class TrainedModel(NamedTuple):
    """What training leaves behind."""

    architecture: Architecture
    weights: dict[str, Tensor]
    preset: str
    provenance: dict        # plain values: command, config, steps, minutes, metrics


def write_model_folder(trained: TrainedModel, out: Path, size_hw: tuple[int, int]) -> dict:
    """
    Write weights in fp16, and their manifest; a pre-training model has no use for the latter.

    :param size_hw: Largest working size [px]; larger inputs are scaled down to it.
    :return: The manifest as plain values; of a pre-training model the ``files`` only.
    :raises CheckpointError: If what was written does not load.
    """
    architecture = trained.architecture
    out.mkdir(parents=True, exist_ok=True)
    save_weights(out / WEIGHTS, architecture, trained.weights, notes={
        'licence': LICENCE, 'source': str(trained.provenance.get('command'))})
    read_checkpoint(out / WEIGHTS)   # what was written must load
    if not isinstance(architecture, ModelConfig):
        return {'files': {WEIGHTS: sha256(out / WEIGHTS)}}
    manifest = ModelManifest(
        name=out.name,
        architecture={'preset': trained.preset, **to_dict(architecture)},
        tasks=sorted(architecture.heads),
        size_multiple=SIZE_MULTIPLE,
        default_size_hw=size_hw,
        normalisation=to_dict(architecture.normalisation),
        outputs=output_specs(architecture),
        fixed_size_hw=fixed_size_hw(architecture),
        tolerance={},
        files={WEIGHTS: sha256(out / WEIGHTS)},
        licence=LICENCE,
        provenance={'commit': _commit(),
                    'data': 'rendered scenes (crossview_ros.data.synthetic), nothing else',
                    **trained.provenance})
    values = to_dict(manifest)
    (out / MANIFEST).write_text(dump_yaml(values), encoding='utf-8')
    return values


def output_specs(architecture: ModelConfig) -> dict[str, OutputSpec]:
    """Say of each task what its network gives; the log_scale of a matching head is log b."""
    specs = {}
    for task, head in sorted(architecture.heads.items()):
        scale = (LOG_SCALES[head.scale], head.scale_range) if isinstance(head, DptHeadConfig) \
            else ('laplace',)
        specs[task] = OutputSpec(TASK_UNITS[task], *scale)
    return specs


def fixed_size_hw(architecture: ModelConfig) -> tuple[int, int] | None:
    """Return the only input size [px] of networks with cosine positions; None: any."""
    backbone = architecture.backbone
    return backbone.img_size if backbone.position == 'cosine' else None


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):   # files of some GB
            digest.update(block)
    return digest.hexdigest()


def _commit() -> str:
    """Return the commit of the source tree, '+' behind it if it has changes."""
    root = Path(__file__).resolve().parents[2]
    try:
        result = subprocess.run(['git', '-C', str(root), 'describe', '--always', '--dirty=+'],
                                capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return result.stdout.strip()
