# SPDX-License-Identifier: Apache-2.0
"""Textured pairs of known motion, and a backend that finds it by slow, exhaustive matching."""
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.runtime.manifest import InputNormalisation, ModelManifest, OutputSpec
import cv2
import numpy as np

MULTIPLE = 16
DEFAULT_HW = (64, 96)
SEARCH_PX = 16     # disparities 0 .. 16
SEARCH_FLOW_PX = 4
LOG_SCALE = -1.0
FOCAL_PX, BASELINE_M = 100.0, 0.2


def texture(rows, cols, seed=0, grain=1.0):
    """Return smooth random texture, (rows, cols, 3) uint8 over the whole range."""
    noise = np.random.default_rng(seed).normal(size=(rows, cols, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), grain)
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def shifted_pair(size_hw, disparity, grain=1.0):
    """Return left and right images of a wall: x in the left one is x - d in the right one."""
    rows, cols = size_hw
    margin = 64
    wide = texture(rows, cols + 2 * margin, grain=grain)
    return (wide[:, margin:margin + cols],
            wide[:, margin + disparity:margin + disparity + cols])


def make_rig(size_hw, doffs=0.0):
    """Return a rig with f * B = 20 px m."""
    rows, cols = size_hw
    cx, cy = (cols - 1) / 2, (rows - 1) / 2
    left = PinholeCamera(cols, rows, FOCAL_PX, FOCAL_PX, cx, cy)
    right = PinholeCamera(cols, rows, FOCAL_PX, FOCAL_PX, cx + doffs, cy)
    return StereoRig(left, right, BASELINE_M)


def make_manifest(**changes):
    """Return the manifest of the fake model."""
    values = {
        'name': 'fake', 'architecture': {'preset': 'block_matching'}, 'tasks': ['stereo', 'flow'],
        'size_multiple': MULTIPLE, 'default_size_hw': DEFAULT_HW,
        'normalisation': InputNormalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.3)),
        'outputs': {'stereo': OutputSpec('px', 'laplace'), 'flow': OutputSpec('px', 'laplace')},
        'files': {}, 'licence': 'Apache-2.0'}
    return ModelManifest(**{**values, **changes})


class Features:
    """A handle: nobody but the backend may look inside."""

    def __init__(self, image):
        """Keep the (h, w, 3) network input."""
        self.inside = image


class BlockMatcher:
    """Find offsets by the least absolute difference in 7x7 windows; count the calls."""

    name = 'block_matcher'
    device = 'cpu'
    precision = 'fp32'

    def __init__(self, log_scale=LOG_SCALE):
        """Start without calls; ``log_scale`` is what every pixel gets, None: no such output."""
        self.log_scale = log_scale
        self.graphs, self.input_shapes, self.encoded = [], [], []
        self.hook = lambda graph: None
        self.num_closed = 0

    def run(self, graph, inputs):
        """Run 'encode', 'stereo' or 'flow'."""
        assert not self.num_closed
        self.graphs.append(graph)
        self.hook(graph)
        if graph == 'encode':
            image = inputs['image']
            assert image.dtype == np.float32 and image.flags.c_contiguous
            self.input_shapes.append(image.shape)
            self.encoded.append(image.copy())
            return {'features': Features(image[0].transpose(1, 2, 0))}
        first, second = (inputs[name].inside for name in ('features1', 'features2'))
        if graph == 'stereo':
            offsets = [(-d, 0) for d in range(SEARCH_PX + 1)]
            found = -self.match(first, second, offsets)[None, :1]
            outputs = {'disparity': found}
        else:
            window = range(-SEARCH_FLOW_PX, SEARCH_FLOW_PX + 1)
            # the first of equally good ones wins: let it be the smallest
            offsets = sorted(((u, v) for v in window for u in window),
                             key=lambda offset: np.hypot(*offset))
            found = self.match(first, second, offsets)[None]
            outputs = {'flow': found}
        if self.log_scale is not None:
            outputs['log_scale'] = np.full_like(found[:, :1], self.log_scale)
        return outputs

    def match(self, first, second, offsets):
        """Return (2, h, w) float32: the best of the offsets (u, v) for each pixel."""
        costs = []
        for u, v in offsets:
            moved = np.roll(second, (-v, -u), (0, 1))   # moved(x) = second(x + offset)
            costs.append(cv2.blur(np.abs(first - moved).sum(-1), (7, 7)))
        best = np.argmin(costs, 0)
        return np.array(offsets, np.float32)[best].transpose(2, 0, 1)

    def to_numpy(self, handle):
        """Return the array."""
        return handle

    def wait(self):
        """Nothing runs in the background."""

    def close(self):
        """Count it."""
        self.num_closed += 1
