# SPDX-License-Identifier: Apache-2.0
"""
Run perception_node with an engine that needs no model, for the tests of the node.

The environment variable FAKE_ENGINE holds its behaviour as JSON: load_s, process_s, fail_load,
fail_on (numbers of the frames that fail), lost_on (those where tracking is lost), tasks, and task
(what the node is for). As with the real executables, nothing heavy is imported before `main`.
"""
import json
import os

from crossview_ros.ros.perception_node import main


def open_fake(settings, progress):
    """Open the engine; as `EngineFactory`."""
    import fake_engine
    return fake_engine.open_fake(settings, progress)


if __name__ == '__main__':
    raise SystemExit(main(engine_factory=open_fake,
                          task=json.loads(os.environ.get('FAKE_ENGINE', '{}')).get('task')))
