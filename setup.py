# SPDX-License-Identifier: Apache-2.0
"""Install the package: the same file serves pip and colcon (ament_python)."""
from pathlib import Path

from setuptools import find_packages, setup

NAME = 'crossview_ros'
ROOT = Path(__file__).resolve().parent

CORE = [
    'matplotlib>=3.5',
    'numpy>=1.26',
    'opencv-python-headless>=4.5',
    'pydantic>=2',
    'pyyaml>=6',
    'rosbags>=0.10',
    'safetensors>=0.4',
    'torch>=2.6',
    'tqdm>=4.60',
]

# Binary ROS wheels exist for this platform only; elsewhere ROS comes from its own installation.
WHEELS = "; platform_machine == 'x86_64' and sys_platform == 'linux' and python_version < '3.15'"

EXTRAS = {
    'ros': [requirement + WHEELS for requirement in (
        'ros-ament-index-python',
        'ros-builtin-interfaces',
        'ros-diagnostic-msgs',
        'ros-geometry-msgs',
        'ros-lifecycle-msgs',
        'ros-nav-msgs',
        'ros-rcl-interfaces',
        'ros-rclpy',
        'ros-rmw-fastrtps-cpp',
        'ros-rosgraph-msgs',
        'ros-sensor-msgs',
        'ros-std-msgs',
        'ros-std-srvs',
        'ros-stereo-msgs',
    )],
    'onnx': ['onnx>=1.16', 'onnxruntime>=1.18'],
    'train': ['h5py>=3.8', 'lightning-fabric>=2.5', 'scipy>=1.10', 'tensorboard>=2.16'],
    # Ahead-of-time engine builds run without a GPU.
    'rtx': [
        "cuda-bindings>=12.9; sys_platform == 'linux' and python_version < '3.15'",
        "tensorrt-rtx>=1.2; sys_platform == 'linux' and python_version < '3.15'",
    ],
    'slam': [
        # 4.2 crashes under NumPy 2; 4.3.0 has no wheel for Python 3.10, its alpha has.
        "gtsam==4.3a1; python_version < '3.11'",
        "gtsam>=4.3.0; python_version >= '3.11'",
        "kiss-icp>=1.2; python_version < '3.14'",   # no wheel for 3.14
    ],
    'test': [
        'colcon-common-extensions',
        'flake8',
        'flake8-blind-except',
        'flake8-builtins',
        'flake8-class-newline',
        'flake8-comprehensions',
        'flake8-deprecated',
        'flake8-docstrings',
        'flake8-import-order',
        'flake8-quotes',
        'pydocstyle',
        'pytest',
        'pytest-xdist',
        'ros-ament-flake8',
        'ros-ament-pep257',
    ],
}
EXTRAS['all'] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})


def share_files() -> list[tuple[str, list[str]]]:
    """Return what is installed under share/: index marker, manifest, launch, config, models."""
    share = f'share/{NAME}'
    files = {
        'share/ament_index/resource_index/packages': [f'resource/{NAME}'],
        share: ['package.xml'],
    }
    for pattern in ('launch/*.launch.py', 'config/**/*.yaml', 'config/**/*.rviz', 'models/**/*'):
        for path in sorted(ROOT.glob(pattern)):
            relative = path.relative_to(ROOT)
            if path.is_file() and path.suffix not in ('.onnx', '.engine'):
                files.setdefault(f'{share}/{relative.parent}', []).append(str(relative))
    return sorted(files.items())


setup(
    name=NAME,
    version='0.1.0',
    description='Metric depth, optical flow and odometry from learned cross-view matching',
    license='Apache-2.0',
    maintainer='crossview_ros maintainers',
    maintainer_email='noreply@example.com',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    data_files=share_files(),
    python_requires='>=3.10',
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={'console_scripts': [
        f'crossview = {NAME}.cli.main:main',
        f'perception_node = {NAME}.ros.perception_node:main',
        f'depth_node = {NAME}.ros.perception_node:depth_node',
        f'flow_node = {NAME}.ros.perception_node:flow_node',
        f'odometry_node = {NAME}.ros.perception_node:odometry_node',
    ]},
    zip_safe=False,
)
