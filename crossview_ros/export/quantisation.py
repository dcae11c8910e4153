# SPDX-License-Identifier: Apache-2.0
"""
Let encoder and decoder of an ONNX graph multiply in int8, by explicit Q/DQ; the rest is float32.

What is quantised: linear layers outside of the heads. Attention, LayerNorm, softmax, residual
sums and the heads, whose outputs are pixels, stay; so do convolutions: those of the stem see the
image and its edges, and in int8 they alone cost 40 % of the largest disparity. Weights have a
scale for each output channel, activations one for the tensor, both symmetric, which is the only
kind that TensorRT takes; their ranges are those seen on calibration frames. The quantiser is ONNX
Runtime's.
"""
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from crossview_ros.errors import BackendError
from crossview_ros.export.precision import name_weights_once, weighted_products
import numpy as np

LINEAR = ['Gemm', 'MatMul']
HEAD = '/head/'   # in the names of its nodes
Inputs = dict[str, np.ndarray]


def save_int8(model: Any, path: Path, calibration: Iterable[Inputs],
              float32_scopes: tuple[str, ...] = ()) -> None:
    """
    Write a float32 onnx.ModelProto with its products quantised; without any it stays as it is.

    :param calibration: Inputs that show what range each tensor has; all are run in float32.
    :param float32_scopes: Beginnings of names of nodes that stay in float32, beside the heads.
    :raises BackendError: If ONNX Runtime is not installed, or there are no such inputs.
    """
    import onnx
    name_weights_once(model.graph)
    products = [node.name for node in weighted_products(model.graph)
                if node.op_type in LINEAR and HEAD not in node.name
                and not node.name.startswith(float32_scopes)]
    if not products:
        onnx.save(model, path)
        return
    try:
        from onnxruntime import quantization
    except ModuleNotFoundError as error:
        raise BackendError("int8 needs the package 'onnxruntime': pip install "
                           'crossview_ros[onnx]') from error
    inputs = iter(calibration)
    first = next(inputs, None)
    if first is None:
        raise BackendError('int8 needs frames to calibrate with, got none')
    # what the quantiser would ask for: our graphs are folded, and it infers shapes itself
    model.metadata_props.add(key='onnx.quant.pre_process', value='onnxruntime.quant')
    quantization.quantize_static(
        model, path, _reader(quantization, first, inputs),
        nodes_to_quantize=products, per_channel=True,
        activation_type=quantization.QuantType.QInt8, weight_type=quantization.QuantType.QInt8,
        extra_options={
            'ActivationSymmetric': True, 'WeightSymmetric': True,
            'QuantizeBias': False,   # TensorRT has no int32 constants to add
            'OpTypesToExcludeOutputQuantization': LINEAR,   # sums and attention read float32
            'QDQOpTypePerChannelSupportToAxis': {'MatMul': 1}})


def _reader(quantization: Any, first: Inputs, others: Iterator[Inputs]) -> Any:
    """Return inputs in the form that the quantiser reads."""
    class Reader(quantization.CalibrationDataReader):
        """Gives one after another."""

        def __init__(self) -> None:
            self._left = [first]

        def get_next(self) -> Inputs | None:
            """Return the next inputs, None at the end."""
            return self._left.pop() if self._left else next(others, None)

    return Reader()
