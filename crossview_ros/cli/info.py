# SPDX-License-Identifier: Apache-2.0
"""Say what a bag holds (topics, stereo pairs, calibration), or a model folder or checkpoint."""
import argparse
import json
from pathlib import Path
import sys
from typing import Any

HELP = 'say what a bag, a model folder or a checkpoint holds'
# what is computed, or counted along the way
NOT_LEARNED = ('.pos_embed', '.running_mean', '.running_var', '.num_batches_tracked')
CHECKPOINT_SUFFIXES = ('.safetensors', '.pth', '.pt', '.ckpt', '.bin', '.tar')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('path', metavar='PATH',
                        help='bag folder, .mcap file, model folder, name of a model, '
                             '.safetensors file, or official checkpoint (.pth)')
    parser.add_argument('--extrinsics', type=Path, metavar='YAML',
                        help='write where camera and LiDAR sit, by the /tf_static of a bag, as a '
                             'ROS parameter file')
    parser.add_argument('--json', action='store_true', help='print one JSON object')


def run(args: argparse.Namespace) -> int:
    """Print the facts as tables, or as JSON; write the extrinsics where asked to."""
    if args.extrinsics is not None:
        written = write_extrinsics(Path(args.path), args.extrinsics)
    facts = _info(args.path)
    if args.json:
        print(json.dumps(facts))
    else:
        {'bag': _print_bag, 'model': _print_model,
         'checkpoint': print_checkpoint}[facts['kind']](facts)
    if args.extrinsics is not None:
        print(f'{args.extrinsics}: {", ".join(written)}', file=sys.stderr)
    return 0


def bag_info(path: Path) -> dict[str, Any]:
    """
    Return what a bag holds, as plain values.

    :raises MessageError: If it cannot be read.
    """
    from crossview_ros.replay.bag import Bag
    from crossview_ros.replay.topics import cameras_of, stereo_pairs
    with Bag(path) as bag:
        topics = [{'name': topic.name, 'type': topic.type, 'count': topic.count,
                   'rate_hz': topic.rate_hz} for topic in bag.topics]
        cameras = [_camera_facts(camera) for camera in cameras_of(bag)]
        pairs = [_pair_facts(left, right) for left, right in stereo_pairs(bag)]
        return {'kind': 'bag', 'path': str(path), 'storage': bag.storage,
                'duration_s': bag.duration_s, 'messages': bag.message_count, 'topics': topics,
                'cameras': cameras, 'stereo_pairs': pairs}


def write_extrinsics(path: Path, file: Path) -> list[str]:
    """
    Write base_frame, extrinsics.base_camera and extrinsics.camera_lidar of a bag.

    :param file: ROS parameter file, for `ros2 run ... --params-file` and the launch file.
    :return: Names of the parameters that the bag knows.
    :raises CrossviewError: If the bag cannot be read, has no camera or says nothing of these.
    """
    from crossview_ros.config import dump_yaml
    from crossview_ros.errors import CalibrationError
    from crossview_ros.replay.bag import Bag
    from crossview_ros.replay.extrinsics import extrinsic_parameters
    from crossview_ros.replay.topics import find_input_topics
    with Bag(path) as bag:
        parameters = extrinsic_parameters(bag, find_input_topics(bag))
    if not parameters:
        raise CalibrationError(f'{path}: /tf_static says neither where the camera sits on a base '
                               'nor where a LiDAR sits; write extrinsics.base_camera by hand')
    file.write_text(dump_yaml({'/**': {'ros__parameters': parameters}}), encoding='utf-8')
    return list(parameters)


def model_info(name_or_path: str) -> dict[str, Any]:
    """
    Return the manifest of a model, as plain values.

    :raises CheckpointError: If there is no such model.
    """
    from crossview_ros.config import load_yaml
    from crossview_ros.runtime.manifest import find_model, load_manifest
    folder = find_model(name_or_path)
    load_manifest(folder)   # refuses what is no manifest
    return {'kind': 'model', 'path': str(folder), 'manifest': load_yaml(folder / 'manifest.yaml'),
            'size_bytes': sum(file.stat().st_size for file in folder.iterdir()
                              if file.is_file())}


def checkpoint_info(path: str | Path) -> dict[str, Any]:
    """
    Return what a weight file, ours or an official one, holds, as plain values.

    :param path: File, or model folder without manifest (pre-training).
    :raises CheckpointError: If it cannot be read, or its weights do not fit.
    """
    from crossview_ros.config import to_dict
    from crossview_ros.networks.checkpoint import (
        check_fits, FORMAT, kind_of, read_weights, SUFFIX, weight_file)
    from crossview_ros.networks.official_file import read_official
    from crossview_ros.networks.presets import preset_name
    file = weight_file(path)
    if file.suffix == SUFFIX:
        config, weights, header = read_weights(file)
        found = {'format': FORMAT, **{key: header[key] for key in ('licence', 'source')
                                      if key in header}}
    else:
        official = read_official(file)
        config, weights, settings = official.config, official.weights, official.settings
        found = {'format': 'official', 'entries': official.contents, 'licence': official.licence,
                 **{key: str(settings[key]) for key in ('criterion', 'tile_conf_mode', 'dataset')
                    if key in settings}}
    check_fits(file, config, weights, file.suffix != SUFFIX)
    return {'kind': 'checkpoint', 'path': str(file), 'size_bytes': file.stat().st_size,
            'network': kind_of(config), 'tasks': list(getattr(config, 'heads', {})),
            'preset': preset_name(config),
            'parameters': sum(tensor.numel() for name, tensor in weights.items()
                              if not name.endswith(NOT_LEARNED)),
            **found, 'architecture': to_dict(config)}


