# SPDX-License-Identifier: Apache-2.0
"""Run the launch_testing description of `launched_perception.py` as launch_testing does."""
import os
from pathlib import Path
import subprocess
import sys

from crossview_ros.errors import CheckpointError
from crossview_ros.model_store import find_model
import pytest

pytestmark = pytest.mark.ros
NODE = f"""#!{sys.executable}
import sys
from crossview_ros.ros.perception_node import main
sys.exit(main())
"""


@pytest.fixture
def prefix(tmp_path, root):
    """Return an ament prefix that holds the source tree, as an installation would."""
    share = tmp_path / 'share' / 'crossview_ros'
    share.mkdir(parents=True)
    marker = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages'
    marker.mkdir(parents=True)
    (marker / 'crossview_ros').touch()
    for folder in ('config', 'models'):
        (share / folder).symlink_to(root / folder)
    node = tmp_path / 'lib' / 'crossview_ros' / 'perception_node'
    node.parent.mkdir(parents=True)
    node.write_text(NODE)
    node.chmod(0o755)
    return tmp_path


def test_the_launch_file_brings_up_a_node_that_answers_and_ends(prefix):
    for package in ('launch_testing', 'launch_ros'):
        pytest.importorskip(package, reason=f'{package} is not installed')
    try:
        find_model('crossview_tiny')
    except CheckpointError:
        pytest.skip('models/crossview_tiny is not there')
    prefixes = [str(prefix), *filter(None, [os.environ.get('AMENT_PREFIX_PATH')])]
    environment = {**os.environ, 'AMENT_PREFIX_PATH': os.pathsep.join(prefixes),
                   'ROS_LOG_DIR': str(prefix / 'log')}
    done = subprocess.run(
        [sys.executable, '-m', 'launch_testing.launch_test',
         str(Path(__file__).with_name('launched_perception.py'))],
        env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
