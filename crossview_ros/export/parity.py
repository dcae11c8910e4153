# SPDX-License-Identifier: Apache-2.0
"""Compare exported graphs with the PyTorch model that they come from."""
from pathlib import Path

from crossview_ros.errors import BackendError
from crossview_ros.export.onnx import OnnxGraph
from crossview_ros.runtime.parity import DEFAULT_TOLERANCE, output_parity, OutputParity

TOLERANCE = DEFAULT_TOLERANCE['fp32']   # rounding stays far below


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
    return [output_parity(graph.name, name, [result], [expected.numpy()], tolerance)
            for result, (name, expected) in zip(actual, graph.run().items())]
