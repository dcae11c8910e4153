# SPDX-License-Identifier: Apache-2.0
"""A training run becomes models/<name>/: fp16 weights and a manifest that says what they are."""
import hashlib
from pathlib import Path
import subprocess
from typing import NamedTuple

from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.model_store import MANIFEST, WEIGHTS
from crossview_ros.networks.checkpoint import Architecture, read_checkpoint, save_weights
from crossview_ros.networks.downstream import ModelConfig, OneViewConfig, TASK_UNITS
from crossview_ros.networks.heads import DptHeadConfig, HeadConfig, MatchingHeadConfig
from crossview_ros.networks.official_file import TILE_MODES
from crossview_ros.runtime.manifest import ModelManifest, OutputSpec, TilingSpec
from torch import Tensor

UNKNOWN_LICENCE = 'not stated: see the terms of the data, and of the weights it started from'
SIZE_MULTIPLE = 32   # [px] keeps both 1/16 token sides even, as dense heads need
LOG_SCALES = {'none': None, 'exp': 'laplace', 'bounded': 'laplace_bounded',
              'symmetric': 'laplace_bounded2'}   # of a DPT head -> in the manifest


class TrainedModel(NamedTuple):
    """What training leaves behind."""

    architecture: Architecture
    weights: dict[str, Tensor]
    preset: str
    provenance: dict        # plain values: data, command, config, steps, minutes, metrics
    licence: str | None     # None: nobody said
    metric: bool = True     # depth of one view was learned where things have their real sizes


def write_model_folder(trained: TrainedModel, out: Path, size_hw: tuple[int, int]) -> dict:
    """
    Write weights in fp16, and their manifest; a pre-training model has no use for the latter.

    :param size_hw: Largest working size [px]; larger inputs are scaled down to it.
    :return: The manifest as plain values; of a pre-training model the ``files`` only.
    :raises CheckpointError: If what was written does not load.
    """
    architecture, licence = trained.architecture, trained.licence or UNKNOWN_LICENCE
    out.mkdir(parents=True, exist_ok=True)
    save_weights(out / WEIGHTS, architecture, trained.weights, notes={
        'licence': licence, 'source': str(trained.provenance.get('command'))})
    read_checkpoint(out / WEIGHTS)   # what was written must load
    if not isinstance(architecture, ModelConfig | OneViewConfig):
        return {'files': {WEIGHTS: sha256(out / WEIGHTS)}}
    manifest = ModelManifest(
        name=out.name,
        architecture={'preset': trained.preset, **to_dict(architecture)},
        tasks=list(_heads(architecture)),
        size_multiple=SIZE_MULTIPLE,
        default_size_hw=size_hw,
        normalisation=to_dict(architecture.normalisation),
        outputs=output_specs(architecture, trained.metric),
        fixed_size_hw=fixed_size_hw(architecture),
        tiling=tiling_specs(architecture),
        # of small models: what they say of shrunk images is right within some pixels
        sharpen=any(isinstance(head, MatchingHeadConfig)
                    for head in _heads(architecture).values()),
        tolerance={},
        files={WEIGHTS: sha256(out / WEIGHTS)},
        licence=licence,
        provenance={'commit': _commit(), **trained.provenance})
    values = to_dict(manifest)
    (out / MANIFEST).write_text(dump_yaml(values), encoding='utf-8')
    return values


def output_specs(architecture: ModelConfig | OneViewConfig,
                 metric: bool = True) -> dict[str, OutputSpec]:
    """
    Say of each task what its network gives.

    The log_scale of a matching head is log b, that of depth the scale of its logarithm.

    :param metric: Whether depth of one view can be in true metres.
    """
    specs = {}
    for task, head in _heads(architecture).items():
        scale = (LOG_SCALES[head.scale], head.scale_range) if isinstance(head, DptHeadConfig) \
            else ('laplace',)
        owner = architecture if isinstance(architecture, OneViewConfig) else head
        focal_px = getattr(owner, 'focal_px', None)
        in_metres = {'depth': metric, 'pose': focal_px is None}.get(task, True)
        unit = 'median depth' if task == 'pose' and not in_metres else TASK_UNITS[task]
        specs[task] = OutputSpec(unit, *scale, focal_px=focal_px, metric=in_metres)
    return specs


def tiling_specs(architecture: ModelConfig | OneViewConfig) -> dict[str, TilingSpec]:
    """Say of each DPT head with a scale how windows of the training crop cover larger images."""
    return {task: TilingSpec(architecture.backbone.img_size, weight=TILE_MODES[task, head.scale])
            for task, head in _heads(architecture).items()
            if isinstance(head, DptHeadConfig) and (task, head.scale) in TILE_MODES}


def fixed_size_hw(architecture: ModelConfig | OneViewConfig) -> tuple[int, int] | None:
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


def _heads(architecture: ModelConfig | OneViewConfig) -> dict[str, HeadConfig]:
    return {'depth': architecture.head} if isinstance(architecture, OneViewConfig) \
        else dict(sorted(architecture.heads.items()))


def _commit() -> str:
    """Return the commit of the source tree, '+' behind it if it has changes."""
    root = Path(__file__).resolve().parents[2]
    try:
        result = subprocess.run(['git', '-C', str(root), 'describe', '--always', '--dirty=+'],
                                capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return result.stdout.strip()
