# SPDX-License-Identifier: Apache-2.0
"""
Run a model in TensorRT or TensorRT-RTX: engines from the cache, or built and then verified.

Engines are of one image size, like their graphs, and are loaded when an image of a new size
comes, all of them at once. Features stay on the GPU between the encoder and the heads.
"""
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossview_ros.errors import BackendError
from crossview_ros.runtime.backends import BackendOptions, OUTPUT_OF_TASK
from crossview_ros.runtime.backends.cuda import (
    CudaMemory, DeviceArray, gpu_facts, load_cuda)
from crossview_ros.runtime.backends.engine_verdict import verify_engines
from crossview_ros.runtime.backends.engines import EngineSource, Gpu, LoadedEngine
from crossview_ros.runtime.backends.tensorrt_module import load_tensorrt
from crossview_ros.runtime.manifest import ModelManifest
from crossview_ros.runtime.parity import OutputParity
import numpy as np

FEATURES = 'features'
NUM_SIZES = 2   # of images whose engines stay loaded; each takes the memory of the weights
SizeHW = tuple[int, int]


@dataclass(frozen=True)
class Features:
    """What the encoder gives of one image: arrays on the GPU, by part."""

    parts: dict[str, DeviceArray]
    size_hw: SizeHW   # of the image [px]


class TensorRtBackend:
    """Engines and the GPU's memory; see `Backend` for what may be called when."""

    device = 'cuda'
    takes_pixels = True   # a quarter of the bytes of float32 to copy

    def __init__(self, name: str, folder: Path, manifest: ModelManifest, options: BackendOptions):
        """
        Look for the GPU; engines are loaded, or built, when the first image comes.

        :param name: 'tensorrt' or 'tensorrt_rtx'.
        :raises BackendError: If it, CUDA or the GPU is missing.
        """
        if options.device == 'cpu':
            raise BackendError(f"backend '{name}' runs on a GPU only; set device to 'cuda' or "
                               "'auto', or choose backend 'onnxruntime' or 'torch'")
        self.name = name
        self._folder, self._manifest, self._options = folder, manifest, options
        trt = load_tensorrt(name)
        cudart = load_cuda()
        gpu = Gpu(*gpu_facts(cudart))
        self._source = EngineSource(trt, gpu, folder, manifest, options)
        self._memory = CudaMemory(cudart)
        self._engines: OrderedDict[SizeHW, dict[str, LoadedEngine]] = OrderedDict()
        self.precision = self._source.precisions[0]   # until engines were verified

    def run(self, graph: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run a graph; as `Backend.run`."""
        arrays, size_hw = self._arrays(inputs)
        engines = self._engines_of(size_hw)
        if graph not in engines:
            raise BackendError(f"the model has no graph '{graph}'; it has {', '.join(engines)}")
        outputs = engines[graph].run(self._memory, arrays)
        if graph in OUTPUT_OF_TASK:
            return outputs
        return {FEATURES: Features({name.partition('.')[2]: array
                                    for name, array in outputs.items()}, size_hw)}

    def prepare(self, size_hw: SizeHW) -> list[OutputParity]:
        """
        Load, or build, the engines for a size of images.

        :return: How far each output is from PyTorch's; empty where nobody could compare.
        :raises BackendError: If none can be built, or none gives the right numbers.
        """
        self._engines_of(size_hw)
        return verify_engines(self, self._source, size_hw)

    def to_numpy(self, handle: DeviceArray) -> np.ndarray:
        """Copy an output to the host; as `Backend.to_numpy`."""
        return self._memory.download(handle)

    def wait(self) -> None:
        """Wait for the GPU; as `Backend.wait`."""
        self._memory.wait()

    def close(self) -> None:
        """Free the engines and the memory; what was compiled on the way is kept for next time."""
        self._memory.wait()
        for engines in self._engines.values():
            self._close(engines)
        self._engines.clear()
        self._memory.close()

    def _arrays(self, inputs: Mapping[str, Any]) -> tuple[dict[str, DeviceArray], SizeHW]:
        """Return the inputs on the GPU, by the names of the graph, and the size of the image."""
        arrays, sizes = {}, set()
        for name, value in inputs.items():
            if isinstance(value, Features):
                arrays |= {f'{name}.{part}': array for part, array in value.parts.items()}
                sizes.add(value.size_hw)
            else:
                if value.dtype != np.uint8:   # an engine would read its bytes all the same
                    raise BackendError(f"'{name}' must be (B, H, W, 3) uint8 RGB, got "
                                       f'{value.shape} {value.dtype}')
                arrays[name] = self._memory.upload(value)
                sizes.add(tuple(value.shape[1:3]))
        if len(sizes) != 1:
            raise BackendError(f'the inputs {sorted(inputs)} must be of one image size, got '
                               f'{sorted(sizes)}')
        return arrays, sizes.pop()

    def _engines_of(self, size_hw: SizeHW) -> dict[str, LoadedEngine]:
        """Return the engines of a size: of the first precision whose numbers are right."""
        if size_hw in self._engines:
            self._engines.move_to_end(size_hw)
            return self._engines[size_hw]
        while len(self._engines) >= NUM_SIZES:
            self._memory.wait()
            self._close(self._engines.popitem(last=False)[1])
        refusals = []
        for precision in self._source.precisions:
            self.precision = precision
            try:
                self._engines[size_hw] = self._source.load(size_hw, precision)
                verify_engines(self, self._source, size_hw)
                return self._engines[size_hw]
            except BackendError as error:
                refusals.append(str(error))
                self._close(self._engines.pop(size_hw, {}))
        raise BackendError('; '.join(dict.fromkeys(refusals)))

    def _close(self, engines: dict[str, LoadedEngine]) -> None:
        for engine in engines.values():
            engine.close()
