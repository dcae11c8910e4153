# SPDX-License-Identifier: Apache-2.0
"""Compare exported graphs with the PyTorch model that they come from."""
from dataclasses import dataclass
from pathlib import Path

from crossview_ros.errors import BackendError
from crossview_ros.export.onnx import OnnxGraph
import numpy as np

TOLERANCE = 1e-3   # largest error over the largest value, fp32: rounding stays far below


@dataclass(frozen=True)
class OutputParity:
    """How far one output is from PyTorch's on the same inputs."""

    graph: str
    output: str
    max_error: float    # in the output's unit
    max_value: float    # of PyTorch's output
    tolerance: float    # of max_error / max_value

    @property
    def relative(self) -> float:
        """Return the largest error over the largest value."""
        return self.max_error / self.max_value if self.max_value else self.max_error

    @property
    def ok(self) -> bool:
        """Tell whether it is within the tolerance; a NaN is not."""
        return self.relative <= self.tolerance


def onnx_parity(graph: OnnxGraph, path: Path, tolerance: float = TOLERANCE,
                num_threads: int = 0) -> list[OutputParity]:
    """
    Run a file in ONNX Runtime on the CPU and compare each output with PyTorch.

    :param graph: What was written to ``path``; gives the inputs and the expected outputs.
    :param num_threads: Of ONNX Runtime; 0 leaves its default.
    :raises BackendError: If ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise BackendError("parity needs the package 'onnxruntime': pip install "
                           'crossview_ros[onnx]') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(str(path), options,
                                           providers=['CPUExecutionProvider'])
    actual = session.run(list(graph.outputs),
                         {name: value.numpy() for name, value in graph.inputs.items()})
    return [OutputParity(graph.name, name, _largest(result - expected.numpy()),
                         _largest(expected.numpy()), tolerance)
            for result, (name, expected) in zip(actual, graph.run().items())]


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max())
