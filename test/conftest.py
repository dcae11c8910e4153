# SPDX-License-Identifier: Apache-2.0
"""
Set up what every test shares: marks, seeds, thread limits, ROS isolation and the shared data.

The environment is set before any test module is imported, so that torch, OpenMP and ROS read it.
"""
import atexit
import importlib.util
import os
from pathlib import Path
import random
import shutil
import sys
import tempfile

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent

# Several suites may run on one small machine: one thread each is quickest and reproducible.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MPLBACKEND', 'Agg')
# Matplotlib keeps its list of fonts, which takes seconds to make.
os.environ.setdefault('MPLCONFIGDIR', str(Path('~/.cache/matplotlib').expanduser()))
# Graphs and choices of backends are made anew by each run of the suite; its processes share them.
if 'CROSSVIEW_TEST_CACHE' not in os.environ:
    made = tempfile.mkdtemp(prefix='crossview_cache_')
    os.environ.update(CROSSVIEW_TEST_CACHE=made, XDG_CACHE_HOME=made)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
# Field types of messages are unchecked by default (Jazzy and newer): a wrong one would pass.
os.environ.setdefault('ROS_PYTHON_CHECK_FIELDS', '1')
# Domains 1-101 use no port of the ephemeral range; two suites at once do not hear each other, nor
# do two processes of one suite, which inherit the domain of the one that started them.
if 'ROS_DOMAIN_ID' not in os.environ or 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 101)
if os.environ.get('ROS_DISTRO') == 'humble':
    os.environ.setdefault('ROS_LOCALHOST_ONLY', '1')
else:
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')

MARKS = {
    'gpu': 'needs a CUDA device',
    'ros': 'needs rclpy',
    'slow': 'takes more than some seconds; run with -m slow',
}


def pytest_configure(config):
    """Register the marks of the project."""
    for name, meaning in MARKS.items():
        config.addinivalue_line('markers', f'{name}: {meaning}')


@pytest.hookimpl(tryfirst=True)   # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Skip, with the reason, what this machine cannot run; say what may run side by side."""
    if config.pluginmanager.hasplugin('xdist'):
        _group(items)
    for name, absent in (('ros', _ros_absent), ('gpu', _gpu_absent)):
        marked = [item for item in items if item.get_closest_marker(name)]
        reason = absent() if marked else None
        if reason is not None:
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def _group(items):
    """
    Give every file to one process, and all live nodes to the same: they want the time.

    The nodes come first, as the largest group.
    """
    live = {item.path for item in items if item.get_closest_marker('ros')}
    items.sort(key=lambda item: item.path not in live)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(
            'ros' if item.path in live else str(item.path)))


def _ros_absent():
    return None if importlib.util.find_spec('rclpy') else 'rclpy is not installed'


def _gpu_absent():
    if importlib.util.find_spec('torch') is None:
        return 'torch is not installed'
    import torch
    return None if torch.cuda.is_available() else 'no CUDA device'


@pytest.fixture(autouse=True)
def seeded():
    """Seed Python's, NumPy's and (where loaded by the test module) torch's generators."""
    seed_everything(0)


@pytest.fixture
def rng():
    """Return a seeded NumPy generator; prefer it to the global one."""
    return np.random.default_rng(0)


@pytest.fixture(scope='session')
def root():
    """Return the root of the source tree."""
    return ROOT


@pytest.fixture(scope='session')
def shared_dir():
    """Return the folder of the reference data beside the checkout, or skip."""
    folder = ROOT.parent / 'shared'
    if not (folder / 'data').is_dir():
        pytest.skip('no reference data: ../shared/data is not beside the checkout')
    return folder


def seed_everything(seed):
    """Seed the global generators; torch only if it is loaded, which costs a second."""
    random.seed(seed)
    np.random.seed(seed)
    if 'torch' in sys.modules:
        sys.modules['torch'].manual_seed(seed)
