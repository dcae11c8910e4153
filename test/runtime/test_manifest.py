# SPDX-License-Identifier: Apache-2.0
"""A manifest survives writing and reading; what contradicts itself is refused with the reason."""
import hashlib

from block_matching import make_manifest
from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.errors import CheckpointError
from crossview_ros.runtime.manifest import (
    InputNormalisation, load_manifest, MANIFEST, ModelManifest, OutputSpec, verify_files)
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


def test_what_is_written_is_read(folder):
    manifest = make_manifest(tolerance={'onnxruntime': {'fp32': {'disparity': 1e-3}}},
                             files={'weights.safetensors': 'ab' * 32},
                             provenance={'steps': 1200, 'data': 'rendered'})
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
    ({'normalisation': {'mean': [0, 0, 0], 'std': [1, 0, 1]}}, 'std must be greater than 0'),
    ({'normalisation': {'mean': [0, 0, 0], 'std': [1, 1, 1], 'channels': 'hsv'}}, 'hsv'),
])
def test_contradictions_are_refused(folder, changes, message):
    write(folder, plain(**changes))
    with pytest.raises(CheckpointError, match=message):
        load_manifest(folder)


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
