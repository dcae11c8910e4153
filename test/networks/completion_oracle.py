# SPDX-License-Identifier: Apache-2.0
"""The pre-training model of croco.md 1, slowly: numpy in float64, one token after the other."""
import math

import numpy as np


def complete(weights, config, target, reference, mask):
    """
    Return the predicted patches (B, N, 3 p p).

    :param weights: State dict of a `CroCo` with stem 'patch', as float64 arrays.
    :param target: (B, 3, H, W) float64; ``mask`` (B, N) bool, True = hidden.
    """
    return np.stack([_complete_one(_Weights(weights), config, *views)
                     for views in zip(target, reference, mask)])


class _Weights:
    """Arrays by dotted name, with the layers that use them."""

    def __init__(self, arrays, prefix=''):
        self.arrays, self.prefix = arrays, prefix

    def at(self, name):
        return _Weights(self.arrays, f'{self.prefix}{name}.')

    def array(self, name):
        return self.arrays[self.prefix + name]

    def linear(self, name, x):
        return x @ self.array(f'{name}.weight').T + self.array(f'{name}.bias')

    def norm(self, name, x):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + 1e-6)
        return scaled * self.array(f'{name}.weight') + self.array(f'{name}.bias')

    def mlp(self, x):
        hidden = self.linear('mlp.fc1', x)
        erf = np.vectorize(math.erf)
        return self.linear('mlp.fc2', hidden * 0.5 * (1 + erf(hidden / math.sqrt(2))))


def _complete_one(w, config, target, reference, mask):
    places = [(y, x) for y in range(target.shape[1] // config.patch_size)
              for x in range(target.shape[2] // config.patch_size)]
    shown = [n for n in range(len(places)) if not mask[n]]
    tokens = w.at('decoder').linear('embed', _encode(w.at('encoder'), config, target, places,
                                                     shown))
    memory = w.at('decoder').linear('embed', _encode(w.at('encoder'), config, reference, places,
                                                     range(len(places))))
    x = np.repeat(w.array('decoder.mask_token')[0], len(places), 0)
    x[shown] = tokens
    if config.position == 'cosine':
        table = _cosine_table(places, config.dec_embed_dim)
        x, memory = x + table, memory + table
    for i in range(config.dec_num_layers):
        x = _decoder_block(w.at(f'decoder.blocks.{i}'), config, x, memory, places)
    return w.linear('head', w.at('decoder').norm('norm', x))


def _encode(w, config, image, places, shown):
    p = config.patch_size
    kernel = w.array('patch_embed.proj.weight')
    x = np.stack([[(kernel[e] * image[:, y * p:(y + 1) * p, x * p:(x + 1) * p]).sum()
                   for e in range(len(kernel))] for y, x in places])
    x = x + w.array('patch_embed.proj.bias')
    if config.position == 'cosine':
        x = x + _cosine_table(places, config.enc_embed_dim)
    x, places = x[list(shown)], [places[n] for n in shown]
    for i in range(config.enc_num_layers):
        block = w.at(f'blocks.{i}')
        x = x + _self_attention(block, block.norm('norm1', x), config, config.enc_num_heads,
                                places)
        x = x + block.mlp(block.norm('norm2', x))
    return w.norm('norm', x)


def _decoder_block(w, config, x, memory, places):
    heads = config.dec_num_heads
    x = x + _self_attention(w, w.norm('norm1', x), config, heads, places)
    seen = w.norm('norm_y', memory) if config.norm_memory else memory
    cross = w.at('cross_attn')
    out = _attention(cross.linear('projq', w.norm('norm2', x)), cross.linear('projk', seen),
                     cross.linear('projv', seen), config, heads, places, places)
    x = x + cross.linear('proj', out)
    return x + w.mlp(w.norm('norm3', x))


def _self_attention(w, x, config, heads, places):
    q, k, v = np.split(w.linear('attn.qkv', x), 3, -1)
    return w.linear('attn.proj', _attention(q, k, v, config, heads, places, places))


def _attention(q, k, v, config, heads, q_places, k_places):
    d = q.shape[1] // heads
    out = np.empty_like(q)
    for h in range(heads):
        part = slice(h * d, (h + 1) * d)
        qs, ks = q[:, part], k[:, part]
        if config.position == 'rope':
            qs = np.stack([_rotated(t, place, config.rope_base) for t, place in zip(qs, q_places)])
            ks = np.stack([_rotated(t, place, config.rope_base) for t, place in zip(ks, k_places)])
        for i, query in enumerate(qs):
            logits = ks @ query / math.sqrt(d)
            share = np.exp(logits - logits.max())
            out[i, part] = share / share.sum() @ v[:, part]
    return out


def _rotated(token, place, base):
    """Turn the first half by the row and the second by the column (croco.md 1.4)."""
    half = len(token) // 2
    m = half // 2
    out = np.empty_like(token)
    for part, coordinate in enumerate(place):
        for i in range(m):
            angle = coordinate / base ** (2 * i / half)
            u, v = token[part * half + i], token[part * half + i + m]
            out[part * half + i] = u * math.cos(angle) - v * math.sin(angle)
            out[part * half + i + m] = v * math.cos(angle) + u * math.sin(angle)
    return out


def _cosine_table(places, width):
    """Return sin x, cos x, sin y, cos y in four groups of width / 4 (croco.md 1.3)."""
    quarter = width // 4
    rates = [10000 ** (-k / quarter) for k in range(quarter)]
    return np.array([[f(t * r) for t in (x, y) for f in (math.sin, math.cos) for r in rates]
                     for y, x in places])
