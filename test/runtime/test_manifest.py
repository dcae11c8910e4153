# SPDX-License-Identifier: Apache-2.0
"""A manifest survives writing and reading; what contradicts itself is refused with the reason."""
import hashlib

from block_matching import make_manifest
from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.errors import CheckpointError
from crossview_ros.runtime.manifest import (
    InputNormalisation, load_manifest, MANIFEST, ModelManifest, OutputSpec, TilingSpec,
    verify_files)
import pytest


@pytest.fixture
def folder(tmp_path):
    """Return a model folder whose manifest says what `plain` says."""
    write(tmp_path, plain())
    return tmp_path


def plain(**changes):
    """Return the manifest as the plain values of its file."""
    return {**to_dict(make_manifest()), **changes}


def write(folder, values):
    """Write manifest.yaml."""
    (folder / MANIFEST).write_text(dump_yaml(values))


FILES = {name: 'ab' * 32 for name in ('stereo.safetensors', 'flow.safetensors')}
NETWORKS = {'stereo': 'stereo.safetensors', 'flow': 'flow.safetensors'}


def test_what_is_written_is_read(folder):
    manifest = make_manifest(tolerance={'onnxruntime': {'fp32': {'disparity': 1e-3}}},
                             files={'weights.safetensors': 'ab' * 32},
                             provenance={'steps': 1200, 'data': 'rendered'})
    write(folder, to_dict(manifest))
    assert load_manifest(folder) == manifest


def test_networks_tiling_and_losses_are_read_back(folder):
    manifest = make_manifest(
        files=FILES, networks=NETWORKS, fixed_size_hw=(64, 96),
        outputs={'stereo': OutputSpec('px', 'laplace_bounded2'),
                 'flow': OutputSpec('px', 'laplace_bounded', (0.5, 8.0))},
        tiling={'stereo': TilingSpec((64, 96), 0.9, 'conf_expbeta3')})
    write(folder, to_dict(manifest))
    assert load_manifest(folder) == manifest


def test_nested_parts_may_be_given_as_plain_values():
    manifest = ModelManifest(**plain())
    assert manifest == make_manifest()
    assert isinstance(manifest.normalisation, InputNormalisation)
    assert manifest.outputs['flow'] == OutputSpec('px', 'laplace')


@pytest.mark.parametrize('changes, message', [
    ({'tasks': ['stereo', 'sound']}, "tasks must be among .* got .*'sound'"),
    ({'tasks': []}, 'tasks must be among'),
    ({'tasks': ['stereo']}, r"outputs are described for \['flow', 'stereo'\]"),
    ({'size_multiple': 0}, 'at least 1 px'),
    ({'default_size_hw': [0, 96]}, 'at least 1 px'),
    ({'default_size_hw': [64]}, 'default_size_hw'),
    ({'files': {'../secret': 'ab' * 32}}, 'not the name of a file in this folder'),
    ({'files': {'weights': 'abc'}}, '64 hexadecimal digits'),
    ({'licence': None}, 'licence'),
    ({'licens': 'MIT'}, "unknown key 'licens'; did you mean 'licence'"),
    ({'outputs': {'flow': {'unit': 'px'}, 'stereo': {'unit': 'px', 'log_scale': 'gauss'}}},
     'log_scale'),
    ({'outputs': {'flow': {'unit': 'px'}, 'stereo': {'unit': 'px', 'log_scale': 'laplace',
                                                     'log_scale_range': [1, 2]}}},
     "'laplace' has no log_scale_range"),
    ({'outputs': {'flow': {'unit': 'px'}, 'stereo': {
        'unit': 'px', 'log_scale': 'laplace_bounded', 'log_scale_range': [4, 0.25]}}},
     'two numbers above 0, rising'),
    ({'outputs': {'flow': {'unit': 'px'}, 'stereo': {
        'unit': 'px', 'log_scale': 'laplace_bounded2', 'log_scale_range': [3, 0]}}},
     'two numbers above 0'),
    ({'networks': {'stereo': 'stereo.safetensors'}, 'files': FILES},
     r"networks are named for \['stereo'\], but the tasks are \['flow', 'stereo'\]"),
    ({'networks': NETWORKS}, 'networks: flow.safetensors, stereo.safetensors is not among'),
    ({'tiling': {'pose': {'window_hw': [64, 96]}}}, 'pose is no task with a log_scale'),
    ({'tiling': {'stereo': {'window_hw': [64, 96]}},
      'outputs': {'flow': {'unit': 'px'}, 'stereo': {'unit': 'px'}}}, 'no task with a log_scale'),
    ({'tiling': {'stereo': {'window_hw': [64, 90]}}}, 'multiples of 16 px'),
    ({'tiling': {'stereo': {'window_hw': [64, 0]}}}, 'window_hw must be'),
    ({'tiling': {'stereo': {'window_hw': [64, 96], 'overlap': 1.0}}}, r'overlap must be in'),
    ({'tiling': {'stereo': {'window_hw': [64, 96], 'weight': 'mean'}}}, "got 'mean'"),
    ({'tiling': {'stereo': {'window_hw': [64, 96], 'overlapp': 0.9}}},
     "unknown key 'tiling.stereo.overlapp'; did you mean 'tiling.stereo.overlap'"),
    ({'fixed_size_hw': [64, 90]}, 'fixed_size_hw must be two multiples of 16 px'),
    ({'fixed_size_hw': [64, 80], 'tiling': {'stereo': {'window_hw': [64, 96]}}},
     r'every window_hw must be the fixed_size_hw \(64, 80\)'),
    ({'normalisation': {'mean': [0, 0, 0], 'std': [1, 0, 1]}}, 'std must be greater than 0'),
    ({'normalisation': {'mean': [0, 0, 0], 'std': [1, 1, 1], 'channels': 'hsv'}}, 'hsv'),
])
def test_contradictions_are_refused(folder, changes, message):
    write(folder, plain(**changes))
    with pytest.raises(CheckpointError, match=message):
        load_manifest(folder)


