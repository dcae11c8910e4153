# SPDX-License-Identifier: Apache-2.0
"""Names of official CroCo checkpoints and what they are called here (croco.md 1.1 and 5.2)."""
from crossview_ros.config import from_dict
from crossview_ros.errors import CheckpointError, ConfigError
from crossview_ros.networks.croco import CroCoConfig

_DPT_PREFIXES = tuple(pair for i in range(4) for pair in (
    (f'head.dpt.act_{i + 1}_postprocess.', f'head.reassemble.{i}.'),
    (f'head.dpt.act_postprocess.{i}.', f'head.reassemble.{i}.'),      # alias of the line above
    (f'head.dpt.scratch.layer{i + 1}_rn.', f'head.align.{i}.'),
    (f'head.dpt.scratch.layer_rn.{i}.', f'head.align.{i}.'),          # alias
    (f'head.dpt.scratch.refinenet{i + 1}.resConfUnit1.', f'head.fuse.{i}.residual1.'),
    (f'head.dpt.scratch.refinenet{i + 1}.resConfUnit2.', f'head.fuse.{i}.residual2.'),
    (f'head.dpt.scratch.refinenet{i + 1}.out_conv.', f'head.fuse.{i}.leave.')))
PREFIXES = (   # official, ours; the first that fits decides
    ('enc_blocks.', 'encoder.blocks.'), ('enc_norm.', 'encoder.norm.'),
    ('enc_pos_embed', 'encoder.pos_embed'), ('patch_embed.', 'encoder.patch_embed.'),
    ('dec_blocks.', 'decoder.blocks.'), ('dec_norm.', 'decoder.norm.'),
    ('dec_pos_embed', 'decoder.pos_embed'), ('decoder_embed.', 'decoder.embed.'),
    ('mask_token', 'decoder.mask_token'), ('prediction_head.', 'head.'),
    ('head.dpt.head.0.', 'head.enter.'), ('head.dpt.head.2.', 'head.body.'),
    ('head.dpt.head.4.', 'head.leave.'), *_DPT_PREFIXES)
ARGUMENTS = {
    'img_size': 'img_size', 'patch_size': 'patch_size', 'mask_ratio': 'mask_ratio',
    'enc_embed_dim': 'enc_embed_dim', 'enc_depth': 'enc_num_layers',
    'enc_num_heads': 'enc_num_heads', 'dec_embed_dim': 'dec_embed_dim',
    'dec_depth': 'dec_num_layers', 'dec_num_heads': 'dec_num_heads', 'mlp_ratio': 'mlp_ratio',
    'norm_im2_in_dec': 'norm_memory'}


def from_official_key(key: str) -> str:
    """
    Rename one state-dict key; a key that official files do not have is returned as it is.

    Official files hold some tensors of the DPT head twice; both names become the same one.
    """
    for official, ours in PREFIXES:
        if key.startswith(official):
            return ours + key[len(official):]
    return key


def to_official_keys(key: str) -> list[str]:
    """
    Return the official names of a key, the alias behind the main one.

    :param key: Of a network with one head, ``head.`` or ``heads.<task>.``.
    :raises CheckpointError: If official networks have no such part.
    """
    if key.startswith('heads.'):
        key = f'head.{key.split(".", 2)[2]}'
    fitting = [(official, ours) for official, ours in PREFIXES if key.startswith(ours)]
    if not fitting:
        raise CheckpointError(f"official networks have nothing like '{key}'")
    longest = max(len(ours) for _, ours in fitting)   # 'head.' is the start of many others
    return [official + key[longest:] for official, ours in fitting if len(ours) == longest]


def config_from_official(arguments: dict) -> CroCoConfig:
    """
    Read official constructor arguments, merged over their defaults.

    :raises CheckpointError: For an argument or position kind that the specification lacks, or
        values that contradict each other.
    """
    values = {}
    for name, value in arguments.items():
        if name == 'pos_embed':
            values.update(_position(value))
        elif name in ARGUMENTS:
            values[ARGUMENTS[name]] = value
        else:
            raise CheckpointError(f"unknown CroCo argument '{name}' = {value!r}; known: "
                                  f'{", ".join(ARGUMENTS)}, pos_embed')
    size = values.get('img_size', (224, 224))
    values['img_size'] = (size, size) if isinstance(size, int) else size
    try:
        return from_dict(CroCoConfig, values, 'CroCo arguments')
    except ConfigError as error:
        raise CheckpointError(f'CroCo arguments do not fit together: {error}') from error


def config_to_official(config: CroCoConfig) -> dict:
    """
    Undo `config_from_official`: every official constructor argument but ``norm_layer``.

    :raises CheckpointError: If official networks have no such stem.
    """
    if config.stem != 'patch':
        raise CheckpointError("official networks have a stem of one linear map per patch ('patch')"
                              f", this one has '{config.stem}'")
    values = {official: getattr(config, ours) for official, ours in ARGUMENTS.items()}
    rows, cols = config.img_size
    values['img_size'] = rows if rows == cols else (rows, cols)
    # 100.0 -> '100', 7.5 -> '7.5'
    values['pos_embed'] = 'cosine' if config.position == 'cosine' else \
        f'RoPE{repr(config.rope_base).removesuffix(".0")}'
    return values


def _position(value: str) -> dict:
    if value == 'cosine':
        return {'position': 'cosine'}
    expected = f"pos_embed must be 'cosine' or 'RoPE<base>', got {value!r}"
    if not str(value).startswith('RoPE'):
        raise CheckpointError(expected)
    try:
        return {'position': 'rope', 'rope_base': float(value.removeprefix('RoPE'))}
    except ValueError as error:
        raise CheckpointError(expected) from error
