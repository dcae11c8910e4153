# SPDX-License-Identifier: Apache-2.0
"""
Let PyTorch start a network's kernels on a GPU as one graph instead of one by one.

A network of this size is some hundred short kernels; starting each takes the host longer than the
GPU needs to compute it. What is recorded is repeated on the same memory, so inputs are copied to
where the recording reads them and outputs from where it leaves them.
"""
from collections import OrderedDict
from collections.abc import Callable, Iterator
import logging
from typing import Any, NamedTuple

WARM_UPS = 3          # runs before a recording: libraries choose kernels and allocate
NUM_RECORDINGS = 16   # that are kept: four graphs, two image sizes, a last batch of tiles

logger = logging.getLogger(__name__)


class _Recording(NamedTuple):
    graph: Any
    inputs: list[Any]   # tensors that the graph reads
    outputs: Any        # what the function returned; the graph writes its tensors


class CudaGraphs:
    """
    Recordings of functions, one for each shape of their arguments.

    One thread at a time may call. A function that cannot be recorded is run as it is.
    """

    def __init__(self, torch: Any) -> None:
        """Record nothing yet; ``torch`` is the module."""
        self._torch = torch
        self._pool = torch.cuda.graph_pool_handle()   # scratch memory that recordings share
        self._recordings: OrderedDict[tuple, _Recording | None] = OrderedDict()

    def run(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """
        Return what a function of tensors gives, in memory of its own.

        :param name: Tells functions apart; equal ones must compute the same.
        :param arguments: Tensors on the GPU, in lists and tuples beside plain values.
        """
        key = (name, *((tuple(leaf.shape), leaf.dtype) if self._is_tensor(leaf) else leaf
                       for leaf in _leaves(arguments)))
        if key not in self._recordings:
            while len(self._recordings) >= NUM_RECORDINGS:
                self._recordings.popitem(last=False)
            self._recordings[key] = self._record(name, function, arguments)
        self._recordings.move_to_end(key)
        recording = self._recordings[key]
        if recording is None:
            return function(*arguments)
        for static, given in zip(recording.inputs, self._tensors(arguments), strict=True):
            static.copy_(given)
        recording.graph.replay()
        return self._copied(recording.outputs)

    def close(self) -> None:
        """Free the recordings and their memory."""
        self._recordings.clear()

    def _record(self, name: str, function: Callable[..., Any],
                arguments: tuple[Any, ...]) -> _Recording | None:
        cuda = self._torch.cuda
        inputs = self._copied(arguments)
        aside = cuda.Stream()   # the default stream cannot be recorded
        aside.wait_stream(cuda.current_stream())
        with cuda.stream(aside):
            for _ in range(WARM_UPS):
                function(*inputs)
        cuda.current_stream().wait_stream(aside)
        graph = cuda.CUDAGraph()
        try:
            # other threads of the process may use the GPU meanwhile
            with cuda.graph(graph, pool=self._pool, capture_error_mode='thread_local'):
                outputs = function(*inputs)
        except RuntimeError as error:
            logger.warning("graph '%s' is run kernel by kernel, it cannot be recorded: %s", name,
                           str(error).splitlines()[0])
            return None
        return _Recording(graph, list(self._tensors(inputs)), outputs)

    def _copied(self, value: Any) -> Any:
        """Return the same structure with copies of its tensors."""
        if self._is_tensor(value):
            return value.clone()
        if not isinstance(value, (list, tuple)):
            return value
        parts = [self._copied(part) for part in value]
        return type(value)(*parts) if hasattr(value, '_fields') else type(value)(parts)

    def _tensors(self, value: Any) -> Iterator[Any]:
        return (leaf for leaf in _leaves(value) if self._is_tensor(leaf))

    def _is_tensor(self, value: Any) -> bool:
        return isinstance(value, self._torch.Tensor)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what is in nested lists and tuples, in order."""
    if not isinstance(value, (list, tuple)):
        yield value
        return
    for part in value:
        yield from _leaves(part)
