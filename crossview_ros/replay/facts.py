# SPDX-License-Identifier: Apache-2.0
"""Say what ran: the input and its calibration, the model, the machine, the versions."""
from importlib import metadata
import os
from pathlib import Path
import platform
from typing import Any

from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.topics import InputTopics

_PACKAGES = {
    'crossview_ros': ('crossview_ros',),
    'torch': ('torch',),
    'NumPy': ('numpy',),
    'OpenCV': ('opencv-python-headless', 'opencv-python', 'opencv-contrib-python'),
    'rosbags': ('rosbags',),
    'rclpy': ('ros-rclpy', 'rclpy'),
}


def input_facts(bag: Bag, topics: InputTopics, rig: StereoRig | PinholeCamera,
                rectify: bool = False) -> dict[str, str]:
    """Describe the bag, the topics that were chosen and their calibration."""
    camera = rig.left if isinstance(rig, StereoRig) else rig
    facts = {'bag': str(bag.path), 'duration': f'{bag.duration_s:.2f} s'}
    if topics.right is None:
        facts['images'] = f'{topics.left.image} (one camera)'
    else:
        facts['left image'] = topics.left.image
        facts['right image'] = topics.right.image
    facts.update({
        'cloud': topics.cloud or 'none',
        'image size': f'{camera.width} x {camera.height} px (w x h)',
        'focal length': f'{camera.fx:.2f} px',
    })
    if isinstance(rig, StereoRig):
        facts['baseline'] = f'{rig.baseline:.4f} m'
        if abs(rig.doffs) > 1e-3:
            facts['principal points differ by'] = f'{rig.doffs:.2f} px'
    if rectify:
        facts['rectified'] = 'here, with the camera_info of the bag'
    return facts


def input_notes(topics: InputTopics, tasks: list[str], rectify: bool) -> list[str]:
    """Return what about the input limits the figures."""
    notes = []
    if topics.right is None:
        notes.append(f'{topics.left.image} is taken as one moving camera, without a right one: '
                     f'{_one_camera_words(topics, tasks)}')
    if not rectify and any(camera.distorted for camera in topics.cameras):
        result = 'Flow' if topics.right is None else 'Depth'
        notes.append(f'{topics.left.image} is not rectified: its camera_info has lens distortion. '
                     f'{result} from images that are not rectified is wrong; set rectify.')
    return notes


def _one_camera_words(topics: InputTopics, tasks: list[str]) -> str:
    if 'stereo' in tasks:
        cloud = '' if topics.cloud is None else f', guided by the points of {topics.cloud}'
        return f'depth is that of one view{cloud}.'
    flow = 'there is optical flow, but' if 'flow' in tasks else \
        'the model has no optical flow, so nothing is left, and'
    return f'{flow} neither depth nor odometry.'


def model_facts(manifest: Any, backend: str, device: str, tasks: list[str]) -> dict[str, str]:
    """
    Describe the model that answered.

    :param manifest: ModelManifest of the model.
    """
    height, width = manifest.default_size_hw
    facts = {
        'model': manifest.name,
        'backend': backend,
        'device': device,
        'tasks': ', '.join(tasks),
        'largest working size': f'{width} x {height} px (w x h)',
        'licence of the weights': manifest.licence,
    }
    for name, digest in manifest.files.items():
        facts[f'sha256 of {name}'] = digest[:16]
    return facts


def machine_facts() -> dict[str, str]:
    """Describe the machine and the versions that matter; packages are not imported."""
    facts = {name: version for name, packages in _PACKAGES.items()
             if (version := _version(packages)) is not None}
    facts['Python'] = platform.python_version()
    facts['system'] = f'{platform.system()} {platform.machine()}'
    facts['processor'] = f'{_processor()}, {os.cpu_count()} cores seen'
    return facts


def _version(packages: tuple[str, ...]) -> str | None:
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor() or 'unknown'
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or 'unknown'
