# SPDX-License-Identifier: Apache-2.0
"""
What is recorded for a GPU is repeated on new inputs, in memory that nobody else holds.

There is no GPU: the fake records PyTorch's operations on the CPU and repeats them on the tensors
that they were recorded with, as a CUDA graph does.
"""
from contextlib import contextmanager
import logging
from types import SimpleNamespace

from crossview_ros.runtime.backends import BackendOptions, cuda_graphs, open_backend
from crossview_ros.runtime.backends.cuda_graphs import CudaGraphs
from crossview_ros.runtime.manifest import load_manifest
from crossview_ros.runtime.parity import run_heads
import numpy as np
import pytest
from small_model import SIZE_HW, write_small_model
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class FakeCuda:
    """torch.cuda, as far as recording goes."""

    def __init__(self):
        self.graphs = []
        self.refuse = False   # to record

    def graph_pool_handle(self):
        return 1

    def Stream(self):   # noqa: N802
        return SimpleNamespace(wait_stream=lambda other: None)

    current_stream = Stream

    @contextmanager
    def stream(self, stream):
        yield

    def CUDAGraph(self):   # noqa: N802
        self.graphs.append(FakeGraph())
        return self.graphs[-1]

    @contextmanager
    def graph(self, graph, pool, capture_error_mode):
        assert (pool, capture_error_mode) == (1, 'thread_local')
        if self.refuse:
            raise RuntimeError('operation not permitted when stream is capturing\nmore')
        with graph:
            yield


class FakeGraph(TorchDispatchMode):
    """Operations, their arguments and where their results lie."""

    def __init__(self):
        super().__init__()
        self.operations, self.num_replays = [], 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, result))
        return result

    def replay(self):
        self.num_replays += 1
        for operation, args, kwargs, result in self.operations:
            again = operation(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)   # others are views of what was computed before


@pytest.fixture
def cuda():
    """Return the fake."""
    return FakeCuda()


@pytest.fixture
def graphs(cuda):
    """Return recordings on the fake."""
    return CudaGraphs(SimpleNamespace(Tensor=torch.Tensor, cuda=cuda))


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_recording_computes_on_new_inputs(graphs, cuda):
    with torch.inference_mode():
        for seed in range(3):
            x, y = numbers(4, 5, seed=seed), numbers(5, 2, seed=-seed - 1)
            product, (kept, none) = graphs.run(
                'product', lambda a, b: (a @ b[0], [a.T.relu(), None]), x, [y])
            assert torch.equal(product, x @ y) and torch.equal(kept, x.T.relu()) and none is None
    graph, = cuda.graphs
    assert graph.num_replays == 3


def test_what_was_returned_outlives_the_next_run(graphs):
    first = graphs.run('double', lambda x: 2 * x, torch.ones(3))
    graphs.run('double', lambda x: 2 * x, torch.zeros(3))
    assert first.tolist() == [2, 2, 2]


def test_inputs_stay_as_they_are_and_may_be_changed_afterwards(graphs):
    x = torch.ones(3)
    result = graphs.run('double', lambda x: 2 * x, x)
    x.zero_()
    assert result.tolist() == [2, 2, 2]


@pytest.mark.parametrize('name, argument', [
    ('double', torch.ones(4)), ('double', torch.ones(3, dtype=torch.uint8)),
    ('double', (torch.ones(3), None)), ('twice', torch.ones(3))])
def test_another_shape_type_or_name_is_recorded_anew(graphs, cuda, name, argument):
    for _ in range(2):
        graphs.run('double', lambda x: 2, torch.ones(3))
    graphs.run(name, lambda x: 2, argument)
    assert len(cuda.graphs) == 2


def test_recordings_used_long_ago_are_dropped(graphs, cuda, monkeypatch):
    monkeypatch.setattr(cuda_graphs, 'NUM_RECORDINGS', 2)
    for size in (1, 2, 1, 3, 1):
        assert len(graphs.run('double', lambda x: 2 * x, torch.ones(size))) == size
    assert len(cuda.graphs) == 3
    graphs.run('double', lambda x: 2 * x, torch.ones(2))
    assert len(cuda.graphs) == 4


def test_what_cannot_be_recorded_runs_all_the_same_and_is_told_once(graphs, cuda, caplog):
    cuda.refuse = True
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert graphs.run('flow', lambda x: 2 * x, torch.ones(1)).item() == 2
    assert caplog.messages == ["graph 'flow' is run kernel by kernel, it cannot be recorded: "
                               'operation not permitted when stream is capturing']


def test_a_network_gives_its_numbers_from_recordings(graphs, cuda, tmp_path):
    folder = write_small_model(tmp_path / 'small')
    manifest = load_manifest(folder)
    plain, recorded = (open_backend('torch', folder, manifest, BackendOptions('cpu', 1))
                       for _ in range(2))
    recorded._graphs = graphs
    for seed in range(2):
        pair = np.random.default_rng(seed).integers(0, 256, (2, 1, *SIZE_HW, 3), np.uint8)
        expected, found = (run_heads(backend, manifest, ['stereo', 'flow'], pair)
                           for backend in (plain, recorded))
        for task, outputs in expected.items():
            for name, value in outputs.items():
                np.testing.assert_array_equal(found[task][name], value)
    assert [graph.num_replays for graph in cuda.graphs] == [4, 2, 2]


@pytest.mark.parametrize('channels', ['rgb', 'bgr'])
def test_pixels_are_normalised_on_the_device_as_on_the_host(channels, tmp_path):
    normalisation = {'mean': (0.5, 0.4, 0.3), 'std': (0.2, 0.25, 0.3), 'channels': channels}
    folder = write_small_model(tmp_path / 'small', normalisation=normalisation)
    manifest = load_manifest(folder)
    backend = open_backend('torch', folder, manifest, BackendOptions('cpu', 1))
    assert not backend.takes_pixels   # on a CPU it is no gain
    pair = np.random.default_rng(0).integers(0, 256, (2, 2, *SIZE_HW, 3), np.uint8)
    answers = []
    for backend.takes_pixels in (False, True):
        answers.append(run_heads(backend, manifest, ['flow'], pair)['flow']['flow'])
    # one rounding of a multiplication and subtraction may be one of both
    np.testing.assert_allclose(*answers, rtol=0, atol=1e-5 * np.abs(answers[0]).max())


@pytest.mark.gpu
def test_recordings_on_a_gpu_give_the_numbers_of_single_kernels(tmp_path):
    folder = write_small_model(tmp_path / 'small')
    manifest = load_manifest(folder)
    backend = open_backend('torch', folder, manifest, BackendOptions('cuda'))
    answers = []
    for graphs in (backend._graphs, None):
        backend._graphs = graphs
        pair = np.random.default_rng(3).integers(0, 256, (2, 1, *SIZE_HW, 3), np.uint8)
        answers.append(run_heads(backend, manifest, ['flow'], pair)['flow']['flow'])
    np.testing.assert_allclose(*answers, rtol=0, atol=1e-3 * np.abs(answers[1]).max())