def print_checkpoint(facts: dict[str, Any]) -> None:
    """Print what `checkpoint_info` returns; the whole architecture is left to JSON."""
    networks = {'multi': 'two views', 'completion': 'pre-training', 'one_view': 'one view',
                'image_encoder': 'image encoder', 'resnet_depth': 'one view: depth'}
    rows = {'checkpoint': facts['path'], 'size': f'{facts["size_bytes"] / 1e6:.1f} MB',
            'network': ', '.join([networks[facts['network']], *facts['tasks']]),
            'preset': facts['preset'] or 'none of the known ones',
            **_layers(facts['network'], facts['architecture']),
            'parameters': f'{facts["parameters"]:,}',
            'format': facts['format'], 'entries': ', '.join(facts.get('entries', ())),
            'loss': facts.get('criterion'), 'tiles': facts.get('tile_conf_mode'),
            'licence': facts.get('licence'), 'source': facts.get('source')}
    for name, value in rows.items():
        if value:
            print(f'{name:<14}{value}')


def _layers(network: str, architecture: dict[str, Any]) -> dict[str, str]:
    """Describe encoder, decoder and input."""
    backbone = architecture.get('backbone', architecture.get('resnet', architecture))
    if 'num_blocks' in backbone:
        norm = architecture['normalisation']
        mean, std = (' '.join(f'{255 * value:.3f}' for value in norm[key])
                     for key in ('mean', 'std'))
        return {'encoder': f'ResNet, blocks {" ".join(map(str, backbone["num_blocks"]))}, width '
                f'{backbone["width"]}, batch norm eps {backbone["norm_eps"]:g}',
                'input': f'{norm["channels"].upper()} in [0, 255] minus {mean}, over {std}'}
    rope = f'RoPE, base {backbone["rope_base"]:g}; images of any size'
    sides = ' x '.join(map(str, backbone['img_size']))
    stacks = {name: f'{backbone[f"{key}_num_layers"]} blocks of width '
                    f'{backbone[f"{key}_embed_dim"]}, {backbone[f"{key}_num_heads"]} heads'
              for name, key in (('encoder', 'enc'), ('decoder', 'dec'))
              if name == 'encoder' or network != 'one_view'}
    return {**stacks, 'patches': f'{backbone["patch_size"]} px',
            'positions': rope if backbone['position'] == 'rope' else 'cosine; images of one size',
            'image size': f'{sides} px (h x w)'}


def _info(text: str) -> dict[str, Any]:
    path = Path(text)
    if path.is_file() and path.suffix in CHECKPOINT_SUFFIXES \
            or (path / 'weights.safetensors').is_file() and not _is_model(text):
        return checkpoint_info(path)
    return model_info(text) if _is_model(text) else bag_info(path)


def _is_model(text: str) -> bool:
    path = Path(text)
    return not path.exists() and path.suffix not in ('.mcap', '.db3') and '/' not in text \
        or (path / 'manifest.yaml').is_file()


def _camera_facts(camera: Any) -> dict[str, Any]:
    info = camera.camera_info
    return {'image': camera.image, 'info': camera.info, 'images': camera.count,
            'frame_id': info.header.frame_id, 'width': int(info.width),
            'height': int(info.height), 'fx': float(info.p[0]), 'cx': float(info.p[2]),
            'cy': float(info.p[6]), 'distortion_model': info.distortion_model,
            'rectified': not camera.distorted}


def _pair_facts(left: Any, right: Any) -> dict[str, Any]:
    from crossview_ros.errors import CalibrationError
    from crossview_ros.messages.camera_info import read_stereo_rig
    facts = {'left': left.image, 'right': right.image, 'pairs': min(left.count, right.count),
             'baseline_m': None, 'problem': None}
    try:
        facts['baseline_m'] = read_stereo_rig(left.camera_info, right.camera_info).baseline
    except CalibrationError as error:
        facts['problem'] = str(error)
    return facts


def _print_bag(facts: dict[str, Any]) -> None:
    print(f'bag       {facts["path"]}\nstorage   {facts["storage"]}\n'
          f'duration  {facts["duration_s"]:.2f} s\nmessages  {facts["messages"]}\n')
    _print_table(('topic', 'type', 'count', 'Hz'),
                 [(topic['name'], topic['type'], str(topic['count']),
                   '-' if topic['rate_hz'] is None else f'{topic["rate_hz"]:.2f}')
                  for topic in facts['topics']], numbers=(2, 3))
    if facts['cameras']:
        print()
        _print_table(('camera', 'size [px]', 'fx [px]', 'cx [px]', 'cy [px]', 'rectified'),
                     [(camera['image'], f'{camera["width"]}x{camera["height"]}',
                       *(f'{camera[name]:.2f}' for name in ('fx', 'cx', 'cy')),
                       'yes' if camera['rectified'] else f'no, {camera["distortion_model"]}')
                      for camera in facts['cameras']], numbers=(2, 3, 4))
    print()
    for pair in facts['stereo_pairs']:
        found = pair['problem'] or f'baseline {pair["baseline_m"]:.4f} m'
        print(f'stereo    {pair["left"]} + {pair["right"]}: {pair["pairs"]} pairs, {found}')
    if not facts['stereo_pairs']:
        print('stereo    no pair found (no CameraInfo has a baseline): one camera gives flow only')


def _print_model(facts: dict[str, Any]) -> None:
    from crossview_ros.config import dump_yaml
    print(f'model     {facts["path"]}\nsize      {facts["size_bytes"] / 1e6:.1f} MB\n')
    print(dump_yaml(facts['manifest']), end='')


def _print_table(header: tuple, rows: list[tuple], numbers: tuple = ()) -> None:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        cells = [text.rjust(width) if column in numbers else text.ljust(width)
                 for column, (text, width) in enumerate(zip(row, widths))]
        print('  '.join(cells).rstrip())
