# SPDX-License-Identifier: Apache-2.0
"""Check what a user installs: metadata that agrees, files that arrive, extras that resolve."""
import ast
import importlib.util
from pathlib import Path
import re
import runpy
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from packaging.requirements import Requirement
import pytest
import setuptools
import yaml

ROOT = Path(__file__).resolve().parent.parent
SPDX = 'SPDX-License-Identifier: Apache-2.0'
CODE_FOLDERS = ('crossview_ros', 'launch', 'test', '.ci')
PYTHONS = ('3.10', '3.11', '3.12', '3.13', '3.14')
EXEC_DEPENDS = set(
    'rclpy cv_bridge sensor_msgs_py python3-opencv sensor_msgs stereo_msgs nav_msgs geometry_msgs '
    'std_msgs std_srvs diagnostic_msgs rcl_interfaces lifecycle_msgs tf2_ros tf2_ros_py '
    'tf2_msgs message_filters launch launch_ros ros2launch ros2bag ament_index_python rosbag2_py '
    'rosbag2_storage_mcap python3-numpy python3-yaml'.split())
TEST_DEPENDS = set(
    'ament_flake8 ament_pep257 python3-pytest launch_testing launch_testing_ros'.split())
# Import names that differ from the name of the distribution.
DISTRIBUTIONS = {'cuda': 'cuda-bindings', 'cv2': 'opencv-python-headless', 'yaml': 'pyyaml',
                 'tensorrt_rtx': 'tensorrt-rtx', 'kiss_icp': 'kiss-icp',
                 'ament_index_python': 'ros-ament-index-python',
                 'lightning_fabric': 'lightning-fabric'}
# Used where the system has them, never required: ROS packages and vendor libraries.
OPTIONAL = {'cv_bridge', 'message_filters', 'sensor_msgs_py', 'skimage', 'tensorrt', 'tf2_ros',
            'tf2_msgs', 'timm'}


@pytest.fixture(scope='module')
def setup_arguments():
    """Return what setup.py passes to setuptools."""
    captured = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, 'setup', captured.update)
        patch.chdir(ROOT)
        runpy.run_path(str(ROOT / 'setup.py'))
    return captured


@pytest.fixture(scope='module')
def package_xml():
    """Return the parsed package.xml."""
    return ElementTree.parse(ROOT / 'package.xml').getroot()


