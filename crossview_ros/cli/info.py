# SPDX-License-Identifier: Apache-2.0
"""Say what a bag holds (topics, stereo pairs, calibration), or what a model folder is."""
import argparse
import json
from pathlib import Path
import sys
from typing import Any

HELP = 'say what a bag or a model folder holds'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('path', metavar='PATH',
                        help='bag folder, .mcap file, model folder, or name of a model')
    parser.add_argument('--extrinsics', type=Path, metavar='YAML',
                        help='write where camera and LiDAR sit, by the /tf_static of a bag, as a '
                             'ROS parameter file')
    parser.add_argument('--json', action='store_true', help='print one JSON object')


def run(args: argparse.Namespace) -> int:
    """Print the facts as tables, or as JSON; write the extrinsics where asked to."""
    if args.extrinsics is not None:
        written = write_extrinsics(Path(args.path), args.extrinsics)
    facts = model_info(args.path) if _is_model(args.path) else bag_info(Path(args.path))
    if args.json:
        print(json.dumps(facts))
    elif facts['kind'] == 'bag':
        _print_bag(facts)
    else:
        _print_model(facts)
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
