# SPDX-License-Identifier: Apache-2.0
"""
Create the virtual environment of this checkout; run by `make install`, cheap when up to date.

Without ROS it holds the binary ROS wheels where they exist (x86_64 Linux). Where ROS is sourced,
it shares the system's packages, installs no ROS wheel and keeps the NumPy generation that the
installed ROS packages were built for.
"""
import argparse
import hashlib
import os
from pathlib import Path
import platform
import shutil
import subprocess
import sys

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_ROS = 'onnx,train,rtx,slam,test'


def main(argv=None):
    """Install, unless the stamp says that this very installation exists."""
    parser = argparse.ArgumentParser(description='create .venv and install the package into it')
    parser.add_argument('--venv', type=Path, default=ROOT / '.venv')
    venv = parser.parse_args(argv).venv.absolute()
    base = base_interpreter()
    ros = sourced_ros(base)
    stamp, wanted = venv / 'installed', fingerprint(base, ros)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    require_venv_module(base)
    if venv_shares_system(venv) not in (None, bool(ros)):
        shutil.rmtree(venv)
    share = ['--system-site-packages'] if ros else []
    call(base, '-m', 'venv', *share, venv)
    python = venv / 'bin' / 'python'
    # The pip of Ubuntu 22.04 does not know editable installs by PEP 660.
    call(python, '-m', 'pip', 'install', '--quiet', '--upgrade', 'pip')
    extras = WITHOUT_ROS if ros else 'all'
    call(python, '-m', 'pip', 'install', '--constraint', constraints(python, venv, ros),
         '--editable', '{}[{}]'.format(ROOT, extras))
    stamp.write_text(wanted)
    print('installed into {} ({})'.format(venv, ros_summary(python, ros)))


def base_interpreter():
    """Return the interpreter outside any virtual environment, which the new one is made from."""
    if sys.version_info < (3, 10):
        stop('Python 3.10 or newer is needed, {} is {}. Choose one: make install '
             'PYTHON=python3.12'.format(sys.executable, platform.python_version()))
    return getattr(sys, '_base_executable', None) or sys.executable


def sourced_ros(base):
    """Return the name of the ROS distribution that `base` can import, or None without ROS."""
    found = subprocess.run([base, '-c', 'import rclpy'], capture_output=True).returncode == 0
    distro = os.environ.get('ROS_DISTRO')
    if distro and not found:
        stop('ROS {} is sourced but {} cannot import rclpy. Choose the interpreter that ROS was '
             'built for: make install PYTHON=/usr/bin/python3'.format(distro, base))
    return (distro or 'ROS') if found else None


def require_venv_module(base):
    """Stop with the remedy where Debian's split-off venv package is missing."""
    if subprocess.run([base, '-c', 'import ensurepip, venv'], capture_output=True).returncode:
        stop('{} cannot create virtual environments. On Debian and Ubuntu: sudo apt install '
             'python3-venv'.format(base))


def venv_shares_system(venv):
    """Return whether an existing environment sees the system's packages; None if there is none."""
    config = venv / 'pyvenv.cfg'
    if not config.is_file():
        return None
    return 'include-system-site-packages = true' in config.read_text()


def constraints(python, venv, ros):
    """
    Return the constraints file: the tested versions, or beside ROS only what has to be fixed.

    ROS packages with compiled parts (cv_bridge) are built for one NumPy generation: it stays.
    """
    tested = ROOT / 'constraints.txt'
    if not ros:
        return tested
    pins = [line for line in tested.read_text().splitlines() if line.startswith('torch==')]
    probe = subprocess.run([str(python), '-c', 'import numpy; print(numpy.__version__)'],
                           capture_output=True, text=True)
    if probe.stdout.startswith('1.'):
        pins.append('numpy<2')
    own = venv / 'constraints.txt'
    own.write_text('\n'.join(pins) + '\n')
    return own


def fingerprint(base, ros):
    """Return what an installation depends on, as text."""
    digest = hashlib.sha256()
    for name in ('setup.py', 'constraints.txt', '.ci/install.py'):
        digest.update((ROOT / name).read_bytes())
    return '{} {} {} {}\n'.format(digest.hexdigest(), base, platform.python_version(), ros)


def ros_summary(python, ros):
    """Say where rclpy comes from."""
    if ros:
        return 'ROS: {}'.format(ros)
    has_ros = subprocess.run([str(python), '-c', 'import rclpy'], capture_output=True)
    return 'ROS: wheels' if has_ros.returncode == 0 else 'no ROS: the demo runs in process'


def call(*command):
    """Run a command; stop with its exit status if it fails."""
    status = subprocess.run([str(part) for part in command], cwd=str(ROOT)).returncode
    if status:
        sys.exit(status)


def stop(message):
    """End with the reason and the remedy."""
    sys.exit('make install: ' + message)


if __name__ == '__main__':
    main()
