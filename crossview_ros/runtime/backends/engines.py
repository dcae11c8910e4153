# SPDX-License-Identifier: Apache-2.0
"""Engines of a model: found in the cache or built, loaded, and run on arrays of the GPU."""
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossview_ros.errors import BackendError
from crossview_ros.runtime.backends import BackendOptions
from crossview_ros.runtime.backends.cache_folder import write_file
from crossview_ros.runtime.backends.cuda import CudaMemory, DeviceArray
from crossview_ros.runtime.backends.engine_cache import cached_engine, EngineKey
from crossview_ros.runtime.backends.graph_files import GraphFiles
from crossview_ros.runtime.backends.tensorrt_module import messages_of
from crossview_ros.runtime.manifest import ModelManifest

ENGINES = 'engines'   # folder in the cache
# auto: the fastest first; bf16 has the range of float32 and fewer digits than fp16
PRECISIONS = ('fp16', 'bf16', 'fp32')
OLDEST_BF16 = 8   # first generation (major compute capability) that computes in bfloat16


@dataclass(frozen=True)
class Gpu:
    """What engines depend on."""

    name: str
    capability: str   # such as '8.9'

    def __str__(self) -> str:
        """Return both."""
        return f'{self.name}, compute capability {self.capability}'


class EngineSource:
    """Where the engines of one model come from, for one GPU; holds none of them."""

    def __init__(self, trt: Any, gpu: Gpu | None, folder: Path, manifest: ModelManifest,
                 options: BackendOptions) -> None:
        """
        Remember what to build from.

        :param trt: The module, see `load_tensorrt`.
        :param gpu: None: there is none here; TensorRT-RTX builds all the same.
        """
        from crossview_ros.export.tensorrt import EngineOptions, rtx_targets
        self.trt, self.gpu, self.folder = trt, gpu, folder
        self.manifest, self.options = manifest, options
        targets = rtx_targets(gpu and gpu.capability) if is_rtx(trt) else ()
        self.engine_options = EngineOptions(max_batch=options.max_batch, targets=targets)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Return what may run, the best first."""
        if self.options.precision != 'auto':
            return (self.options.precision,)
        has_bf16 = self.gpu is None or int(self.gpu.capability.split('.')[0]) >= OLDEST_BF16
        return tuple(name for name in PRECISIONS if has_bf16 or name != 'bf16')

    @property
    def cache(self) -> Path:
        """Return the folder of the engines."""
        return self.options.cache / ENGINES

    def keys(self, size_hw: tuple[int, int], precision: str) -> dict[str, EngineKey]:
        """Return graph -> name in the cache; graphs that are missing are exported."""
        from crossview_ros.export.tensorrt import engine_key
        graphs = self._graphs(precision)
        return {graph: engine_key(self.trt, graphs.path(graph, size_hw), precision,
                                  self.engine_options, str(self.gpu))
                for graph in graphs.graphs}

    def plan(self, graph: str, key: EngineKey, size_hw: tuple[int, int],
             force: bool = False) -> bytes:
        """
        Return a serialized engine, from the cache or built.

        :raises BackendError: If it cannot be built.
        """
        from crossview_ros.export.tensorrt import build_engine
        what = f'building {graph} {size_hw[0]}x{size_hw[1]} {key.precision}'
        progress = self.options.progress

        def build() -> bytes:
            return build_engine(
                self.trt, self._graphs(key.precision).path(graph, size_hw), self.engine_options,
                lambda percent: progress(f'{what}: {percent} %'),
                None if is_rtx(self.trt) else self._beside('timings'))

        return cached_engine(self.cache, key, build, force, progress)

    def load(self, size_hw: tuple[int, int], precision: str) -> dict[str, 'LoadedEngine']:
        """Return graph -> engine on the GPU."""
        runtime = self.trt.Runtime(messages_of(self.trt))
        return {graph: LoadedEngine(self.trt, runtime, graph, self.plan(graph, key, size_hw),
                                    self.cache / f'{key.digest[:32]}.kernels')
                for graph, key in self.keys(size_hw, precision).items()}

    def _graphs(self, precision: str) -> GraphFiles:
        return GraphFiles(self.folder, self.manifest, precision, self.options.cache,
                          self.options.progress)

    def _beside(self, kind: str) -> Path:
        """Return the file of what the builder learns about this GPU."""
        gpu = ''.join(letter if letter.isalnum() else '_' for letter in str(self.gpu))
        return self.cache / f'{self.trt.__name__}-{self.trt.__version__}-{gpu}.{kind}'


class LoadedEngine:
    """An engine on the GPU, with what it needs to run."""

    def __init__(self, trt: Any, runtime: Any, graph: str, plan: bytes, kernels: Path) -> None:
        """
        Load a serialized engine.

        :param kernels: File in which TensorRT-RTX keeps what it compiles at the first runs.
        :raises BackendError: If it does not fit this GPU or this version.
        """
        self._graph, self._kernels, self._runtime = graph, kernels, runtime
        messages = messages_of(trt)
        messages.errors.clear()
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise BackendError(f"the engine of graph '{graph}' cannot be loaded: "
                               f'{"; ".join(messages.errors) or "TensorRT gives no reason"}')
        self._messages = messages
        self._engine = engine
        self._context, self._compiled = _context(engine, kernels)
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._inputs, self._outputs = (
            [name for name in names if engine.get_tensor_mode(name) == mode]
            for mode in (trt.TensorIOMode.INPUT, trt.TensorIOMode.OUTPUT))

    def run(self, memory: CudaMemory, inputs: dict[str, DeviceArray]) -> dict[str, DeviceArray]:
        """
        Enqueue a run.

        :param inputs: By name; more than the graph reads is allowed.
        :raises BackendError: If an input is missing or its shape does not fit.
        """
        context = self._context
        for name in self._inputs:
            if name not in inputs:
                raise BackendError(f"graph '{self._graph}' needs the input '{name}', got "
                                   f'{", ".join(inputs)}')
            if not context.set_input_shape(name, inputs[name].shape):
                raise BackendError(
                    f"graph '{self._graph}': input '{name}' of shape {inputs[name].shape} does "
                    f'not fit the engine, which takes '
                    f'{tuple(self._engine.get_tensor_shape(name))}: {self._reason()}')
            context.set_tensor_address(name, inputs[name].pointer)
        outputs = {name: memory.empty(tuple(context.get_tensor_shape(name)))
                   for name in self._outputs}
        for name, array in outputs.items():
            context.set_tensor_address(name, array.pointer)
        if not context.execute_async_v3(int(memory.stream)):
            raise BackendError(f"graph '{self._graph}' failed: {self._reason()}")
        return outputs

    def close(self) -> None:
        """Free it; kernels that were compiled are kept where that works."""
        if self._compiled is not None:
            content = bytes(self._compiled.serialize())
            with suppress(BackendError):   # the next start compiles again
                write_file(self._kernels, lambda part: part.write_bytes(content))
        self._context = self._compiled = self._engine = None

    def _reason(self) -> str:
        return '; '.join(self._messages.errors) or 'TensorRT gives no reason'


def is_rtx(trt: Any) -> bool:
    """Tell whether a module is TensorRT-RTX, whose engines are for compute capabilities."""
    return hasattr(trt, 'ComputeCapability')


def _context(engine: Any, kernels: Path) -> tuple[Any, Any]:
    """Return what runs an engine, and the cache of its compiled kernels, where there is one."""
    config = engine.create_runtime_config() if hasattr(engine, 'create_runtime_config') else None
    if not hasattr(config, 'create_runtime_cache'):
        return engine.create_execution_context(), None
    compiled = config.create_runtime_cache()
    with suppress(OSError):
        compiled.deserialize(kernels.read_bytes())   # of another version: refused, made anew
    config.set_runtime_cache(compiled)
    return engine.create_execution_context(config), compiled
