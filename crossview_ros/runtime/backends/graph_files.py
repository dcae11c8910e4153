# SPDX-License-Identifier: Apache-2.0
"""
Find the ONNX graphs of a model: beside its weights, in the cache, or newly exported.

Graphs are of one image size, with the batch left open, and take images as uint8. Their folder's
name tells what they were made from, so graphs of other weights are never found. PyTorch is needed
only to export.
"""
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from crossview_ros.config import to_dict
from crossview_ros.errors import BackendError
from crossview_ros.runtime.backends import ENCODE, encoder_of
from crossview_ros.runtime.backends.cache_folder import key_of, write_file
from crossview_ros.runtime.manifest import ModelManifest
import numpy as np

OPSET = 17    # LayerNormalization came with it, GridSample with the one before
REVISION = 2  # of the export: another one does not find the graphs of this one
BESIDE = 'onnx'   # folder in a model folder


class GraphFiles:
    """The graphs of one model in one precision; keeps nothing but what it was made with."""

    def __init__(self, folder: Path, manifest: ModelManifest, precision: str, cache: Path,
                 progress: Callable[[str], None] = lambda text: None):
        """
        Name the graphs; nothing is read yet.

        :param precision: fp32, fp16, bf16 or int8.
        :param cache: Folder for graphs that have to be exported.
        :param progress: Told what is exported.
        """
        self._folder, self._manifest, self._precision = folder, manifest, precision
        self._cache, self._progress = cache, progress
        self._weights = {}   # graph -> weight file of its network
        for task in manifest.tasks:
            file = manifest.network_of(task)
            self._weights |= {encoder_of(manifest, task): file, task: file}
        if 'flow' in self._weights and self._weights.get('pose') == self._weights['flow']:
            del self._weights['pose']   # the graph of flow gives it, too

    @property
    def graphs(self) -> tuple[str, ...]:
        """Return the names of all graphs."""
        return tuple(self._weights)

    def path(self, graph: str, size_hw: tuple[int, int]) -> Path:
        """
        Return the file of a graph, which is exported where it is missing.

        :param size_hw: Height and width of the network's input [px].
        :raises BackendError: If there is no such graph, or it cannot be exported.
        """
        if graph not in self._weights:
            raise BackendError(f"the model has no graph '{graph}'; it has "
                               f'{", ".join(self._weights)}')
        beside = self.beside(graph, size_hw)
        cached = self._cache / 'graphs' / beside.relative_to(self._folder / BESIDE)
        if beside.is_file():
            return beside
        if not cached.is_file():
            self.export(graph, size_hw, cached)
        return cached

    def beside(self, graph: str, size_hw: tuple[int, int]) -> Path:
        """Return where a graph lies that is shipped with the weights."""
        return self._folder / BESIDE / self.key(graph, size_hw) / f'{graph}.onnx'

    def key(self, graph: str, size_hw: tuple[int, int]) -> str:
        """Return the name of the folder for a graph and a size."""
        rows, cols = size_hw
        facts = {'weights': self._manifest.files.get(self._weights[graph]), 'size': [rows, cols],
                 'normalisation': to_dict(self._manifest.normalisation),
                 'precision': self._precision, 'opset': OPSET, 'revision': REVISION,
                 'version': _version()}
        return f'{self._manifest.name}-{rows}x{cols}-{self._precision}-{key_of(facts)}'

    def export(self, graph: str, size_hw: tuple[int, int], path: Path,
               frames: Sequence[tuple[np.ndarray, np.ndarray]] = ()) -> None:
        """
        Write a graph to ``path``, by PyTorch.

        :param frames: For int8: pairs of views to calibrate with, (1, H, W, 3) uint8 RGB each.
        :raises BackendError: If PyTorch or onnx is missing, the network refuses the size, or
            there are no frames for int8.
        """
        if self._precision == 'int8' and not frames:
            raise BackendError(
                f'{path}: an int8 graph has to be calibrated: crossview export '
                f'{self._manifest.name} --format onnx --precision int8 --calibration BAG --size '
                f'{size_hw[0]}x{size_hw[1]}')
        try:
            from crossview_ros.export.calibration import calibration_inputs
            from crossview_ros.export.onnx import graphs_of, save_onnx
            from crossview_ros.networks.checkpoint import load_multi_task
        except ModuleNotFoundError as error:
            raise BackendError(
                f'{path}: this graph has to be exported, which needs the package '
                f"'{error.name}'; install it, or run `crossview export {self._manifest.name} "
                f'--format onnx --size {size_hw[0]}x{size_hw[1]}` where it is') from error
        self._progress(f'exporting {graph} {size_hw[0]}x{size_hw[1]} {self._precision}')
        network = load_multi_task(self._folder / self._weights[graph])
        only = graph if graph in self._manifest.tasks else ENCODE
        try:
            exported, = graphs_of(network, size_hw, only=only,
                                  pixels=self._manifest.normalisation)
            calibration = calibration_inputs(network, exported, frames,
                                             self._manifest.normalisation)
            write_file(path, lambda to: save_onnx(exported, to, self._precision, calibration))
        except ValueError as error:   # the network refuses the size
            raise BackendError(f'{size_hw[0]}x{size_hw[1]}: {error}') from error


def _version() -> str:
    try:
        return metadata.version('crossview_ros')
    except metadata.PackageNotFoundError:   # a source tree that is not installed
        return 'unknown'
