# SPDX-License-Identifier: Apache-2.0
"""
Build TensorRT engines from our ONNX graphs; precision is in the graph, nothing is left to flags.

Strong typing is asked for in TensorRT 10 and is the only kind in 11 and in TensorRT-RTX. TF32 is
off: what a graph keeps in float32 is kept there for its accuracy.
"""
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossview_ros.errors import BackendError
from crossview_ros.runtime.backends.cache_folder import write_file
from crossview_ros.runtime.backends.engine_cache import EngineKey, graph_sha256
from crossview_ros.runtime.backends.tensorrt_module import messages_of, progress_monitor

# compute capabilities that TensorRT-RTX builds for where no GPU says another; GeForce 30, 40, 50
RTX_TARGETS = ('8.6', '8.9', '12.0')
NUM_CAUSES = 3   # lines of the builder that an error repeats


@dataclass(frozen=True)
class EngineOptions:
    """What an engine is built for, beyond its graph."""

    max_batch: int = 1                 # the batch may be 1 to so many
    workspace_mb: int | None = None    # scratch memory of a layer; None: all there is
    targets: tuple[str, ...] = ()      # compute capabilities, of TensorRT-RTX; (): the GPU here

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.max_batch < 1 or self.workspace_mb is not None and self.workspace_mb < 1:
            raise BackendError('an engine needs max_batch and workspace_mb of at least 1, got '
                               f'{self.max_batch} and {self.workspace_mb}')

    @property
    def flags(self) -> tuple[str, ...]:
        """Return what tells two engines of one graph apart, as text."""
        return ('strongly typed', 'no TF32', f'workspace {self.workspace_mb} MB')


def rtx_targets(capability: str | None) -> tuple[str, ...]:
    """
    Return what TensorRT-RTX builds for: engines of one machine then serve on others.

    :param capability: Of the GPU here, such as '8.9'; None without one.
    """
    return RTX_TARGETS if capability in (None, *RTX_TARGETS) else (capability,)


def engine_key(trt: Any, path: Path, precision: str, options: EngineOptions,
               gpu: str) -> EngineKey:
    """
    Return what names the engine of a graph in the cache.

    :param path: The ONNX file.
    :param gpu: Name and compute capability of the GPU here; targets stand for it where given.
    """
    return EngineKey(
        graph=path.stem, graph_sha256=graph_sha256(path),
        shapes=f'batch 1 to {options.max_batch}', precision=precision,
        builder=f'{trt.__name__} {trt.__version__}',
        gpu=f'compute capability {" ".join(options.targets)}' if options.targets else gpu,
        flags=options.flags)


def build_engine(trt: Any, path: Path, options: EngineOptions,
                 tell: Callable[[int], None] = lambda percent: None,
                 timing_cache: Path | None = None) -> bytes:
    """
    Build one engine; may take minutes.

    :param path: The ONNX file; weights that it keeps in other files are read from beside it.
    :param tell: Gets the percentage that is done; what it raises cancels the build.
    :param timing_cache: Where TensorRT remembers which kernels were fast, for the next build.
    :raises BackendError: If the graph cannot be built, with the builder's reason.
    """
    messages = messages_of(trt)
    messages.errors.clear()
    builder = trt.Builder(messages)
    if not builder:   # without a driver TensorRT has no builder; TensorRT-RTX has
        raise _failure(path, 'no builder', messages.errors)
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, messages)
    if not parser.parse_from_file(str(path)):
        raise _failure(path, 'the graph cannot be read', [
            str(parser.get_error(index)) for index in range(parser.num_errors)])
    config = _configured(trt, builder, network, options)
    config.progress_monitor = monitor = progress_monitor(trt, tell)
    timings = _use_timings(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if monitor.error is not None:
        raise monitor.error
    if plan is None:
        raise _failure(path, 'the builder gave up', messages.errors)
    if timings is not None and timing_cache is not None:
        _keep_timings(timings, timing_cache)
    return bytes(plan)


def _configured(trt: Any, builder: Any, network: Any, options: EngineOptions) -> Any:
    """Return the configuration of a build."""
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    _set_targets(trt, config, options.targets)
    profile = builder.create_optimization_profile()
    _open_batch(network, profile, options.max_batch)
    config.add_optimization_profile(profile)
    return config


def _strongly_typed(trt: Any) -> int:
    """Return the flags of a network; where the flag is gone there is no other kind."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED', None)
    return 0 if flag is None else 1 << int(flag)


def _set_targets(trt: Any, config: Any, targets: tuple[str, ...]) -> None:
    if not targets:
        return
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        capability = getattr(trt.ComputeCapability, f'SM{target.replace(".", "")}', None)
        if capability is None:
            known = [name[2:-1] + '.' + name[-1] for name in trt.ComputeCapability.__members__
                     if name.startswith('SM')]
            raise BackendError(f'TensorRT-RTX builds no engine for compute capability {target}, '
                               f'only for {", ".join(known)}: RTX GPUs, no Jetson and no GPU of '
                               "a data centre; backend 'tensorrt' serves those")
        config.set_compute_capability(capability, index)


def _open_batch(network: Any, profile: Any, max_batch: int) -> None:
    """Let the first axis of each input be 1 to max_batch, most often max_batch."""
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        rest = tuple(tensor.shape)[1:]
        profile.set_shape(tensor.name, (1, *rest), (max_batch, *rest), (max_batch, *rest))


def _use_timings(config: Any, path: Path | None) -> Any:
    """Return the timing cache that the build uses and adds to."""
    if path is None:
        return None
    try:
        known = path.read_bytes()
    except OSError:
        known = b''
    timings = config.create_timing_cache(known) or config.create_timing_cache(b'')
    return timings if timings and config.set_timing_cache(timings, False) else None


def _keep_timings(timings: Any, path: Path) -> None:
    content = bytes(timings.serialize())
    with suppress(BackendError):   # the engine matters, this only saves time
        write_file(path, lambda part: part.write_bytes(content))


def _failure(path: Path, what: str, causes: Any) -> BackendError:
    reasons = list(dict.fromkeys(causes))[-NUM_CAUSES:] or ['TensorRT gives no reason']
    return BackendError(f"graph '{path.stem}': {what}: {'; '.join(reasons)} ({path})")
