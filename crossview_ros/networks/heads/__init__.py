# SPDX-License-Identifier: Apache-2.0
"""Heads that turn the tokens of views into dense outputs."""
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.heads.dpt import DptHead, DptHeadConfig
from crossview_ros.networks.heads.matching import MatchingHead, MatchingHeadConfig
from crossview_ros.networks.heads.prediction import Prediction
from torch import nn

HEADS = {'matching': MatchingHead, 'dpt': DptHead}

HeadConfig = MatchingHeadConfig | DptHeadConfig   # told apart by the fields without default


def build_head(config: HeadConfig, backbone: CroCoConfig) -> nn.Module:
    """
    Create the head of a two-view model.

    :raises ValueError: If the head does not fit the backbone.
    """
    if isinstance(config, DptHeadConfig):
        return HEADS['dpt'](config, backbone)
    return HEADS['matching'](config, backbone.dec_embed_dim, backbone.patch_size,
                             backbone.stem_dims)


__all__ = ['build_head', 'DptHead', 'DptHeadConfig', 'HeadConfig', 'HEADS', 'MatchingHead',
           'MatchingHeadConfig', 'Prediction']
