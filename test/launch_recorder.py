# SPDX-License-Identifier: Apache-2.0
"""Run launch files with executables that only write down how they were started."""
import json
import sys
import tempfile

import pytest
import yaml

# Stands for an executable: writes down its arguments, and the files that they name.
RECORDER = f"""#!{sys.executable}
import json, pathlib, sys
words = sys.argv[1:]
files = [pathlib.Path(word) for word in words]
texts = [path.read_text() for path in files if path.is_file()]
pathlib.Path(__file__).with_suffix('.json').write_text(json.dumps([words, texts]))
"""


def make_prefix(folder, monkeypatch, executables=(), files=()):
    """
    Make an ament prefix, as colcon does, and a PATH where every executable is a recorder.

    :param executables: 'package/name' besides those of this package.
    :param files: (path in share/crossview_ros, text) besides perception.yaml.
    """
    pytest.importorskip('launch_ros', reason='launch_ros is not installed')
    texts = {
        'share/crossview_ros/config/nodes/perception.yaml': '/**: {ros__parameters: {}}\n',
        'lib/crossview_ros/perception_node': RECORDER,
        'lib/crossview_ros/crossview': RECORDER,
        'bin/ros2': RECORDER,
        **{f'lib/{name}': RECORDER for name in executables},
        **{f'share/crossview_ros/{name}': text for name, text in files}}
    packages = {'crossview_ros', *(name.split('/')[0] for name in executables)}
    texts |= {f'share/ament_index/resource_index/packages/{name}': '' for name in packages}
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(folder), prepend=':')
    monkeypatch.setenv('PATH', str(folder / 'bin'), prepend=':')
    monkeypatch.setenv('ROS_LOG_DIR', str(folder / 'log'))
    monkeypatch.setattr(tempfile, 'tempdir', str(folder))
    return folder


def run_launch(path, group_namespace='', **arguments):
    """Launch, in a group, until everything that was started has ended; return the exit status."""
    from launch import LaunchDescription, LaunchService
    from launch.actions import GroupAction, IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import PushRosNamespace
    included = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(path)),
                                        launch_arguments=list(arguments.items()))
    service = LaunchService(noninteractive=True)
    service.include_launch_description(LaunchDescription([
        GroupAction([PushRosNamespace(group_namespace), included])]))
    return service.run()


def recorded(prefix, name):
    """Return the arguments of a recorder, and the parameters that its files and flags set."""
    words, texts = json.loads((prefix / name).with_suffix('.json').read_text())
    parameters = {}
    for text in texts:
        # launch_ros tags a list of texts so, and rcl reads over it
        for node in yaml.safe_load(text.replace('!!python/tuple', '')).values():
            parameters.update(node['ros__parameters'])
    return words, parameters


def pairs_after(words, flag):
    """Return {name: value} of every `flag name:=value`."""
    return dict(words[index + 1].split(':=', 1)
                for index, word in enumerate(words) if word == flag)
