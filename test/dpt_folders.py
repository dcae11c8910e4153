# SPDX-License-Identifier: Apache-2.0
"""Model folders with DPT networks: one for each task, as converted official models have."""
import argparse
import hashlib
import json
import lzma

from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.networks.checkpoint import save_weights
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import DptHeadConfig
from crossview_ros.networks.official_keys import config_from_official, from_official_key
from crossview_ros.runtime.manifest import MANIFEST, ModelManifest
import numpy as np
import torch

GOLDEN = 'reference/golden/croco'
NUM_VALUES = {'stereo': 1, 'flow': 2}
LOG_SCALES = {'stereo': 'laplace_bounded2', 'flow': 'laplace_bounded'}
WEIGHTS = {'stereo': 'conf_expsigmoid_15_3', 'flow': 'conf_expsigmoid_10_5'}


def write_folder(folder, networks, windows, **changes):
    """
    Write a model folder whose tasks have networks of their own.

    :param networks: Task -> (ModelConfig, state dict of its MultiTaskModel).
    :param windows: Task -> (height, width) of its window.
    :return: The manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for task, (config, weights) in networks.items():
        path = folder / f'{task}.safetensors'
        save_weights(path, config, weights, torch.float32)
        files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    tasks = list(networks)
    values = {
        'name': folder.name, 'architecture': {}, 'tasks': tasks, 'size_multiple': 32,
        'default_size_hw': windows[tasks[0]], 'files': files, 'licence': 'Apache-2.0',
        'normalisation': to_dict(networks[tasks[0]][0].normalisation),
        'outputs': {task: {'unit': 'px', 'log_scale': LOG_SCALES[task]} for task in tasks},
        'networks': {task: f'{task}.safetensors' for task in tasks},
        'tiling': {task: {'window_hw': windows[task], 'weight': WEIGHTS[task]}
                   for task in tasks}}
    manifest = ModelManifest(**{**values, **changes})
    (folder / MANIFEST).write_text(dump_yaml(to_dict(manifest)))
    return manifest


def random_network(task, seed=0):
    """Return the smallest DPT network of a task: its architecture and random weights."""
    backbone = CroCoConfig(enc_embed_dim=16, enc_num_layers=3, enc_num_heads=2, dec_embed_dim=16,
                           dec_num_layers=2, dec_num_heads=2, position='rope')
    config = ModelConfig(backbone, {task: DptHeadConfig(
        NUM_VALUES[task], hooks=(0, 2, 3, 4), layer_dims=(4, 6, 8, 10), feature_dim=8,
        last_dim=4)})
    torch.manual_seed(seed)
    return config, MultiTaskModel(config).state_dict()


def golden_network(task, kwargs, head, tensors):
    """Return architecture and weights of a golden model, whose keys are the official ones."""
    widths = {ours: head[theirs] for ours, theirs in (
        ('hooks', 'hooks_idx'), ('layer_dims', 'layer_dims'), ('feature_dim', 'feature_dim'),
        ('last_dim', 'last_dim')) if theirs in head}
    config = ModelConfig(config_from_official(kwargs),
                         {task: DptHeadConfig(NUM_VALUES[task], **widths)})
    weights = {from_official_key(key): torch.as_tensor(value) for key, value in tensors.items()}
    return config, {f'heads.{task}.{key[5:]}' if key.startswith('head.') else key: value
                    for key, value in weights.items()}


def load_golden(path):
    """Return meta_json and the arrays of a golden file."""
    with np.load(path, allow_pickle=False) as file:
        data = {key: file[key] for key in file.files}
    return json.loads(str(data.pop('meta_json'))), data


def load_official(path, tmp_path):
    """Return the weights of an official checkpoint, which may be packed (.xz)."""
    if path.suffix == '.xz':
        path, packed = tmp_path / path.stem, path
        path.write_bytes(lzma.decompress(packed.read_bytes()))
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, weights_only=True)['model']
