# SPDX-License-Identifier: Apache-2.0
"""Run a model in PyTorch, on the CPU or a CUDA device; the reference for other backends."""
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from crossview_ros.errors import BackendError, CheckpointError
from crossview_ros.runtime.backends import (
    BackendOptions, encoder_of, OUTPUT_OF_TASK, POSE_BESIDE_FLOW)
from crossview_ros.runtime.backends.cuda_graphs import CudaGraphs
from crossview_ros.runtime.manifest import gain_and_bias, ModelManifest
import numpy as np


class TorchBackend:
    """Keep the float32 networks on their device; see `Backend` for what may be called when."""

    name = 'torch'
    precision = 'fp32'

    def __init__(self, folder: Path, manifest: ModelManifest, options: BackendOptions):
        """
        Load the weights.

        :param options: PyTorch has one number of threads per process, so that of the options
            also holds for everything else that runs in it.
        :raises BackendError: If PyTorch is missing, there is no CUDA device but one is wanted,
            or another precision is.
        :raises CheckpointError: If the weights cannot be used.
        """
        if options.precision not in ('auto', self.precision):
            raise BackendError(f"backend 'torch' runs in fp32 only, got '{options.precision}'; "
                               "choose backend 'onnxruntime' or another precision")
        try:
            import torch
            from crossview_ros.networks.checkpoint import load_multi_task
        except ModuleNotFoundError as error:
            raise BackendError(
                f"backend 'torch' cannot be opened: no module named '{error.name}'. Install the "
                'requirements of this package (pip install .), or choose another backend.') \
                from error
        self._torch = torch
        self._num_threads = options.num_threads
        self.device = _choose_device(torch, options.device)
        files = {task: manifest.network_of(task) for task in manifest.tasks}
        networks = {file: load_multi_task(folder / file) for file in set(files.values())}
        missing = sorted(task for task, file in files.items() if task not in networks[file].tasks)
        if missing:
            has = {file: network.tasks for file, network in networks.items()}
            raise CheckpointError(f'{folder}: the manifest promises tasks {missing}, but the '
                                  f'weights have {has}; export the model again')
        for network in networks.values():
            network.to(self.device)
        self._network_of = {task: networks[file] for task, file in files.items()}
        self._encoders = {encoder_of(manifest, task): networks[file]
                          for task, file in files.items()}
        self._gain_and_bias = [torch.from_numpy(part).to(self.device)
                               for part in gain_and_bias(manifest.normalisation)]
        self._reversed = manifest.normalisation.channels == 'bgr'
        # on a CPU nothing is saved by it, and NumPy normalises as fast
        self.takes_pixels = self.device == 'cuda'
        self._graphs = CudaGraphs(torch) if self.device == 'cuda' else None

    def run(self, graph: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run a graph; as `Backend.run`."""
        torch = self._torch
        # the number belongs to the calling thread, which need not be the one that opened us
        if self._num_threads is not None and torch.get_num_threads() != self._num_threads:
            torch.set_num_threads(self._num_threads)
        try:
            with torch.inference_mode():
                return self._run(graph, inputs)
        except RuntimeError as error:   # includes running out of device memory
            raise BackendError(f"backend 'torch' failed in graph '{graph}' on {self.device}: "
                               f'{str(error).splitlines()[0]}') from error

    def to_numpy(self, handle: Any) -> np.ndarray:
        """Copy an output to the host; as `Backend.to_numpy`."""
        return np.ascontiguousarray(handle.float().cpu().numpy())

    def wait(self) -> None:
        """Wait for the device; as `Backend.wait`."""
        if self.device != 'cpu':
            self._torch.cuda.synchronize(self.device)

    def close(self) -> None:
        """Drop the networks, and give their CUDA memory back."""
        self._network_of, self._encoders = {}, {}
        if self._graphs is not None:
            self._graphs.close()
        if self.device != 'cpu':
            self._torch.cuda.empty_cache()

    def _run(self, graph: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if graph in self._encoders:
            image = self._upload(inputs['image'])
            return {'features': self._call(graph, partial(self._encode, graph), image)}
        if graph not in self._network_of:
            raise BackendError(f"the model has no graph '{graph}'; it has "
                               f'{", ".join([*self._encoders, *self._network_of])}')
        views = [inputs[name] for name in sorted(inputs)]   # features1, features2
        names = OUTPUT_OF_TASK[graph], 'log_scale', POSE_BESIDE_FLOW
        outputs = zip(names, self._call(graph, partial(self._predict, graph), *views))
        return {name: value for name, value in outputs if value is not None}

    def _call(self, graph: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments) if self._graphs is None \
            else self._graphs.run(graph, function, *arguments)

    def _upload(self, image: np.ndarray) -> Any:
        tensor = self._torch.from_numpy(image)
        return tensor if self.device == 'cpu' \
            else tensor.pin_memory().to(self.device, non_blocking=True)

    def _encode(self, graph: str, image: Any) -> Any:
        network = self._encoders[graph]
        if image.dtype == self._torch.uint8:
            gain, bias = self._gain_and_bias
            ordered = image.flip(-1) if self._reversed else image
            image = (ordered * gain - bias).permute(0, 3, 1, 2).contiguous()
        return _without_unread_blocks(network.encode(image), network.heads)

    def _predict(self, graph: str, *views: Any) -> tuple[Any, Any, Any]:
        predictions = self._network_of[graph].predict_all(graph, *views)
        dense, pose = predictions[graph], predictions.get('pose')
        # not the estimates before the last
        return dense.value, dense.log_scale, None if pose is None else pose.T_1_2


def _without_unread_blocks(features: Any, heads: Any) -> Any:
    """Drop tokens that no head reads: those of 24 blocks and many windows take gigabytes."""
    last = len(features.tokens) - 1   # the decoder reads it
    read = {last}.union(*(getattr(head, 'hooks', ()) for head in heads.values()))
    return features._replace(tokens=[tokens if i in read else None
                                     for i, tokens in enumerate(features.tokens)])


def _choose_device(torch: Any, device: str) -> str:
    available = torch.cuda.is_available()
    if device == 'cuda' and not available:
        raise BackendError("backend 'torch' finds no CUDA device: is the driver there, and is "
                           f'this PyTorch ({torch.__version__}) built for CUDA? '
                           "Device 'cpu' always works.")
    return 'cuda' if available and device != 'cpu' else 'cpu'
