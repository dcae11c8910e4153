# SPDX-License-Identifier: Apache-2.0
"""
Run perception_node with an engine that needs no model, for the tests of the node.

The environment variable FAKE_ENGINE holds its behaviour as JSON: load_s, process_s, fail_load,
fail_on (numbers of the frames that fail).
"""
import json
import os
import time
from types import SimpleNamespace

from crossview_ros.errors import BackendError
from crossview_ros.ros.perception_node import main
import numpy as np

DISPARITY_PX = 8.0


class FakeEngine:
    """Answers every pair with the disparity of a wall."""

    manifest = SimpleNamespace(name='fake')
    backend_name, device, tasks = 'fake', 'cpu', ('stereo',)

    def __init__(self, process_s=0.0, fail_on=()):
        """Remember how to behave."""
        self.process_s, self.fail_on, self.num_frames = process_s, fail_on, 0
        self.options = {}

    def process(self, left, right, rig, stamp_ns, cloud=None):
        """Answer like Perception."""
        self.num_frames += 1
        if self.num_frames in self.fail_on:
            raise RuntimeError('out of memory')
        time.sleep(self.process_s)
        disparity = np.full(left.shape[:2], DISPARITY_PX, np.float32)
        disparity[0] = np.nan
        depth = np.float32(rig.left.fx * rig.baseline) / (disparity + np.float32(rig.doffs))
        depth[depth > self.options.get('max_depth', np.inf)] = np.inf
        return SimpleNamespace(
            stamp_ns=stamp_ns, depth=depth, disparity=disparity,
            confidence=np.full_like(depth, 0.5), timing_ms={'encode': 1.0})

    def set_options(self, **options):
        """Take the dynamic options."""
        self.options = options

    def reset(self):
        """Forget nothing."""

    def close(self):
        """Free nothing."""


def open_fake(settings):
    """Take as long as asked to load."""
    behaviour = json.loads(os.environ.get('FAKE_ENGINE', '{}'))
    time.sleep(behaviour.pop('load_s', 0.0))
    if behaviour.pop('fail_load', False):
        raise BackendError(f'no model {settings.model}')
    return FakeEngine(**behaviour)


if __name__ == '__main__':
    raise SystemExit(main(engine_factory=open_fake))
