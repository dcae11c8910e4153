# SPDX-License-Identifier: Apache-2.0
"""Named architectures that learn from points: functions that return configs."""
from dataclasses import replace

from crossview_ros.networks.joint import JointConfig
from crossview_ros.networks.point_encoder import (
    LevelConfig, PointEncoderConfig, RingConfig, SamplerConfig)
from crossview_ros.networks.presets import croco_mini, crossview_tiny_croco
from crossview_ros.networks.simipu import SimIPUConfig

# ours: half of the points, which see the shape of what is around them up to a whole room
TINY_POINTS = PointEncoderConfig(relative_xyz=True, levels=(
    LevelConfig((SamplerConfig('distance', 0.5),), (RingConfig(0.6, 12, (16, 32)),), 64),
    LevelConfig((SamplerConfig('first', 1 << 20),), (RingConfig(2.0, 12, (48, 96)),), 128),
    LevelConfig((SamplerConfig('first', 1 << 20),), (RingConfig(9.0, 16, (96, 192)),), 192)))


def crossview_tiny_simipu() -> SimIPUConfig:
    """Small SimIPU for CPUs: encoder of `crossview_tiny`, points with relative coordinates."""
    return SimIPUConfig(resnet=None, vit=crossview_tiny_croco(), points=TINY_POINTS,
                        project_hidden=192, project_dim=64)


def crossview_tiny_joint() -> JointConfig:
    """Completion and SimIPU on one encoder: that of `crossview_tiny`."""
    return JointConfig(crossview_tiny_croco(), crossview_tiny_simipu())


def croco_mini_simipu() -> SimIPUConfig:
    """Points of `crossview_tiny_simipu` beside the encoder of `croco_mini`."""
    return replace(crossview_tiny_simipu(), vit=croco_mini())


def croco_mini_joint() -> JointConfig:
    """Completion and SimIPU on one encoder: that of `croco_mini`."""
    return JointConfig(croco_mini(), croco_mini_simipu())


def simipu() -> SimIPUConfig:
    """Released pre-training model of SimIPU, AAAI 2022; its two flaws are mended."""
    return SimIPUConfig()


SIMIPU_PRESETS = {'crossview_tiny_simipu': crossview_tiny_simipu, 'simipu': simipu,
                  'croco_mini_simipu': croco_mini_simipu}
JOINT_PRESETS = {'crossview_tiny_joint': crossview_tiny_joint,
                 'croco_mini_joint': croco_mini_joint}
