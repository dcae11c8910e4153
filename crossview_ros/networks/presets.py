# SPDX-License-Identifier: Apache-2.0
"""Named architectures: functions that return configs."""
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, OneViewConfig
from crossview_ros.networks.heads import (
    DepthHeadConfig, DptHeadConfig, MatchingHeadConfig, PoseHeadConfig)
from crossview_ros.networks.image_encoder import ImageEncoderConfig, SIMIPU_NORMALISATION
from crossview_ros.networks.resnet_depth import ResNetDepthConfig


def crossview_tiny() -> ModelConfig:
    """Small multi-task model for CPUs: conv stem, RoPE, residual branches that start at zero."""
    backbone = CroCoConfig(
        enc_embed_dim=192, enc_num_layers=5, enc_num_heads=6,
        dec_embed_dim=192, dec_num_layers=3, dec_num_heads=6,
        position='rope', stem='conv', stem_dims=(24, 48, 96), residual_init='zero')
    return ModelConfig(backbone, {
        'stereo': MatchingHeadConfig('row'),
        'flow': MatchingHeadConfig('plane', fine_radius=2, fine_iterations=2),
        'depth': DepthHeadConfig((64, 48, 24), focal_px=256.0)})


def crossview_small() -> ModelConfig:
    """As `crossview_tiny`, with features that know more, and more corrections at 1/4 and 1/2."""
    tiny = crossview_tiny()
    shared = {'fine_dim': 48, 'fine_hidden_dim': 80, 'fused': True, 'recurrent': True,
              'coarse_iterations': 2, 'half_dim': 16}
    return replace(tiny, heads={
        **tiny.heads,
        'stereo': MatchingHeadConfig('row', fine_levels=3, fine_iterations=3, volume_groups=8,
                                     **shared),
        'flow': MatchingHeadConfig('plane', fine_radius=3, fine_iterations=3, **shared),
        'pose': PoseHeadConfig(192, focal_px=256.0)})


def crossview_tiny_pose() -> ModelConfig:
    """Relative pose of two views on the encoder and decoder of `crossview_tiny`."""
    return ModelConfig(crossview_tiny().backbone, {'pose': PoseHeadConfig(192)})


def crossview_tiny_depth() -> OneViewConfig:
    """Depth [m] of one view on the encoder of `crossview_tiny`."""
    head = DptHeadConfig(1, 'exp', layer_dims=(32, 48, 64, 96), feature_dim=64)
    return OneViewConfig(crossview_tiny().backbone, head, value='exp', focal_px=256.0)


def crossview_tiny_croco() -> CroCoConfig:
    """Pre-training model whose encoder and decoder are those of `crossview_tiny`."""
    return crossview_tiny().backbone


def croco_v1() -> CroCoConfig:
    """Released pre-training model of CroCo, NeurIPS 2022 (croco.md 2)."""
    return CroCoConfig()


def croco_v2_vitb_small() -> CroCoConfig:
    """Released model of CroCo v2, ICCV 2023: ViT-Base encoder, decoder of 8 blocks."""
    return CroCoConfig(position='rope')


def croco_v2_vitb_base() -> CroCoConfig:
    """Released model of CroCo v2: ViT-Base encoder, decoder of 12 blocks."""
    return CroCoConfig(position='rope', dec_embed_dim=768, dec_num_layers=12, dec_num_heads=12)


def croco_v2_vitl_base() -> CroCoConfig:
    """Released model of CroCo v2: ViT-Large encoder, decoder of 12 blocks."""
    return replace(croco_v2_vitb_base(), enc_embed_dim=1024, enc_num_layers=24, enc_num_heads=16)


def croco_stereo(backbone: Callable[[], CroCoConfig] = croco_v2_vitl_base,
                 crop_hw: tuple[int, int] = (352, 704),
                 scale: str = 'symmetric') -> ModelConfig:
    """CroCo-Stereo (croco.md 8): ``crop_hw`` [px] and ``scale`` differ by release."""
    return ModelConfig(replace(backbone(), img_size=crop_hw),
                       {'stereo': DptHeadConfig(1, scale)})


def croco_flow(backbone: Callable[[], CroCoConfig] = croco_v2_vitl_base,
               crop_hw: tuple[int, int] = (320, 384)) -> ModelConfig:
    """CroCo-Flow (croco.md 8): ``crop_hw`` [px] differs by release."""
    return ModelConfig(replace(backbone(), img_size=crop_hw),
                       {'flow': DptHeadConfig(2, 'bounded')})


def croco_depth(backbone: Callable[[], CroCoConfig] = croco_v2_vitb_small,
                crop_hw: tuple[int, int] = (224, 224)) -> OneViewConfig:
    """Depth [m] of one view on a CroCo encoder with the DPT head of the official models."""
    return OneViewConfig(replace(backbone(), img_size=crop_hw), DptHeadConfig(1, 'exp'),
                         value='exp')


