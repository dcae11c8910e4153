# SPDX-License-Identifier: Apache-2.0
"""Official checkpoints become models/<name>/: weights as they are, and what the runtime needs."""
from pathlib import Path
from typing import NamedTuple

from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.errors import CheckpointError
from crossview_ros.export.model_folder import (
    fixed_size_hw, output_specs, sha256, SIZE_MULTIPLE)
from crossview_ros.model_store import MANIFEST, WEIGHTS
from crossview_ros.networks.checkpoint import check_fits, read_checkpoint, save_weights
from crossview_ros.networks.downstream import ModelConfig
from crossview_ros.networks.official_file import LICENCE, OfficialCheckpoint, read_official
from crossview_ros.networks.presets import preset_name
from crossview_ros.runtime.manifest import ModelManifest, TilingSpec
import torch


class Source(NamedTuple):
    """An official file that was read."""

    path: Path
    official: OfficialCheckpoint
    sha256: str


def convert_official(sources: list[Path], out: Path,
                     dtype: torch.dtype = torch.float32) -> list[Path]:
    """
    Write a model folder.

    A network for stereo or flow, or one of each, gets a manifest. One for pre-training, or of
    one view, or SimIPU's image encoder is nothing that a node can run: its folder holds the
    weights only.

    :param sources: One official file, or two: stereo and flow, in any order.
    :param dtype: Of the stored weights.
    :return: The files that were written.
    :raises CheckpointError: If a file cannot be used, or ``out`` holds another model.
    """
    if out.exists() and not out.is_dir():
        raise CheckpointError(f'{out}: expected a folder to write, but it is a file')
    read = [Source(path, read_official(path), sha256(path)) for path in sources]
    for path, official, _ in read:
        check_fits(path, official.config, official.weights, official=True)
    _check_together(read, out)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / _file_name(source.official, len(read)) for source in read]
    for file, (path, official, digest) in zip(files, read):
        save_weights(file, official.config, official.weights, dtype,
                     {'licence': official.licence, 'source': f'{path.name}, sha256 {digest}'})
        read_checkpoint(file)   # what was written must load
    if not isinstance(read[0].official.config, ModelConfig):
        return files
    manifest = to_dict(_manifest(read, files))
    (out / MANIFEST).write_text(dump_yaml(manifest), encoding='utf-8')
    return [*files, out / MANIFEST]


def tiling_of(official: OfficialCheckpoint) -> dict[str, TilingSpec]:
    """Return how the windows of a network of two views cover larger images (croco.md 4)."""
    (task, head), = official.config.heads.items()
    weight = official.settings.get('tile_conf_mode')
    if head.scale == 'none' or weight is None:
        return {}
    return {task: TilingSpec(official.window_hw, weight=str(weight))}


def _check_together(read: list[Source], out: Path) -> None:
    tasks = [', '.join(source.official.config.heads)
             if isinstance(source.official.config, ModelConfig) else 'neither'
             for source in read]
    if len(read) > 1 and sorted(tasks) != ['flow', 'stereo']:
        raise CheckpointError('two files make one model if one is for stereo and one for flow; '
                              f'{" and ".join(str(source.path) for source in read)} are for '
                              f'{" and ".join(tasks)}')
    if tasks == ['neither'] and (out / MANIFEST).exists():
        raise CheckpointError(f'{out / MANIFEST}: another model is in this folder; choose a new '
                              'one')


def _file_name(official: OfficialCheckpoint, count: int) -> str:
    return WEIGHTS if count == 1 else f'{next(iter(official.config.heads))}.safetensors'


def _manifest(read: list[Source], files: list[Path]) -> ModelManifest:
    parts = {next(iter(source.official.config.heads)): (source.official, file.name)
             for file, source in zip(files, read)}
    parts = dict(sorted(parts.items()))
    configs = [official.config for official, _ in parts.values()]
    described = [{'preset': preset_name(config), **to_dict(config)} for config in configs]
    several = len(parts) > 1
    return ModelManifest(
        name=files[0].parent.name,
        architecture=dict(zip(parts, described)) if several else described[0],
        tasks=list(parts),
        size_multiple=SIZE_MULTIPLE,
        default_size_hw=parts.get('stereo', parts[next(iter(parts))])[0].window_hw,
        normalisation=to_dict(configs[0].normalisation),
        outputs={task: spec for config in configs for task, spec in output_specs(config).items()},
        files={file.name: sha256(file) for file in files},
        licence=LICENCE,
        networks={task: name for task, (_, name) in parts.items()} if several else {},
        tiling={task: spec for official, _ in parts.values()
                for task, spec in tiling_of(official).items()},
        fixed_size_hw=_common_size(configs),
        provenance={'command': 'crossview convert',
                    'sources': [_provenance(source) for source in read]})


def _common_size(configs: list[ModelConfig]) -> tuple[int, int] | None:
    sizes = {fixed_size_hw(config) for config in configs}
    if len(sizes) > 1:
        raise CheckpointError('the networks of one model need one input size, but their cosine '
                              f'positions ask for {sorted(map(str, sizes))}; convert each into '
                              'its own folder')
    return sizes.pop()


def _provenance(source: Source) -> dict[str, str]:
    settings = source.official.settings
    named = {name: settings[name] for name in ('criterion', 'dataset', 'pretrained')
             if isinstance(settings.get(name), str)}
    return {'file': source.path.name, 'sha256': source.sha256, **named}
