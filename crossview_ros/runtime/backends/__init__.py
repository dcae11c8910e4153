# SPDX-License-Identifier: Apache-2.0
"""
What runs the network: one protocol, and a table of the backends that speak it.

A model is a set of graphs; height and width are multiples of the manifest's ``size_multiple``,
and the batch B is 1, or for tiled inference the tiles that run at once:

- ``encode``: {'image': (B, 3, H, W) float32 normalised} -> {'features': handle}
- ``stereo``: {'features1': left, 'features2': right} -> {'disparity': (B, 1, H, W) [px],
  'log_scale': (B, 1, H, W)}
- ``flow``: {'features1': previous, 'features2': current} -> {'flow': (B, 2, H, W) [px],
  'log_scale': (B, 1, H, W)}

Features are of one network. Where tasks have networks of their own, each of these has its
``encode`` graph, whose name `encoder_of` tells. ``log_scale`` is raw: what it is the logarithm of
says the manifest. It is missing where the head gives none.
"""
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from crossview_ros.errors import BackendError
from crossview_ros.runtime.manifest import ModelManifest, verify_files
import numpy as np

ENCODE = 'encode'
OUTPUT_OF_TASK = {'stereo': 'disparity', 'flow': 'flow'}   # graph -> its main output
DEVICES = ('auto', 'cpu', 'cuda')

Handle = Any   # opaque: arrays on the device, whose layout only the backend knows


class Backend(Protocol):
    """
    A loaded model on a device.

    Handles stay valid until they are garbage collected or the backend is closed, so features of
    one frame may be used with the next. One thread at a time may call.
    """

    name: str
    device: str   # 'cpu' or 'cuda'

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


def encoder_of(manifest: ModelManifest, task: str) -> str:
    """Return the graph that encodes images for a task; tasks of one network share it."""
    return f'{ENCODE}_{Path(manifest.network_of(task)).stem}' if manifest.networks else ENCODE


Opener = Callable[[Path, ModelManifest, str, int | None], Backend]


def _open_torch(folder: Path, manifest: ModelManifest, device: str,
                num_threads: int | None) -> Backend:
    from crossview_ros.runtime.backends.torch_ import TorchBackend
    return TorchBackend(folder, manifest, device, num_threads)


BACKENDS: dict[str, Opener] = {'torch': _open_torch}


def open_backend(name: str, folder: str | Path, manifest: ModelManifest, device: str = 'auto',
                 num_threads: int | None = None) -> Backend:
    """
    Load a model into a backend.

    :param name: One of BACKENDS, or 'auto'.
    :param folder: Model folder; its files are checked against the manifest first.
    :param device: 'auto' (CUDA where there is one), 'cpu' or 'cuda'.
    :param num_threads: CPU threads of one run; None leaves the backend's default.
    :raises BackendError: If the backend is unknown, its packages are missing, or the device is.
    :raises CheckpointError: If files of the model are missing or damaged.
    """
    chosen = 'torch' if name == 'auto' else name
    if chosen not in BACKENDS:
        raise BackendError(f"no backend '{name}'; known: auto, {', '.join(sorted(BACKENDS))}")
    if device not in DEVICES:
        raise BackendError(f"no device '{device}'; expected one of {', '.join(DEVICES)}")
    verify_files(folder, manifest)
    return BACKENDS[chosen](Path(folder), manifest, device, num_threads)