def croco_pose(backbone: Callable[[], CroCoConfig] = croco_v2_vitb_small,
               crop_hw: tuple[int, int] = (224, 224)) -> ModelConfig:
    """Relative pose on a CroCo encoder and decoder."""
    return ModelConfig(replace(backbone(), img_size=crop_hw), {'pose': PoseHeadConfig(512)})


def croco_mini() -> CroCoConfig:
    """Architecture of CroCo v2 at a quarter of the width of ViT-Base, for experiments."""
    return CroCoConfig(enc_embed_dim=192, enc_num_layers=6, enc_num_heads=6, dec_embed_dim=192,
                       dec_num_layers=4, dec_num_heads=6, position='rope')


def croco_mini_matching() -> ModelConfig:
    """CroCo-Stereo and CroCo-Flow on one encoder and decoder, those of `croco_mini`."""
    widths = {'hooks': (5, 7, 8, 9), 'layer_dims': (32, 48, 64, 96), 'feature_dim': 48}
    return ModelConfig(croco_mini(), {'stereo': DptHeadConfig(1, 'symmetric', **widths),
                                      'flow': DptHeadConfig(2, 'bounded', **widths)})


def croco_mini_depth() -> OneViewConfig:
    """Depth [m] of one view on the encoder of `croco_mini`."""
    head = DptHeadConfig(1, 'exp', layer_dims=(32, 48, 64, 96), feature_dim=48)
    return OneViewConfig(croco_mini(), head, value='exp', focal_px=256.0)


def croco_mini_pose() -> ModelConfig:
    """Relative pose of two views on the encoder and decoder of `croco_mini`."""
    return ModelConfig(croco_mini(), {'pose': PoseHeadConfig(192)})


def simipu_resnet50() -> ImageEncoderConfig:
    """Image encoder of the SimIPU releases, as downstream models use it (simipu.md 10)."""
    return ImageEncoderConfig()


def simipu_resnet50_depth() -> ResNetDepthConfig:
    """Depth [m] of one view as in the published SimIPU experiments (simipu.md 11)."""
    return ResNetDepthConfig()


def simipu_resnet50_depth_matched() -> ResNetDepthConfig:
    """As `simipu_resnet50_depth`, with the input of the pre-training in place of RGB over std."""
    return ResNetDepthConfig(normalisation=SIMIPU_NORMALISATION)


MODEL_PRESETS = {'crossview_tiny': crossview_tiny, 'crossview_small': crossview_small,
                 'crossview_tiny_pose': crossview_tiny_pose,
                 'croco_pose': croco_pose,
                 'croco_mini_matching': croco_mini_matching,
                 'croco_mini_pose': croco_mini_pose}
ONE_VIEW_PRESETS = {'crossview_tiny_depth': crossview_tiny_depth, 'croco_depth': croco_depth,
                    'croco_mini_depth': croco_mini_depth}
ENCODER_PRESETS = {'simipu_resnet50': simipu_resnet50}
RESNET_DEPTH_PRESETS = {'simipu_resnet50_depth': simipu_resnet50_depth,
                        'simipu_resnet50_depth_matched': simipu_resnet50_depth_matched}
COMPLETION_PRESETS = {
    'crossview_tiny_croco': crossview_tiny_croco,
    'croco_v1': croco_v1,
    'croco_v2_vitb_small': croco_v2_vitb_small,
    'croco_v2_vitb_base': croco_v2_vitb_base,
    'croco_v2_vitl_base': croco_v2_vitl_base,
    'croco_mini': croco_mini}
# released stereo and flow files, without .pth (croco.md 8.3) -> their architecture
RELEASED_PRESETS = {
    'crocostereo': croco_stereo,
    'crocostereo_subtrain': croco_stereo,
    'crocostereo_eth3d': partial(croco_stereo, scale='exp'),
    'crocostereo_finetune_kitti': partial(croco_stereo, crop_hw=(352, 1216)),
    'crocostereo_finetune_spring': croco_stereo,
    'crocostereo_subtrain_vitb_smalldecoder': partial(croco_stereo, croco_v2_vitb_small),
    'crocostereo_subtrain_vitb_basedecoder': partial(croco_stereo, croco_v2_vitb_base),
    'crocoflow': croco_flow,
    'crocoflow_finetune_kitti': partial(croco_flow, crop_hw=(352, 1216)),
    'crocoflow_finetune_spring': croco_flow,
    'crocoflow_vitb_smalldecoder': partial(croco_flow, croco_v2_vitb_small),
    'crocoflow_vitb_basedecoder': partial(croco_flow, croco_v2_vitb_base)}


def preset_name(config: ModelConfig | CroCoConfig | OneViewConfig | ImageEncoderConfig
                | ResNetDepthConfig) -> str | None:
    """Return the first preset that is this architecture, if there is one."""
    presets = {**COMPLETION_PRESETS, **MODEL_PRESETS, **ONE_VIEW_PRESETS, **RELEASED_PRESETS,
               **ENCODER_PRESETS, **RESNET_DEPTH_PRESETS}
    return next((name for name, build in presets.items() if build() == config), None)
