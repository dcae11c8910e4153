# SPDX-License-Identifier: Apache-2.0
"""Official checkpoints for tests: golden ones, and files made of golden or random weights."""
import argparse
import json
import lzma
import zlib

from crossview_ros.networks.official_keys import config_from_official, to_official_keys
import numpy as np
import torch

GOLDEN = 'reference/golden/croco'


def load_golden(path):
    """Return meta_json and the arrays of a golden file, as tensors."""
    with np.load(path, allow_pickle=False) as file:
        data = {key: file[key] for key in file.files}
    meta = json.loads(str(data.pop('meta_json')))
    return meta, {key: torch.from_numpy(np.array(value)) for key, value in data.items()}


def golden_checkpoint(shared_dir, name, tmp_path):
    """Return the path of an official golden file, unpacked where it is packed."""
    path = shared_dir / GOLDEN / f'{name}.pth'
    if path.is_file():
        return path
    unpacked = tmp_path / path.name
    unpacked.write_bytes(lzma.decompress(path.with_name(f'{path.name}.xz').read_bytes()))
    return unpacked


def load_pth(path):
    """Load an official file as a whole."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, weights_only=True)


def state_of(tensors):
    """Return the state dict of a golden file, official names."""
    return {key[3:]: value for key, value in tensors.items() if key.startswith('sd/')}


def training_args(task, criterion, croco_args):
    """Return the options that stereo and flow files carry."""
    return argparse.Namespace(
        task=task, criterion=criterion, tile_conf_mode='conf_expsigmoid_15_3',
        crop=list(croco_args['img_size']), croco_args=croco_args)


def official_state(model):
    """Return the official state dict of a network of ours."""
    return {official: value for name, value in model.state_dict().items()
            for official in to_official_keys(name)}


def recipe_weights(model, seed):
    """Return weights by the recipe of the golden README; position tables stay as they are."""
    return {name: value if name.endswith('pos_embed') else
            recipe_tensor(to_official_keys(name)[0], tuple(value.shape), seed)
            for name, value in model.state_dict().items()}


def recipe_tensor(key, shape, seed):
    """Return one tensor of the recipe: float64 arithmetic, stored as float32."""
    number = (zlib.crc32(key.encode()) ^ (seed * 2654435761)) & 0xFFFFFFFF
    z = np.random.RandomState(number).standard_normal(shape)
    if key == 'mask_token':
        z *= 0.5
    elif len(shape) == 1:
        z = 1 + 0.2 * z if key.endswith('.weight') else 0.1 * z
    else:
        transposed = key.endswith(('act_1_postprocess.1.weight', 'act_2_postprocess.1.weight'))
        fan = shape[0] if transposed else int(np.prod(shape[1:]))
        sharp = key.endswith(('attn.qkv.weight', 'cross_attn.projq.weight',
                              'cross_attn.projk.weight'))
        z *= (1.5 if sharp else 1.0) / np.sqrt(fan)
    return torch.from_numpy(z.astype(np.float32))


def normalised(images_u8):
    """Turn (B, H, W, 3) uint8 into network input (B, 3, H, W)."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (images_u8.permute(0, 3, 1, 2).float() / 255 - mean) / std


def backbone_of(meta):
    """Return the architecture of a golden model."""
    return config_from_official(meta['kwargs'])


def distance(actual, expected):
    """Return the largest difference."""
    assert actual.shape == expected.shape
    return (actual - expected).abs().max().item()