def test_bounded_losses_have_the_defaults_of_their_definition():
    assert OutputSpec('px', 'laplace_bounded').log_scale_range == (0.25, 4)   # croco.md 6.2
    assert OutputSpec('px', 'laplace_bounded2').log_scale_range == (3, 3)
    assert OutputSpec('px', 'laplace').log_scale_range is None


def test_a_task_needs_the_files_of_its_own_network_only():
    spec = TilingSpec((64, 96))
    manifest = make_manifest(files={**FILES, 'LICENCE': 'cd' * 32}, networks=NETWORKS,
                             tiling={'stereo': spec, 'flow': spec})
    part = manifest.for_tasks(['flow'])
    assert (part.tasks, part.networks, part.tiling) == (
        ['flow'], {'flow': 'flow.safetensors'}, {'flow': spec})
    assert set(part.files) == {'flow.safetensors', 'LICENCE'}
    shared = make_manifest(files={'weights.safetensors': 'ab' * 32})
    part = shared.for_tasks(['flow'])
    assert part.tasks == list(part.outputs) == ['flow']
    assert part.files == shared.files and not part.networks
    assert shared.network_of('flow') == shared.network_of('stereo') == 'weights.safetensors'


def test_a_folder_without_manifest_says_so(tmp_path):
    with pytest.raises(CheckpointError, match='manifest.yaml, but there is none'):
        load_manifest(tmp_path)


def test_rubbish_is_not_a_manifest(tmp_path):
    (tmp_path / MANIFEST).write_bytes(b'\x00\xff{[')
    with pytest.raises(CheckpointError, match='not valid YAML'):
        load_manifest(tmp_path)


def test_files_are_checked_by_their_sha256(tmp_path):
    content = bytes(range(256)) * 5000   # more than one block of 1 MiB
    path = tmp_path / 'weights.safetensors'
    path.write_bytes(content)
    manifest = make_manifest(files={path.name: hashlib.sha256(content).hexdigest()})
    verify_files(tmp_path, manifest)
    path.write_bytes(content[:-1] + b'\x00')
    with pytest.raises(CheckpointError, match='the file is damaged'):
        verify_files(tmp_path, manifest)
    path.unlink()
    with pytest.raises(CheckpointError, match='the manifest lists this file'):
        verify_files(tmp_path, manifest)
