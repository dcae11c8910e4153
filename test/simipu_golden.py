# SPDX-License-Identifier: Apache-2.0
"""Read the golden vectors of SimIPU and turn their names into ours."""
from crossview_ros.data.point_views import PointTransform
from crossview_ros.networks.point_encoder import (
    LevelConfig, PointEncoderConfig, RingConfig, SamplerConfig)
import numpy as np
import torch

FOLDER = 'reference/golden/simipu'


def load(shared_dir, name):
    with np.load(shared_dir / FOLDER / f'{name}.npz', allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def tensor(data, name):
    return torch.from_numpy(data[name])


def cases(data):
    """Yield the independent cases of a file, without their prefix."""
    for i in range(int(data['n_cases'])):
        yield {key.removeprefix(f'c{i}_'): value for key, value in data.items()
               if key.startswith(f'c{i}_')}


def weights(data, rename, prefix='w.'):
    return {rename(key.removeprefix(prefix)): torch.from_numpy(value)
            for key, value in data.items() if key.startswith(prefix)}


def point_transform(data, prefix='', center=(35.2, 0.0, -1.0)):
    """Read one recorded transform; without the centre's operations it turns about the origin."""
    matrix = data[f'{prefix}pcd_rotation']
    operations = set(data[f'{prefix}flow'])
    return PointTransform(
        float(np.arctan2(matrix[1, 0], matrix[0, 0])), float(data[f'{prefix}pcd_scale_factor']),
        tuple(data[f'{prefix}pcd_trans']), 'HF' in operations,
        tuple(center) if 'T1' in operations else (0.0, 0.0, 0.0))


def image_transform(scale_xy, flip, width, offset_xy=(0.0, 0.0)):
    """Return the (2, 3) matrix of simipu.md 5.1: scale, crop, then width - u if mirrored."""
    matrix = np.array([[scale_xy[0], 0, -offset_xy[0]], [0, scale_xy[1], -offset_xy[1]]],
                      np.float32)
    if flip:
        matrix[0] = -matrix[0]
        matrix[0, 2] += width
    return torch.from_numpy(matrix)


def encoder_config(layers):
    """Turn the levels of e2_encoder_small into ours."""
    return PointEncoderConfig(1, tuple(_level(layer) for layer in layers))


def _level(layer):
    samplers = {
        'xyz': lambda count, split: (SamplerConfig('distance', count),),
        'feature+xyz': lambda count, split: (SamplerConfig('feature', count),
                                             SamplerConfig('distance', count)),
        'split': lambda count, split: (SamplerConfig('feature', count[0], 0, split),
                                       SamplerConfig('distance', count[1], split))}
    rings = tuple(RingConfig(radius, count, tuple(mlp)) for radius, count, mlp in
                  zip(layer['radii'], layer['nsample'], layer['mlp']))
    return LevelConfig(samplers[layer['sampling']](layer['npoint'], layer['split_at']), rings,
                       layer['aggregation'])
