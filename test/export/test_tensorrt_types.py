# SPDX-License-Identifier: Apache-2.0
"""What we call of TensorRT and of CUDA exists, by NVIDIA's modules or the stubs of the API."""
import ast
import importlib
from importlib import metadata
import os
from pathlib import Path
import re
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[2] / 'crossview_ros'
FILES = ('export/tensorrt.py', 'runtime/backends/engines.py',
         'runtime/backends/tensorrt_module.py')
# how our parameters are called -> type in the stubs; without the names they are Any
TYPES = {'builder': 'Builder', 'network': 'INetworkDefinition', 'config': 'IBuilderConfig',
         'profile': 'IOptimizationProfile', 'runtime': 'Runtime', 'engine': 'ICudaEngine'}
# of TensorRT-RTX, or newer than the stubs, and asked for by attribute before use
NOT_IN_STUBS = ('ComputeCapability', 'compute_capabilit', 'runtime_cache', 'IRuntimeConfig',
                'Dims')   # of which the stubs do not say that a tuple will do
CALLS = r'error: .*\[(attr-defined|call-arg|call-overload|arg-type|name-defined)\]'
# removed in TensorRT 11 (migration guide, "Removed Python APIs and Replacements")
REMOVED = ('EXPLICIT_BATCH', 'FP16', 'BF16', 'INT8', 'FP8', 'int8_calibrator', 'DIRECT_IO',
           'device_memory_size', 'set_calibration_profile', 'OBEY_PRECISION_CONSTRAINTS',
           'PREFER_PRECISION_CONSTRAINTS', 'execute_async_v2', 'get_binding_shape',
           'max_workspace_size', 'build_engine')


def has(distribution):
    """Tell whether a package is installed; that of the stubs has no module to import."""
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False


def write_stubs(folder):
    """Copy the stubs to where mypy is told to look, and mend two kinds of broken lines."""
    for package in ('tensorrt', 'tensorrt_bindings'):
        (folder / package).mkdir(parents=True)
        for path in metadata.distribution('tensorrt-stubs').locate_file(package).glob('*.pyi'):
            text = re.sub(r'\bin: ', 'in_: ', path.read_text())
            text = text.replace(', channel_axis: int) ->', ', channel_axis: int = 0) ->')
            (folder / package / path.name).write_text(text)


def sources():
    """Return {file: text} of all that speaks with TensorRT."""
    return {name: (ROOT / name).read_text() for name in FILES}


@pytest.mark.skipif(not has('mypy') or not has('tensorrt-stubs'),
                    reason='mypy and tensorrt-stubs are not installed')
def test_our_calls_fit_the_stubs_of_tensorrt_10(tmp_path):
    for name, text in sources().items():
        text = text.replace('trt: Any', '_trt: Any')   # `trt` becomes the module of the stubs
        for parameter, kind in TYPES.items():
            text = re.sub(rf'\b{parameter}: Any', f"{parameter}: 'trt.{kind}'", text)
        text = text.replace('-> tuple[Any, Any]', "-> tuple['trt.IExecutionContext', Any]")
        text = text.replace('"""\nfrom ', '"""\nimport tensorrt as trt\nfrom ', 1)
        (tmp_path / name.replace('/', '_')).write_text(text)
    write_stubs(tmp_path / 'stubs')
    done = subprocess.run(
        [sys.executable, '-m', 'mypy', '--ignore-missing-imports', '--follow-imports', 'silent',
         '--check-untyped-defs', '--no-incremental', *map(str, sorted(tmp_path.glob('*.py')))],
        capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, 'MYPYPATH': str(tmp_path / 'stubs')})
    wrong = [line for line in done.stdout.splitlines() if re.search(CALLS, line)
             and not re.search('^stubs/|' + '|'.join(NOT_IN_STUBS), line)]
    assert 'checked 3 source files' in done.stdout and not wrong


def test_nothing_is_called_that_tensorrt_11_removed():
    used = {node.attr for text in sources().values() for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute)}
    assert not used & set(REMOVED)


@pytest.mark.skipif(not has('cuda-bindings'), reason='cuda-bindings is not installed')
def test_the_cuda_functions_that_we_call_exist():
    runtime = importlib.import_module('cuda.bindings.runtime')
    text = (ROOT / 'runtime' / 'backends' / 'cuda.py').read_text()
    used = {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)
            and node.attr.startswith('cuda')} - {'cudart'}
    assert len(used) > 10
    code_or_kind = {'cudaSuccess', 'cudaMemcpyHostToDevice', 'cudaMemcpyDeviceToHost'}
    assert not [name for name in used - code_or_kind if not hasattr(runtime, name)]
    assert runtime.cudaError_t.cudaSuccess == 0
    assert {'cudaMemcpyHostToDevice', 'cudaMemcpyDeviceToHost'} <= set(
        runtime.cudaMemcpyKind.__members__)
