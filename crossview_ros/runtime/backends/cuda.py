# SPDX-License-Identifier: Apache-2.0
"""
A GPU's memory and one stream of work, by cuda-python (package cuda-bindings).

Not by PyTorch: on a Jetson the usual wheel of it has no CUDA, and where it has, its context takes
memory that a GPU of 8 GB, shared with the host, does not have to spare. All work is in one
stream, so memory that is given back may be used at once by what is enqueued later.
"""
from collections import defaultdict
from typing import Any

from crossview_ros.errors import BackendError
import numpy as np

DEVICE = 0   # CUDA_VISIBLE_DEVICES chooses which one that is


def load_cuda() -> Any:
    """
    Import the CUDA runtime.

    :raises BackendError: If cuda-python is not installed.
    """
    try:
        from cuda.bindings import runtime
    except (ImportError, OSError) as error:
        raise BackendError(f'CUDA cannot be used: {error}. pip install cuda-bindings, of the '
                           "driver's major version (12 on JetPack 6)") from error
    return runtime


def gpu_facts(cudart: Any) -> tuple[str, str]:
    """
    Return name and compute capability, such as '8.9', of the GPU.

    :raises BackendError: If there is none.
    """
    properties = checked(cudart, cudart.cudaGetDeviceProperties(DEVICE))
    name = properties.name
    name = name.decode(errors='replace') if isinstance(name, bytes) else str(name)
    return name.rstrip('\0'), f'{properties.major}.{properties.minor}'


def checked(cudart: Any, result: tuple[Any, ...]) -> Any:
    """
    Return the value of a call of cuda-python.

    :param result: Its error code, and the value where it has one.
    :raises BackendError: If it failed.
    """
    code, *values = result
    if code != cudart.cudaError_t.cudaSuccess:
        text = cudart.cudaGetErrorString(code)[1]
        text = text.decode() if isinstance(text, bytes) else str(text)
        raise BackendError(f'CUDA: {text}')
    return values[0] if values else None


class DeviceArray:
    """An array on the GPU; its memory goes back to the pool with the last reference."""

    def __init__(self, memory: 'CudaMemory', shape: tuple[int, ...],
                 dtype: Any = np.float32) -> None:
        """Take memory; its content is arbitrary."""
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.num_bytes = self.dtype.itemsize * int(np.prod(shape))
        self._memory = memory
        self.pointer = memory.take(self.num_bytes)

    def __del__(self) -> None:
        """Give the memory back."""
        if hasattr(self, 'pointer'):
            self._memory.give_back(self.pointer, self.num_bytes)


class CudaMemory:
    """
    Arrays on the GPU, copies to and from it, and the stream in which all happens.

    One thread at a time may call; arrays may be dropped in any thread.
    """

    def __init__(self, cudart: Any) -> None:
        """
        Make the stream.

        :raises BackendError: If there is no GPU.
        """
        self._cudart = cudart
        self.stream = checked(cudart, cudart.cudaStreamCreateWithFlags(
            cudart.cudaStreamNonBlocking))
        self._free: dict[int, list[int]] = defaultdict(list)          # bytes -> pointers
        self._free_pinned: dict[int, list[int]] = defaultdict(list)
        self._in_flight: list[tuple[int, int]] = []   # pinned memory that copies still read
        self._owned: list[int] = []
        self._owned_pinned: list[int] = []
        self._closed = False

    def upload(self, values: np.ndarray) -> DeviceArray:
        """Copy an array, uint8 or float32, to the GPU; returns before that is done."""
        array = DeviceArray(self, values.shape, values.dtype)
        pinned = self._take_pinned(array.num_bytes)
        host_view(pinned, array)[...] = values
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(array.pointer, pinned, array.num_bytes, kind)
        self._in_flight.append((pinned, array.num_bytes))
        return array

    def empty(self, shape: tuple[int, ...]) -> DeviceArray:
        """Return a float32 array of arbitrary content."""
        return DeviceArray(self, shape)

    def download(self, array: DeviceArray) -> np.ndarray:
        """Wait for an array and copy it to the host."""
        pinned = self._take_pinned(array.num_bytes)
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(pinned, array.pointer, array.num_bytes, kind)
        self._in_flight.append((pinned, array.num_bytes))
        self.wait()
        return host_view(pinned, array).copy()

    def wait(self) -> None:
        """Wait until all work in the stream is done."""
        checked(self._cudart, self._cudart.cudaStreamSynchronize(self.stream))
        for pinned, num_bytes in self._in_flight:
            self._free_pinned[num_bytes].append(pinned)
        self._in_flight.clear()

    def close(self) -> None:
        """Free all memory and the stream; arrays that are still held are invalid from then on."""
        self.wait()
        self._closed = True
        for pointer in self._owned:
            checked(self._cudart, self._cudart.cudaFree(pointer))
        for pointer in self._owned_pinned:
            checked(self._cudart, self._cudart.cudaFreeHost(pointer))
        checked(self._cudart, self._cudart.cudaStreamDestroy(self.stream))

    def take(self, num_bytes: int) -> int:
        """Return memory on the GPU."""
        if self._free[num_bytes]:
            return self._free[num_bytes].pop()
        pointer = checked(self._cudart, self._cudart.cudaMalloc(num_bytes))
        self._owned.append(pointer)
        return pointer

    def give_back(self, pointer: int, num_bytes: int) -> None:
        """Take memory back that `take` gave; work that is enqueued from now on may use it."""
        if not self._closed:
            self._free[num_bytes].append(pointer)

    def _take_pinned(self, num_bytes: int) -> int:
        if self._free_pinned[num_bytes]:
            return self._free_pinned[num_bytes].pop()
        pointer = checked(self._cudart, self._cudart.cudaMallocHost(num_bytes))
        self._owned_pinned.append(pointer)
        return pointer

    def _copy(self, to: int, source: int, num_bytes: int, kind: Any) -> None:
        checked(self._cudart, self._cudart.cudaMemcpyAsync(
            to, source, num_bytes, kind, self.stream))


def host_view(pointer: int, like: DeviceArray) -> np.ndarray:
    """Return host memory as an array of the type and shape of another, without a copy."""
    import ctypes
    memory = (ctypes.c_uint8 * like.num_bytes).from_address(pointer)
    return np.frombuffer(memory, like.dtype).reshape(like.shape)
