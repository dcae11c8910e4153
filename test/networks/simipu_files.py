# SPDX-License-Identifier: Apache-2.0
"""Official SimIPU files for tests: the published key and shape lists with random weights."""
import json

import torch
import torch.nn.functional as F

FACTS = 'reference/golden/simipu_facts'
NUM_BLOCKS = (3, 4, 6, 3)   # of a ResNet-50


def listed_shapes(shared_dir, name):
    """Return the shape of each key of statedict_NAME.json."""
    listed = json.loads((shared_dir / FACTS / f'statedict_{name}.json').read_text())
    assert len(listed['keys']) == listed['n_keys']
    return {key: tuple(entry['shape']) for key, entry in listed['keys'].items()}


def random_state(shapes, seed=0):
    """Return a random tensor for each key that an image encoder has; of the rest one zero."""
    generator = torch.Generator().manual_seed(seed)
    return {key: random_tensor(key, shape, generator) if 'backbone.' not in key
            or key.startswith(('backbone.', 'img_backbone.')) else torch.zeros(()).expand(shape)
            for key, shape in shapes.items()}


def random_tensor(key, shape, generator):
    """Draw a weight that neither vanishes nor explodes in fifty layers."""
    if key.endswith('num_batches_tracked'):
        return torch.randint(1, 10_000, shape, generator=generator)
    if len(shape) == 4:
        spread = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        return spread * torch.randn(shape, generator=generator)
    value = torch.randn(shape, generator=generator)
    return value.abs() * 0.3 + 0.5 if key.endswith(('weight', 'running_var')) else 0.1 * value


def narrow_shapes(width=4):
    """Return shapes of a ResNet-50 of fewer channels, by the bare keys."""
    shapes = {'conv1.weight': (width, 3, 7, 7), **_norm('bn1', width)}
    before = width
    for stage, count in enumerate(NUM_BLOCKS):
        inner = width * 2 ** stage
        for i in range(count):
            block = f'layer{stage + 1}.{i}'
            for k, size in enumerate(((inner, before, 1, 1), (inner, inner, 3, 3),
                                      (4 * inner, inner, 1, 1)), start=1):
                shapes |= {f'{block}.conv{k}.weight': size, **_norm(f'{block}.bn{k}', size[0])}
            if i == 0:
                shapes |= {f'{block}.downsample.0.weight': (4 * inner, before, 1, 1),
                           **_norm(f'{block}.downsample.1', 4 * inner)}
            before = 4 * inner
    return shapes


def resnet_maps(state, image, eps):
    """Run a ResNet-50 layer by layer on bare keys: the oracle (He et al. 2016; simipu.md 3)."""
    def conv(x, name, stride=1, pad=0):
        return F.conv2d(x, state[f'{name}.weight'], None, stride, pad)

    def norm(x, name):
        return F.batch_norm(x, *(state[f'{name}.{part}'] for part in (
            'running_mean', 'running_var', 'weight', 'bias')), False, 0.0, eps)

    x = norm(conv(image, 'conv1', 2, 3), 'bn1').relu()
    maps = [x]
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, count in enumerate(NUM_BLOCKS):
        for i in range(count):
            block, stride = f'layer{stage + 1}.{i}', 2 if i == 0 and stage else 1
            y = norm(conv(x, f'{block}.conv1'), f'{block}.bn1').relu()
            y = norm(conv(y, f'{block}.conv2', stride, 1), f'{block}.bn2').relu()
            y = norm(conv(y, f'{block}.conv3'), f'{block}.bn3')
            if i == 0:
                x = norm(conv(x, f'{block}.downsample.0', stride), f'{block}.downsample.1')
            x = (x + y).relu()
        maps.append(x)
    return maps


def _norm(name, channels):
    return {**{f'{name}.{part}': (channels,) for part in ('weight', 'bias', 'running_mean',
                                                          'running_var')},
            f'{name}.num_batches_tracked': ()}
