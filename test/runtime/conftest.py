# SPDX-License-Identifier: Apache-2.0
"""Perception on a backend that matches blocks, so that known motion must come out."""
from block_matching import BlockMatcher, make_manifest
from crossview_ros.runtime.backends import BACKENDS
from crossview_ros.runtime.options import PerceptionOptions
from crossview_ros.runtime.perception import Perception
import pytest


@pytest.fixture
def matcher():
    """Return the block matcher."""
    return BlockMatcher()


@pytest.fixture
def perception(matcher):
    """Return a function that makes a Perception on the block matcher."""
    def make(tasks=None, manifest=None, **options):
        return Perception(matcher, manifest or make_manifest(), tasks,
                          PerceptionOptions(**options))
    return make


@pytest.fixture
def registered(monkeypatch, matcher):
    """Register the block matcher as backend 'block_matcher'; return what it was opened with."""
    opened = []

    def opener(folder, manifest, options):
        opened.append((folder, manifest.name, options))
        return matcher
    monkeypatch.setitem(BACKENDS, 'block_matcher', opener)
    return opened
