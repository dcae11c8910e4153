# SPDX-License-Identifier: Apache-2.0
"""
What runs the network: one protocol, and a table of the backends that speak it.

A model is a set of graphs; height and width are multiples of the manifest's ``size_multiple``,
and the batch B is 1, or for tiled inference the tiles that run at once:

- ``encode``: {'image': (B, H, W, 3) uint8 RGB, or (B, 3, H, W) float32 normalised where
  `takes_pixels` says no} -> {'features': handle}
- ``stereo``: {'features1': left, 'features2': right} -> {'disparity': (B, 1, H, W) [px],
  'log_scale': (B, 1, H, W)}
- ``flow``: {'features1': previous, 'features2': current} -> {'flow': (B, 2, H, W) [px],
  'log_scale': (B, 1, H, W)}, and 'T_1_2': (B, 4, 4) where the network has a pose head, too
- ``depth``: {'features1': image} -> {'depth': (B, 1, H, W) [m], 'log_scale': (B, 1, H, W)}; of
  the camera that ``focal_px`` of the manifest names

Features are of one network. Where tasks have networks of their own, each of these has its
``encode`` graph, whose name `encoder_of` tells. ``log_scale`` is raw: what it is the logarithm of
says the manifest. It is missing where the head gives none.
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
import os
from pathlib import Path
from typing import Any, Protocol

from crossview_ros.errors import BackendError
from crossview_ros.runtime.manifest import ModelManifest, verify_files
import numpy as np

ENCODE = 'encode'
# graph -> its main output
OUTPUT_OF_TASK = {'stereo': 'disparity', 'flow': 'flow', 'depth': 'depth'}
POSE_BESIDE_FLOW = 'T_1_2'   # its output that comes from a pose head
NUM_VIEWS = {'stereo': 2, 'flow': 2, 'depth': 1}   # that a graph reads: features1, features2
DEVICES = ('auto', 'cpu', 'cuda')
PRECISIONS = ('auto', 'fp32', 'fp16', 'bf16', 'int8')

Handle = Any   # opaque: arrays on the device, whose layout only the backend knows


class Backend(Protocol):
    """
    A loaded model on a device.

    Handles stay valid until they are garbage collected or the backend is closed, so features of
    one frame may be used with the next. One thread at a time may call.
    """

    name: str
    device: str      # 'cpu' or 'cuda'
    precision: str   # of the products: one of PRECISIONS, never 'auto'

    def run(self, graph: str, inputs: Mapping[str, np.ndarray | Handle]) -> dict[str, Handle]:
        """
        Run a graph; on a GPU it may return before the work is done.

        :param inputs: By name: arrays (copied to the device) or handles of earlier runs.
        :raises BackendError: If the graph is unknown or the run fails.
        """

    def to_numpy(self, handle: Handle) -> np.ndarray:
        """Wait for an output and copy it to the host: float32, contiguous."""

    def wait(self) -> None:
        """Return when all work on the device is done, so that durations are true."""

    def close(self) -> None:
        """Free the model and its memory; nothing else may be called after it."""


def takes_pixels(backend: Backend) -> bool:
    """Tell whether ``encode`` takes uint8 and normalises it; a backend that is silent does not."""
    return getattr(backend, 'takes_pixels', False)


def encoder_of(manifest: ModelManifest, task: str) -> str:
    """Return the graph that encodes images for a task; tasks of one network share it."""
    return f'{ENCODE}_{Path(manifest.network_of(task)).stem}' if manifest.networks else ENCODE


@dataclass(frozen=True)
class BackendOptions:
    """How a model is opened; a backend that cannot do it raises BackendError."""

    device: str = 'auto'              # 'auto': CUDA where there is one; 'cpu', 'cuda'
    num_threads: int | None = None    # CPU threads of one run; None: the backend's default
    precision: str = 'auto'           # 'auto': the best that the backend trusts; PRECISIONS
    cache_dir: Path | None = None     # of graphs, engines and choices; None: the user's
    max_batch: int = 1                # images or tiles that will ever go through at once
    # told in a few words what takes long
    progress: Callable[[str], None] = field(default=lambda text: None, compare=False)

    def __post_init__(self) -> None:
        """Refuse names that mean nothing."""
        for kind, value, known in (('device', self.device, DEVICES),
                                   ('precision', self.precision, PRECISIONS)):
            if value not in known:
                raise BackendError(f"no {kind} '{value}'; expected one of {', '.join(known)}")

    @property
    def cache(self) -> Path:
        """Return cache_dir, else $XDG_CACHE_HOME/crossview_ros, else ~/.cache/crossview_ros."""
        if self.cache_dir is not None:
            return self.cache_dir.expanduser()
        base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
        return Path(base).expanduser() / 'crossview_ros'


Opener = Callable[[Path, ModelManifest, BackendOptions], Backend]


def _open_torch(folder: Path, manifest: ModelManifest, options: BackendOptions) -> Backend:
    from crossview_ros.runtime.backends.torch_ import TorchBackend
    return TorchBackend(folder, manifest, options)


def _open_onnxruntime(folder: Path, manifest: ModelManifest, options: BackendOptions) -> Backend:
    from crossview_ros.runtime.backends.onnxruntime_ import OnnxRuntimeBackend
    return OnnxRuntimeBackend(folder, manifest, options)


def _open_tensorrt(folder: Path, manifest: ModelManifest, options: BackendOptions) -> Backend:
    from crossview_ros.runtime.backends.tensorrt_ import TensorRtBackend
    return TensorRtBackend('tensorrt', folder, manifest, options)


def _open_tensorrt_rtx(folder: Path, manifest: ModelManifest,
                       options: BackendOptions) -> Backend:
    from crossview_ros.runtime.backends.tensorrt_ import TensorRtBackend
    return TensorRtBackend('tensorrt_rtx', folder, manifest, options)


BACKENDS: dict[str, Opener] = {
    'torch': _open_torch, 'onnxruntime': _open_onnxruntime, 'tensorrt': _open_tensorrt,
    'tensorrt_rtx': _open_tensorrt_rtx}


def open_backend(name: str, folder: str | Path, manifest: ModelManifest,
                 options: BackendOptions = BackendOptions()) -> Backend:
    """
    Load a model into a backend.

    :param name: One of BACKENDS; 'auto' is `auto.open_auto`'s.
    :param folder: Model folder; its files are checked against the manifest first.
    :raises BackendError: If the backend is unknown, its packages are missing, or the device is.
    :raises CheckpointError: If files of the model are missing or damaged.
    """
    if name not in BACKENDS:
        raise BackendError(f"no backend '{name}'; known: auto, {', '.join(sorted(BACKENDS))}")
    verify_files(folder, manifest)
    return BACKENDS[name](Path(folder), manifest, options)
