# SPDX-License-Identifier: Apache-2.0
"""Heads that turn two views' features into dense outputs."""
from crossview_ros.networks.heads.matching import (
    MatchingHead, MatchingHeadConfig, Prediction)

HEADS = {'matching': MatchingHead}

__all__ = ['HEADS', 'MatchingHead', 'MatchingHeadConfig', 'Prediction']
