# SPDX-License-Identifier: Apache-2.0
"""
Run the tests that touch ROS under the wheels of ROS 2 Jazzy and its generation of NumPy.

Makes a virtual environment of its own (default .venv-jazzy) beside the one of `make install`.
"""
import argparse
import os
from pathlib import Path
import platform
import subprocess
import sys

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    'matplotlib', 'numpy', 'opencv-python-headless', 'pydantic', 'pytest', 'pyyaml', 'rosbags',
    'safetensors', 'torch', 'tqdm', 'ros-jazzy-ament-index-python', 'ros-jazzy-diagnostic-msgs',
    'ros-jazzy-lifecycle-msgs', 'ros-jazzy-nav-msgs', 'ros-jazzy-rclpy',
    'ros-jazzy-rmw-fastrtps-cpp', 'ros-jazzy-rosgraph-msgs', 'ros-jazzy-sensor-msgs',
    'ros-jazzy-std-srvs', 'ros-jazzy-stereo-msgs')
TESTS = ('test/ros', 'test/messages')


def main():
    """Install and test; the exit code is that of the tests."""
    parser = argparse.ArgumentParser(description='test under ROS 2 Jazzy with NumPy 1.26')
    parser.add_argument('--venv', type=Path, default=ROOT / '.venv-jazzy')
    parser.add_argument('tests', nargs='*', default=TESTS)
    args = parser.parse_args()
    if platform.machine() != 'x86_64' or sys.version_info >= (3, 13):
        # NumPy 1.26 and the ROS wheels have no builds for the rest
        print('skipped: the wheels of Jazzy with NumPy 1.26 need x86_64 and Python 3.10 to 3.12')
        return 0
    base = getattr(sys, '_base_executable', None) or sys.executable
    python = args.venv.absolute() / 'bin' / 'python'
    if not python.exists():
        subprocess.run([base, '-m', 'venv', args.venv], check=True)
        subprocess.run([python, '-m', 'pip', 'install', '--quiet', '--upgrade', 'pip'],
                       check=True)
    subprocess.run([python, '-m', 'pip', 'install', '--quiet', '--constraint',
                    ROOT / 'constraints-numpy1.txt', *PACKAGES], check=True)
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE')}
    environment['PYTHONPATH'] = str(ROOT)   # also for the nodes that the tests start
    return subprocess.run([python, '-m', 'pytest', *args.tests], cwd=ROOT,
                          env=environment).returncode


if __name__ == '__main__':
    sys.exit(main())
