# SPDX-License-Identifier: Apache-2.0
"""The smallest network with both heads, and its model folder."""
import hashlib

from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.networks.checkpoint import save_weights
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import MatchingHeadConfig
from crossview_ros.runtime.manifest import MANIFEST, ModelManifest
import torch

SIZE_HW = (64, 96)


def small_architecture():
    """Return the smallest network with both heads."""
    head = {'feature_dim': 16, 'hidden_dim': 16, 'fine_hidden_dim': 16, 'fine_dim': 8,
            'coarse_radius': 1, 'fine_radius': 1}
    backbone = CroCoConfig(
        enc_embed_dim=32, enc_num_layers=1, enc_num_heads=2, dec_embed_dim=32, dec_num_layers=1,
        dec_num_heads=2, position='rope', stem='conv', stem_dims=(8, 8, 16), residual_init='zero')
    return ModelConfig(backbone, {'stereo': MatchingHeadConfig('row', **head),
                                  'flow': MatchingHeadConfig('plane', **head)})


def small_model(seed=0):
    """Return the network with random weights that fp16 holds exactly."""
    torch.manual_seed(seed)
    return MultiTaskModel(small_architecture()).eval().half().float()


def write_small_model(folder, model=None, **changes):
    """Write the model folder, with some fields of the manifest changed; return it."""
    model = model or small_model()
    weights = folder / 'weights.safetensors'
    folder.mkdir(parents=True)
    save_weights(weights, model.config, model.state_dict())
    manifest = ModelManifest(**{
        'name': 'small', 'architecture': to_dict(model.config), 'tasks': ['stereo', 'flow'],
        'size_multiple': 32, 'default_size_hw': SIZE_HW,
        'normalisation': to_dict(model.config.normalisation),
        'outputs': {task: {'unit': 'px', 'log_scale': 'laplace'} for task in ('stereo', 'flow')},
        'files': {weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()},
        'licence': 'Apache-2.0', **changes})
    (folder / MANIFEST).write_text(dump_yaml(to_dict(manifest)))
    return folder
