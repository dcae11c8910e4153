# SPDX-License-Identifier: Apache-2.0
"""How far a backend's numbers are from those of the PyTorch model in float32."""
from collections.abc import Iterable
from dataclasses import dataclass

from crossview_ros.runtime.backends import Backend, encoder_of, NUM_VIEWS, takes_pixels
from crossview_ros.runtime.input_adapter import normalise
from crossview_ros.runtime.manifest import ModelManifest
import numpy as np

# largest error over the largest value, where the manifest gives none for a backend
DEFAULT_TOLERANCE = {'fp32': 1e-3, 'fp16': 2e-2, 'bf16': 1e-1, 'int8': 1e-1}


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


def output_parity(graph: str, output: str, actual: Iterable[np.ndarray],
                  expected: Iterable[np.ndarray], tolerance: float) -> OutputParity:
    """Compare the arrays of one output over some inputs."""
    errors, values = [], []
    for found, right in zip(actual, expected, strict=True):
        errors.append(np.abs(found - right).max())
        values.append(np.abs(right).max())
    # np.max keeps a NaN, the built-in does not
    return OutputParity(graph, output, float(np.max(errors)), float(np.max(values)), tolerance)


def tolerance_of(manifest: ModelManifest, backend: str, precision: str, output: str) -> float:
    """Return the largest error over the largest value that a backend may have."""
    own = manifest.tolerance.get(backend, {}).get(precision, {})
    return own.get(output, DEFAULT_TOLERANCE[precision])


def compare_backends(backend: Backend, reference: Backend, manifest: ModelManifest,
                     heads: Iterable[str], pairs: list[tuple[np.ndarray, np.ndarray]]) \
        -> list[OutputParity]:
    """
    Run two backends on the same images and compare every output of some heads.

    :param reference: The PyTorch backend.
    :param pairs: Two views each, (B, h, w, 3) uint8 RGB, of a size that the network takes.
    """
    answers = [[run_heads(runner, manifest, heads, pair) for pair in pairs]
               for runner in (backend, reference)]
    return [output_parity(head, name, [answer[head][name] for answer in answers[0]],
                          [answer[head][name] for answer in answers[1]],
                          tolerance_of(manifest, backend.name, backend.precision, name))
            for head, outputs in answers[1][0].items() for name in outputs]


def run_heads(backend: Backend, manifest: ModelManifest, heads: Iterable[str],
              pair: tuple[np.ndarray, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Encode two views once for each network; return the outputs of heads, on the host."""
    encoder = {head: encoder_of(manifest, head) for head in heads}
    if pair[0].dtype == np.uint8 and not takes_pixels(backend):
        pair = tuple(normalise(image, manifest.normalisation) for image in pair)
    views = {graph: [backend.run(graph, {'image': image})['features'] for image in pair]
             for graph in dict.fromkeys(encoder.values())}
    answers = {}
    for head, graph in encoder.items():
        read = views[graph][:NUM_VIEWS[head]]
        outputs = backend.run(head, {f'features{i}': view for i, view in enumerate(read, 1)})
        answers[head] = {name: backend.to_numpy(handle) for name, handle in outputs.items()}
    return answers
