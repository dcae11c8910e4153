# SPDX-License-Identifier: Apache-2.0
"""
A GPU without a GPU: execution contexts that compute in ONNX Runtime, and CUDA in host memory.

Everything else is real: TensorRT-RTX's builder, its names of tensors, our cache and backend. An
engine runs the graph that it was built from on whatever lies at the addresses that were set, in
the order of the stream, when somebody waits for it: a wrong binding, a missing wait or memory
that is used again too early gives wrong numbers.
"""
from collections import deque
import ctypes
import hashlib
from types import SimpleNamespace

from crossview_ros.export import tensorrt as builder
import numpy as np
import onnxruntime

OK = 0
TYPES = {'tensor(float)': np.float32, 'tensor(uint8)': np.uint8}
GRAPHS = {}   # sha256 of an engine -> the graph it was built from; engines outlive a test


class FakeCuda:
    """The part of cuda.bindings.runtime that we call; pointers are addresses in host memory."""

    cudaError_t = SimpleNamespace(cudaSuccess=OK)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamNonBlocking = 1

    def __init__(self, capability=(8, 9), num_bytes=1 << 40):
        self.capability, self.left = capability, num_bytes
        self.memory = {}        # pointer -> the array that holds it
        self.stream = deque()   # work that nobody has waited for

    def cudaGetDeviceProperties(self, device):   # noqa: N802
        major, minor = self.capability
        return OK, SimpleNamespace(name=b'Fake GPU', major=major, minor=minor)

    def cudaStreamCreateWithFlags(self, flags):   # noqa: N802
        return OK, 7

    def cudaMalloc(self, num_bytes):   # noqa: N802
        if num_bytes > self.left:
            return 2, 0
        self.left -= num_bytes
        array = np.full(num_bytes, 0xff, np.uint8)   # float32 NaN
        self.memory[array.ctypes.data] = array
        return OK, array.ctypes.data

    cudaMallocHost = cudaMalloc   # noqa: N815

    def cudaFree(self, pointer):   # noqa: N802
        del self.memory[pointer]
        return (OK,)

    cudaFreeHost = cudaFree   # noqa: N815

    def cudaMemcpyAsync(self, to, source, num_bytes, kind, stream):   # noqa: N802
        assert {to, source} <= set(self.memory) and stream == 7
        self.stream.append(lambda: ctypes.memmove(to, source, num_bytes))
        return (OK,)

    def cudaStreamSynchronize(self, stream):   # noqa: N802
        while self.stream:
            self.stream.popleft()()
        return (OK,)

    def cudaStreamDestroy(self, stream):   # noqa: N802
        return (OK,)

    def cudaGetErrorString(self, code):   # noqa: N802
        return OK, b'out of memory'


class FakeTensorRt:
    """TensorRT-RTX with its own builder, and a runtime that computes in ONNX Runtime."""

    def __init__(self, real, cuda, name='tensorrt_rtx'):
        self._real, self.cuda = real, cuda
        self.__name__, self.__version__ = name, real.__version__
        self.num_builds = 0
        self.quick = False   # pretend to build, where the builder is not what is tested
        self.offset = 0.0    # added to every output: engines that are wrong

    def __getattr__(self, name):
        return getattr(self._real, name)

    def Runtime(self, logger):   # noqa: N802
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: FakeEngine(
            self, GRAPHS[hashlib.sha256(plan).hexdigest()]))

    def remember(self, build):
        """Return `build_engine` that remembers the graph of each engine."""
        def remembering(trt, path, options, tell, timing_cache):
            if self.quick:
                plan = path.read_bytes()[::-1]
                tell(100)
            else:
                plan = build(self._real, path, options, tell, timing_cache)
            GRAPHS[hashlib.sha256(plan).hexdigest()] = path.read_bytes()
            self.num_builds += 1
            return plan
        return remembering


class FakeEngine:
    """An engine, as its graph declares it."""

    def __init__(self, trt, graph):
        self.trt = trt
        self.session = onnxruntime.InferenceSession(graph, providers=['CPUExecutionProvider'])
        self._items = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self._items)
        self.types = {item.name: TYPES[item.type] for item in self._items}
        self.output_shapes = {}

    def get_tensor_name(self, index):
        return self._items[index].name

    def get_tensor_mode(self, name):
        is_input = name in [item.name for item in self.session.get_inputs()]
        return self.trt.TensorIOMode.INPUT if is_input else self.trt.TensorIOMode.OUTPUT

    def get_tensor_shape(self, name):
        item = next(item for item in self._items if item.name == name)
        return tuple(side if isinstance(side, int) else -1 for side in item.shape)

    def create_execution_context(self):
        return FakeContext(self)


class FakeContext:
    """Runs the graph on the addresses that were set when the stream gets there."""

    def __init__(self, engine):
        self._engine, self._shapes, self._addresses = engine, {}, {}

    def set_input_shape(self, name, shape):
        fits = all(side in (-1, given) for side, given in zip(
            self._engine.get_tensor_shape(name), shape, strict=True))
        self._shapes[name] = tuple(shape)
        return fits

    def get_tensor_shape(self, name):
        """Return the shape that an output has for the inputs' shapes: from a run on zeros."""
        session = self._engine.session
        key = tuple(sorted(self._shapes.items()))
        if key not in self._engine.output_shapes:
            names = [item.name for item in session.get_outputs()]
            values = session.run(names, {other: np.zeros(shape, self._engine.types[other])
                                         for other, shape in self._shapes.items()})
            self._engine.output_shapes[key] = {
                other: value.shape for other, value in zip(names, values)}
        return self._engine.output_shapes[key][name]

    def set_tensor_address(self, name, pointer):
        assert pointer in self._engine.trt.cuda.memory
        self._addresses[name] = pointer
        return True

    def execute_async_v3(self, stream_handle):
        types = self._engine.types
        views = {name: host_view(pointer, self._shapes.get(name) or self.get_tensor_shape(name),
                                 types[name])
                 for name, pointer in self._addresses.items()}
        inputs = {item.name for item in self._engine.session.get_inputs()}

        def execute():
            outputs = [name for name in views if name not in inputs]
            values = self._engine.session.run(outputs, {name: views[name] for name in inputs})
            for name, value in zip(outputs, values):
                views[name][...] = value + self._engine.trt.offset

        self._engine.trt.cuda.stream.append(execute)
        return stream_handle == 7


def host_view(pointer, shape, dtype):
    """Return memory as an array; not with the code under test."""
    buffer = (ctypes.c_uint8 * int(np.prod(shape) * dtype().itemsize)).from_address(pointer)
    return np.frombuffer(buffer, dtype).reshape(shape)


def install(monkeypatch, real, capability=(8, 9)):
    """Put the fakes where the backend looks for TensorRT and CUDA; return the fake TensorRT."""
    from crossview_ros.runtime.backends import tensorrt_
    trt = FakeTensorRt(real, FakeCuda(capability))
    monkeypatch.setattr(tensorrt_, 'load_tensorrt', lambda name: trt)
    monkeypatch.setattr(tensorrt_, 'load_cuda', lambda: trt.cuda)
    monkeypatch.setattr(builder, 'build_engine', trt.remember(builder.build_engine))
    monkeypatch.setattr('crossview_ros.runtime.backends.engines.messages_of',
                        lambda trt: SimpleNamespace(errors=deque()))
    return trt
