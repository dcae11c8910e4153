# SPDX-License-Identifier: Apache-2.0
"""Heads that turn the features of views into dense outputs or a relative pose."""
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.heads.depth import DepthHead, DepthHeadConfig
from crossview_ros.networks.heads.dpt import DptHead, DptHeadConfig
from crossview_ros.networks.heads.matching import MatchingHead, MatchingHeadConfig
from crossview_ros.networks.heads.pose import PoseHead, PoseHeadConfig, PosePrediction
from crossview_ros.networks.heads.prediction import Prediction
from torch import nn

HEADS = {'matching': MatchingHead, 'dpt': DptHead, 'pose': PoseHead, 'depth': DepthHead}

# told apart by the fields without default
HeadConfig = MatchingHeadConfig | DptHeadConfig | PoseHeadConfig | DepthHeadConfig


def build_head(config: HeadConfig, backbone: CroCoConfig) -> nn.Module:
    """
    Create a head of a multi-task model.

    :raises ValueError: If the head does not fit the backbone.
    """
    if isinstance(config, DptHeadConfig):
        return HEADS['dpt'](config, backbone)
    if isinstance(config, DepthHeadConfig):
        return HEADS['depth'](config, backbone)
    if isinstance(config, PoseHeadConfig):
        return HEADS['pose'](config, backbone.dec_embed_dim)
    return HEADS['matching'](config, backbone.dec_embed_dim, backbone.patch_size,
                             backbone.stem_dims)


__all__ = ['build_head', 'DepthHead', 'DepthHeadConfig', 'DptHead', 'DptHeadConfig', 'HeadConfig',
           'HEADS', 'MatchingHead', 'MatchingHeadConfig', 'PoseHead', 'PoseHeadConfig',
           'PosePrediction', 'Prediction']