@pytest.fixture(scope='module')
def installer():
    """Return .ci/install.py as a module."""
    spec = importlib.util.spec_from_file_location('install', ROOT / '.ci' / 'install.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python_files():
    """Return every Python file of the repository's own code."""
    return sorted({ROOT / 'setup.py',
                   *(path for name in CODE_FOLDERS for path in (ROOT / name).rglob('*.py'))})


def names_on(requirements, python, machine):
    """Return the distributions that apply to a Python version and a machine type on Linux."""
    environment = {'python_version': python, 'platform_machine': machine, 'sys_platform': 'linux'}
    return {Requirement(text).name for text in requirements
            if Requirement(text).marker is None or Requirement(text).marker.evaluate(environment)}


def test_setup_and_package_xml_describe_the_same_package(setup_arguments, package_xml):
    assert package_xml.get('format') == '3'
    for field in ('name', 'version', 'description', 'license', 'maintainer'):
        assert package_xml.findtext(field) == setup_arguments[field]
    assert package_xml.find('maintainer').get('email') == setup_arguments['maintainer_email']
    assert package_xml.findtext('export/build_type') == 'ament_python'


def test_package_xml_declares_what_ros_has_to_install(package_xml):
    assert {tag.text for tag in package_xml.findall('exec_depend')} == EXEC_DEPENDS
    assert {tag.text for tag in package_xml.findall('test_depend')} == TEST_DEPENDS


def test_share_holds_marker_manifest_launch_config_and_models(setup_arguments):
    installed = {Path(folder, Path(file).name): ROOT / file
                 for folder, files in setup_arguments['data_files'] for file in files}
    assert all(source.is_file() for source in installed.values())
    share = Path('share/crossview_ros')
    wanted = {Path('share/ament_index/resource_index/packages/crossview_ros'),
              share / 'package.xml'}
    for folder, pattern in (('launch', '*.launch.py'), ('config', '**/*.yaml'),
                            ('config', '**/*.rviz'), ('models', '*/manifest.yaml'),
                            ('models', '**/*.safetensors')):
        wanted |= {share / path.relative_to(ROOT) for path in (ROOT / folder).glob(pattern)}
    assert wanted <= set(installed)
    assert share / 'launch/perception.launch.py' in installed


def test_every_folder_with_code_is_a_package(setup_arguments):
    folders = {path.parent for path in (ROOT / 'crossview_ros').rglob('*.py')}
    names = {'.'.join(folder.relative_to(ROOT).parts) for folder in folders}
    assert names == set(setup_arguments['packages'])


def test_every_console_script_names_a_function(setup_arguments):
    scripts = setup_arguments['entry_points']['console_scripts']
    assert {script.split(' = ')[0] for script in scripts} >= {
        'crossview', 'perception_node', 'depth_node', 'flow_node', 'odometry_node'}
    for script in scripts:
        module, function = script.split(' = ')[1].split(':')
        tree = ast.parse((ROOT / Path(*module.split('.'))).with_suffix('.py').read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_scripts_are_installed_where_ros2_run_looks():
    text = (ROOT / 'setup.cfg').read_text()
    assert 'script_dir=$base/lib/crossview_ros' in text
    assert 'install_scripts=$base/lib/crossview_ros' in text


def test_all_is_every_extra(setup_arguments):
    extras = setup_arguments['extras_require']
    assert set(extras) == {'ros', 'onnx', 'train', 'rtx', 'slam', 'test', 'all'}
    assert set(extras['all']) == {text for name, extra in extras.items() if name != 'all'
                                  for text in extra}


@pytest.mark.parametrize('python', PYTHONS)
def test_extras_ask_for_nothing_that_a_platform_lacks(setup_arguments, python):
    everything = setup_arguments['extras_require']['all']
    assert 'ros-rclpy' in names_on(everything, python, 'x86_64')
    # The ROS wheels are binary for x86_64; the linters are plain Python.
    assert {name for name in names_on(everything, python, 'aarch64')
            if name.startswith('ros-')} == {'ros-ament-flake8', 'ros-ament-pep257'}
    assert ('kiss-icp' in names_on(everything, python, 'x86_64')) == (python != '3.14')
    assert 'gtsam' in names_on(everything, python, 'x86_64')


@pytest.mark.parametrize('python', PYTHONS)
def test_constraints_pin_each_direct_dependency_once(setup_arguments, python):
    direct = [*setup_arguments['install_requires'], *setup_arguments['extras_require']['all']]
    lines = [line for line in (ROOT / 'constraints.txt').read_text().splitlines()
             if line and not line.startswith('#')]
    pins = [Requirement(line) for line in lines]
    environment = {'python_version': python, 'platform_machine': 'x86_64', 'sys_platform': 'linux'}
    applied = [pin.name for pin in pins if not pin.marker or pin.marker.evaluate(environment)]
    assert len(applied) == len(set(applied))
    assert names_on(direct, python, 'x86_64') <= set(applied)
    assert {pin.name for pin in pins} == {Requirement(text).name for text in direct}
    assert all(re.fullmatch(r'==[^*,]+', str(pin.specifier)) for pin in pins)


def test_every_imported_distribution_is_declared(setup_arguments):
    declared = {Requirement(text).name for text in (
        *setup_arguments['install_requires'], *setup_arguments['extras_require']['all'])}
    undeclared = set()
    for path in (ROOT / 'crossview_ros').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            names = ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                     [node.module] if isinstance(node, ast.ImportFrom) and not node.level else [])
            undeclared |= {top for top in (name.split('.')[0] for name in names)
                           if top not in sys.stdlib_module_names | OPTIONAL | {'crossview_ros'}
                           and DISTRIBUTIONS.get(top, top) not in declared
                           and 'ros-' + top.replace('_', '-') not in declared}
    assert undeclared == set()


@pytest.mark.parametrize('path', python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_python_file_states_its_licence_first(path):
    lines = path.read_text().splitlines()
    assert lines[:1] == [f'# {SPDX}']


@pytest.mark.parametrize('name', ['Makefile', '.ci/run', 'constraints.txt', 'setup.cfg'])
def test_other_sources_state_their_licence(name):
    assert f'# {SPDX}' in (ROOT / name).read_text().splitlines()[:2]


def test_the_licence_is_the_full_text_of_apache_2():
    text = (ROOT / 'LICENSE').read_text()
    assert 'Version 2.0, January 2004' in text
    assert 'END OF TERMS AND CONDITIONS' in text


def test_every_yaml_file_loads():
    for path in (*ROOT.glob('config/**/*.yaml'), *ROOT.glob('config/**/*.rviz')):
        assert yaml.safe_load(path.read_text()), path


def test_the_readme_shows_targets_that_exist():
    targets = set(re.findall(r'^(\w[\w-]*):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    shown = set(re.findall(r'\bmake ([a-z][a-z-]*)', (ROOT / 'README.md').read_text()))
    assert {'demo', 'test', 'lint', 'install'} <= targets
    assert {'demo', 'test'} <= shown <= targets


def test_links_between_documents_lead_somewhere():
    for page in (ROOT / 'README.md', *ROOT.glob('docs/**/*.md')):
        for link in re.findall(r'\]\(([^)#]+?)(?:#[^)]*)?\)', page.read_text()):
            assert link.startswith('http') or (page.parent / link).exists(), f'{page}: {link}'


@pytest.mark.parametrize('numpy_version, kept', [('1.26.4', ['numpy<2']), ('2.3.1', [])])
def test_install_beside_ros_keeps_its_numpy_generation(installer, tmp_path, numpy_version, kept):
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\necho {numpy_version}\n')
    python.chmod(0o755)
    lines = installer.constraints(python, tmp_path, 'jazzy').read_text().splitlines()
    assert [line for line in lines if not line.startswith('torch==')] == kept
    assert installer.constraints(python, tmp_path, None) == ROOT / 'constraints.txt'


def test_install_tells_whether_an_environment_shares_the_system(installer, tmp_path):
    assert installer.venv_shares_system(tmp_path) is None
    for flag in ('true', 'false'):
        (tmp_path / 'pyvenv.cfg').write_text(f'include-system-site-packages = {flag}\n')
        assert installer.venv_shares_system(tmp_path) is (flag == 'true')


def test_install_refuses_an_interpreter_that_the_sourced_ros_is_not_for(installer, monkeypatch):
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(installer.subprocess, 'run', lambda *_, **__: failed)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    with pytest.raises(SystemExit, match='ROS jazzy is sourced but .* cannot import rclpy'):
        installer.sourced_ros('/usr/bin/python3')
    monkeypatch.delenv('ROS_DISTRO')
    assert installer.sourced_ros('/usr/bin/python3') is None


def test_install_names_the_missing_debian_package(installer, monkeypatch):
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(installer.subprocess, 'run', lambda *_, **__: failed)
    with pytest.raises(SystemExit, match='sudo apt install python3-venv'):
        installer.require_venv_module('/usr/bin/python3')
