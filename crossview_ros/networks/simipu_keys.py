# SPDX-License-Identifier: Apache-2.0
"""Names of official SimIPU checkpoints and what they are called here (simipu.md 10)."""
import re

_PROJECTORS = {'mlp_cross_img': 'image_inter', 'mlp_cross_points': 'point_inter',
               'mlp_intro_points': 'point_intra', 'mlp_cross_img_pred': 'predict_image',
               'mlp_cross_pts_pred': 'predict_points'}
_RULES = (   # official, ours; the first that fits decides
    (r'img_backbone\.', r'image_branch.'),
    (r'pts_backbone(_k)?\.SA_modules\.(\d+)\.mlps\.(\d+)\.layer(\d+)\.conv\.',
     r'point_branch\1.levels.\2.rings.\3.\4.conv.'),
    (r'pts_backbone(_k)?\.SA_modules\.(\d+)\.mlps\.(\d+)\.layer(\d+)\.bn\.',
     r'point_branch\1.levels.\2.rings.\3.\4.norm.'),
    (r'pts_backbone(_k)?\.aggregation_mlps\.(\d+)\.conv\.',
     r'point_branch\1.levels.\2.aggregate.conv.'),
    (r'pts_backbone(_k)?\.aggregation_mlps\.(\d+)\.bn\.',
     r'point_branch\1.levels.\2.aggregate.norm.'))


def from_official_key(key: str) -> str | None:
    """
    Rename one key of a pre-training checkpoint; None for those that no module here has.

    These are the unused convolutions ``img_conv1x1_*`` and the image branch's own momentum
    encoder and queue.
    """
    if key.startswith(('img_conv1x1_', 'img_backbone_k.', 'img_queue', 'mlp_intro_img.')):
        return None
    for official, ours in _RULES:
        renamed, count = re.subn('^' + official, ours, key)
        if count:
            return renamed.replace('point_branch_k.', 'point_branch_key.', 1)
    return _projector_key(key)


def _projector_key(key: str) -> str:
    fit = re.match(r'(\w+)\.layer([123])\.([01])\.(.+)', key)
    if fit is None or fit[1] not in _PROJECTORS:
        return key
    # each layer is linear, norm, ReLU
    return f'{_PROJECTORS[fit[1]]}.{3 * (int(fit[2]) - 1) + int(fit[3])}.{fit[4]}'
