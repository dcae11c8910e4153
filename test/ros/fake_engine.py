# SPDX-License-Identifier: Apache-2.0
"""An engine that needs no model, for the tests of the node; behaves as FAKE_ENGINE says."""
import json
import os
import time
from types import SimpleNamespace

from crossview_ros.errors import BackendError
from crossview_ros.runtime.results import TrackingStatus
import numpy as np

DISPARITY_PX = 8.0
FLOW_PX = 3.0, -4.0
ONE_CAMERA_DEPTH_M = 7.0
STEP_M = 0.1   # along the optical axis, per frame
TASKS = 'stereo', 'flow', 'odometry'
BEHAVIOUR = json.loads(os.environ.get('FAKE_ENGINE', '{}'))


class FakeEngine:
    """Sees a wall, and itself moving towards it at a constant pace."""

    manifest = SimpleNamespace(name='fake')
    backend_name, device = 'fake', 'cpu'

    def __init__(self, process_s=0.0, fail_on=(), lost_on=(), tasks=TASKS):
        """Remember how to behave."""
        self.process_s, self.fail_on, self.lost_on = process_s, fail_on, lost_on
        self.tasks, self.num_frames, self.options = tasks, 0, {}
        self.reset()

    def process(self, left, right, rig, stamp_ns, cloud=None, visible=None):
        """Answer like Perception."""
        self.num_frames += 1
        if self.num_frames in self.fail_on:
            raise RuntimeError('out of memory')
        time.sleep(self.process_s)
        fields = {'stamp_ns': stamp_ns, 'timing_ms': {'encode': 1.0}, 'depth': None,
                  'disparity': None, 'confidence': None, 'flow': None, 'flow_confidence': None,
                  'previous_stamp_ns': self.previous_ns}
        if right is not None:
            fields |= self.wall(left.shape[:2], rig)
        elif 'depth' in self.tasks:
            depth = np.full(left.shape[:2], ONE_CAMERA_DEPTH_M, np.float32)
            fields |= {'depth': depth, 'confidence': np.full_like(depth, 0.5)}
        if self.previous_ns is not None:
            fields['flow'] = np.full((*left.shape[:2], 2), FLOW_PX, np.float32)
            fields['flow_confidence'] = np.full(left.shape[:2], 0.25, np.float32)
        fields |= self.motion(fields['depth'] is not None)
        self.previous_ns = stamp_ns
        return SimpleNamespace(**fields)

    def wall(self, size_hw, rig):
        """Return depth, disparity and confidence."""
        disparity = np.full(size_hw, DISPARITY_PX, np.float32)
        disparity[0] = np.nan
        depth = np.float32(rig.left.fx * rig.baseline) / (disparity + np.float32(rig.doffs))
        depth[depth > self.options.get('max_depth', np.inf)] = np.inf
        return {'depth': depth, 'disparity': disparity,
                'confidence': np.full_like(depth, 0.5)}

    def motion(self, has_depth):
        """Return the fields of the odometry."""
        status = TrackingStatus.OK
        if not has_depth:
            status = TrackingStatus.OFF
        elif self.previous_ns is None:
            status = TrackingStatus.INITIALISING
        elif self.num_frames in self.lost_on:
            status = TrackingStatus.LOST
        if status is not TrackingStatus.OK:
            reason = 'too few inliers' if status is TrackingStatus.LOST else ''
            return {'status': status, 'lost_reason': reason}
        self.num_steps += 1
        T_prev_cur, T_odom_camera = np.eye(4), np.eye(4)
        T_prev_cur[2, 3], T_odom_camera[2, 3] = STEP_M, STEP_M * self.num_steps
        return {'status': status, 'lost_reason': '', 'num_inliers': 100, 'T_prev_cur': T_prev_cur,
                'T_odom_camera': T_odom_camera, 'covariance_rel': 1e-4 * np.eye(6),
                'covariance': 1e-4 * self.num_steps * np.eye(6)}

    def set_options(self, **options):
        """Take the dynamic options."""
        self.options = options

    def reset(self):
        """Make the next frame the first one."""
        self.previous_ns, self.num_steps = None, 0

    def close(self):
        """Free nothing."""


def open_fake(settings, progress):
    """Take as long as asked to load."""
    behaviour = {key: value for key, value in BEHAVIOUR.items() if key != 'task'}
    progress('building stereo: 40 %')
    time.sleep(behaviour.pop('load_s', 0.0))
    if behaviour.pop('fail_load', False):
        raise BackendError(f'no model {settings.model}')
    return FakeEngine(**behaviour)
