# SPDX-License-Identifier: Apache-2.0
"""Run a model's ONNX graphs in ONNX Runtime, on the CPU or a CUDA device; without PyTorch."""
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
import os
from pathlib import Path
from typing import Any

from crossview_ros.errors import BackendError
from crossview_ros.runtime.backends import BackendOptions, encoder_of
from crossview_ros.runtime.backends.graph_files import GraphFiles
from crossview_ros.runtime.manifest import ModelManifest
import numpy as np

NUM_SIZES = 2   # of images whose sessions are kept; each takes the memory of the weights
PROVIDERS = {'cpu': 'CPUExecutionProvider', 'cuda': 'CUDAExecutionProvider'}


@dataclass(frozen=True)
class _Features:
    """Outputs of an encode graph, on the device."""

    parts: dict[str, Any]       # block4, stem0... -> OrtValue
    size_hw: tuple[int, int]    # of the image [px]


class OnnxRuntimeBackend:
    """
    Keep the sessions of the sizes last used; see `Backend` for what may be called when.

    A size that comes for the first time is exported, which takes some seconds, unless its graphs
    are beside the weights or in the cache.
    """

    name = 'onnxruntime'
    takes_pixels = True

    def __init__(self, folder: Path, manifest: ModelManifest, options: BackendOptions):
        """
        Choose the device; graphs are loaded when they are first run.

        :raises BackendError: If ONNX Runtime is missing, or has no such device or precision.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise BackendError(
                f"backend 'onnxruntime' cannot be opened: no module named '{error.name}'. "
                "Install it (pip install crossview_ros[onnx]), or choose backend 'torch'.") \
                from error
        self._onnxruntime = onnxruntime
        self._failures = _failures()
        self.device = _choose_device(onnxruntime, options.device)
        self.precision = 'fp32' if options.precision == 'auto' else options.precision
        if self.precision == 'bf16' and self.device == 'cpu':
            raise BackendError("backend 'onnxruntime' has no bf16 on a CPU; choose fp32")
        self._encoders = {encoder_of(manifest, task) for task in manifest.tasks}
        self._files = GraphFiles(folder, manifest, self.precision, options.cache,
                                 options.progress)
        self._options = _session_options(onnxruntime, options.num_threads)
        self._sessions: OrderedDict[tuple[int, int], dict[str, Any]] = OrderedDict()

    def run(self, graph: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run a graph; as `Backend.run`."""
        arrays, size_hw = self._flat(inputs)
        session = self._session(graph, size_hw)
        try:
            outputs = self._run(session, arrays)
        except self._failures as error:
            raise BackendError(f"backend 'onnxruntime' failed in graph '{graph}' on "
                               f'{self.device}: {_first_line(error)}') from error
        if graph not in self._encoders:
            return outputs
        return {'features': _Features({name.partition('.')[2]: value
                                       for name, value in outputs.items()}, size_hw)}

    def to_numpy(self, handle: Any) -> np.ndarray:
        """Copy an output to the host; as `Backend.to_numpy`."""
        return np.ascontiguousarray(handle.numpy(), np.float32)

    def wait(self) -> None:
        """Do nothing: a run returns when its work is done."""

    def close(self) -> None:
        """Drop the sessions and their memory."""
        self._sessions.clear()

    def _flat(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, int]]:
        """Return {input of a graph: OrtValue}, and the size of the image."""
        if 'image' in inputs:
            image = np.ascontiguousarray(inputs['image'])
            value = self._onnxruntime.OrtValue.ortvalue_from_numpy(image, self.device, 0)
            return {'image': value}, image.shape[1:3]
        flat = {f'{view}.{part}': value for view, features in inputs.items()
                for part, value in features.parts.items()}
        return flat, next(iter(inputs.values())).size_hw

    def _run(self, session: Any, arrays: dict[str, Any]) -> dict[str, Any]:
        binding = session.io_binding()
        for item in session.get_inputs():   # a head reads some of the features only
            binding.bind_ortvalue_input(item.name, arrays[item.name])
        names = [item.name for item in session.get_outputs()]
        for name in names:
            binding.bind_output(name, self.device)
        session.run_with_iobinding(binding)
        return dict(zip(names, binding.get_outputs()))

    def _session(self, graph: str, size_hw: tuple[int, int]) -> Any:
        sessions = self._sessions.setdefault(size_hw, {})
        self._sessions.move_to_end(size_hw)
        while len(self._sessions) > NUM_SIZES:
            self._sessions.popitem(last=False)
        if graph not in sessions:
            sessions[graph] = self._open(graph, size_hw)
        return sessions[graph]

    def _open(self, graph: str, size_hw: tuple[int, int]) -> Any:
        path = self._files.path(graph, size_hw)
        try:
            return self._load(path)
        except self._failures:   # a file that is damaged, or of another version
            self._files.export(graph, size_hw, path)
        try:
            return self._load(path)
        except self._failures as error:
            raise BackendError(f"{path}: backend 'onnxruntime' cannot load this graph: "
                               f'{_first_line(error)}') from error

    def _load(self, path: Path) -> Any:
        return self._onnxruntime.InferenceSession(str(path), self._options,
                                                  providers=[PROVIDERS[self.device]])


def _choose_device(onnxruntime: Any, device: str) -> str:
    if device == 'cpu' or device == 'auto' and not _has_cuda(onnxruntime):
        return 'cpu'
    if not _has_cuda(onnxruntime):
        raise BackendError(
            "backend 'onnxruntime' finds no CUDA device: is the driver there, and is this the "
            f'package onnxruntime-gpu ({", ".join(onnxruntime.get_available_providers())})? '
            "Device 'cpu' always works.")
    return 'cuda'


def _has_cuda(onnxruntime: Any) -> bool:
    if PROVIDERS['cuda'] not in onnxruntime.get_available_providers():
        return False
    try:   # a build for CUDA may run where there is no device
        onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32), 'cuda', 0)
    except _failures():
        return False
    return True


def _session_options(onnxruntime: Any, num_threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    # ONNX Runtime does not read the variable that limits every other library
    limit = os.environ.get('OMP_NUM_THREADS', '')
    options.intra_op_num_threads = num_threads or (int(limit) if limit.isdigit() else 0)
    # graphs take turns: threads of one that spin would take the cores from the next
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3   # errors only
    return options


def _failures() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises; its exceptions have no class in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state
    own = [item for item in vars(state).values()
           if isinstance(item, type) and issubclass(item, Exception)]
    return (RuntimeError, *own)   # the former for inputs of another shape


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
