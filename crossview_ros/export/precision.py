# SPDX-License-Identifier: Apache-2.0
"""
Let the products of an ONNX graph run in half precision, everything else in float32.

What is a product is read from the graph: convolutions and matrix products with weights, and both
products of attention. Their inputs are cast to half and their results back; their weights are
stored in half. LayerNorm, softmax, residual sums, correlation, expectation and sampling of
coordinates stay float32 whatever runs the graph: nothing is left to the flags of a builder.
"""
from typing import Any

import numpy as np

WEIGHTED = ('Conv', 'ConvTranspose', 'Gemm', 'MatMul')
OPSETS = {'fp16': 17, 'bf16': 22}   # the first ones in which all products take the type


def to_half(model: Any, precision: str, float32_scopes: tuple[str, ...] = ()) -> Any:
    """
    Return a float32 onnx.ModelProto with its products in half precision.

    :param precision: 'fp16' or 'bf16'.
    :param float32_scopes: Beginnings of names of nodes that stay in float32.
    """
    import onnx
    opset = next(item.version for item in model.opset_import if not item.domain)
    if opset < OPSETS[precision]:
        model = onnx.version_converter.convert_version(model, OPSETS[precision])
    half = onnx.ModelProto()
    half.CopyFrom(model)
    name_weights_once(half.graph)
    products = {node.name for node in _products(half.graph)
                if not node.name.startswith(float32_scopes)}
    _Halving(half.graph, products, precision).apply()
    return half


def name_weights_once(graph: Any) -> None:
    """Read weights under their own names: exporters give equal ones another, by Identity."""
    own = {item.name: item.name for item in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == 'Identity' and node.input[0] in own:
            own[node.output[0]] = own[node.input[0]]
            continue
        node.input[:] = [own.get(name, name) for name in node.input]
        kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def weighted_products(graph: Any) -> list[Any]:
    """Return the nodes that multiply with weights."""
    weights = {item.name for item in graph.initializer}
    return [node for node in graph.node
            if node.op_type in WEIGHTED and node.input[1] in weights]


def _products(graph: Any) -> list[Any]:
    """Return the nodes that multiply with weights or attend."""
    readers: dict[str, list[Any]] = {}
    writer = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = weighted_products(graph)
    for softmax in graph.node:
        if softmax.op_type == 'Softmax':
            around = [writer.get(softmax.input[0]), *readers.get(softmax.output[0], [])]
            # a soft-argmax reads its probabilities in another way, or twice
            if [getattr(node, 'op_type', None) for node in around] == ['MatMul', 'MatMul']:
                found += around
    return found


class _Halving:
    """One pass over a graph."""

    def __init__(self, graph: Any, products: set[str], precision: str):
        import onnx
        self._onnx, self._graph, self._products = onnx, graph, products
        self._precision = precision
        self._dtype = {'fp16': onnx.TensorProto.FLOAT16,
                       'bf16': onnx.TensorProto.BFLOAT16}[precision]
        self._weights = {item.name: item for item in graph.initializer}
        self._half: dict[str, str] = {}   # tensor -> its half
        self._nodes: list[Any] = []

    def apply(self) -> None:
        """Rewrite nodes and weights."""
        for node in list(self._graph.node):
            if node.name not in self._products:
                self._nodes.append(node)
                continue
            halved = self._onnx.NodeProto()
            halved.CopyFrom(node)
            halved.input[:] = [self._half_of(name) for name in node.input]
            halved.output[0] += f'.{self._precision}'
            self._half[node.output[0]] = halved.output[0]   # for products that read it directly
            self._nodes.append(halved)
            self._cast(halved.output[0], node.output[0], self._onnx.TensorProto.FLOAT)
        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)
        self._drop_unread_weights()

    def _half_of(self, name: str) -> str:
        if name and name not in self._half:
            self._half[name] = f'{name}.{self._precision}'
            if name in self._weights:
                self._graph.initializer.append(self._rounded(self._weights[name]))
            else:
                self._cast(name, self._half[name], self._dtype)
        return self._half.get(name, '')   # a missing optional input has no name

    def _cast(self, source: str, target: str, dtype: int) -> None:
        self._nodes.append(self._onnx.helper.make_node(
            'Cast', [source], [target], name=f'{target}/Cast', to=dtype))

    def _rounded(self, weight: Any) -> Any:
        values = self._onnx.numpy_helper.to_array(weight)
        bits = _bfloat16_bits(values) if self._precision == 'bf16' else values.astype(np.float16)
        return self._onnx.TensorProto(name=self._half[weight.name], dims=weight.dims,
                                      data_type=self._dtype, raw_data=bits.tobytes())

    def _drop_unread_weights(self) -> None:
        read = {name for node in self._graph.node for name in node.input}
        kept = [item for item in self._graph.initializer if item.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)


def _bfloat16_bits(values: np.ndarray) -> np.ndarray:
    """Return the upper halves of float32 numbers, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)
