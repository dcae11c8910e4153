# SPDX-License-Identifier: Apache-2.0
"""Named architectures: functions that return configs."""
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig
from crossview_ros.networks.heads import MatchingHeadConfig


def crossview_tiny() -> ModelConfig:
    """Small multi-task model for CPUs: conv stem, RoPE, residual branches that start at zero."""
    backbone = CroCoConfig(
        enc_embed_dim=192, enc_num_layers=5, enc_num_heads=6,
        dec_embed_dim=192, dec_num_layers=3, dec_num_heads=6,
        position='rope', stem='conv', stem_dims=(24, 48, 96), residual_init='zero')
    return ModelConfig(backbone, {
        'stereo': MatchingHeadConfig('row'),
        'flow': MatchingHeadConfig('plane', fine_radius=2, fine_iterations=2)})


MODEL_PRESETS = {'crossview_tiny': crossview_tiny}
