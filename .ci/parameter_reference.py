# SPDX-License-Identifier: Apache-2.0
"""
Write docs/parameters.md from the settings of the node, which ROS parameters are declared from.

    .venv/bin/python .ci/parameter_reference.py
"""
import dataclasses
from pathlib import Path

from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.settings import ros_name

PAGE = Path(__file__).resolve().parent.parent / 'docs' / 'parameters.md'
COMMAND = '.venv/bin/python .ci/parameter_reference.py'
# as `ros2 param describe` names them
TYPES = {bool: 'boolean', int: 'integer', float: 'double', str: 'string', tuple: 'double array'}
HEAD = f"""\
<!-- Made by: {COMMAND} -->
# Parameters of the nodes

`perception_node`, `depth_node`, `flow_node` and `odometry_node` have the same parameters; the last three
have one of `depth.enabled`, `flow.enabled` and `odometry.enabled` on. *Changes* tells which may be set
while the node runs (`ros2 param set /perception_node NAME VALUE`); the others are read-only. Files with
all defaults: [config/nodes](../config/nodes/perception.yaml). What the topics carry:
[topics.md](topics.md).

| parameter | type | default | range | changes | meaning |
|---|---|---|---|---|---|
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


def page() -> str:
    """Return the page: one row for each setting, in the order of the settings."""
    return HEAD + ''.join(_row(item) for item in dataclasses.fields(PerceptionNodeParameters))


def _row(item: dataclasses.Field) -> str:
    meta = item.metadata
    default = list(item.default) if isinstance(item.default, tuple) else item.default
    shown = str(default).lower() if isinstance(default, bool) else default
    limits = '' if meta['low'] is None else f"{meta['low']:g} to {meta['high']:g}"
    cells = (f'`{ros_name(item)}`', TYPES[type(item.default)],
             '(empty)' if default == '' else f'`{shown}`',
             limits or ', '.join(f'`{choice}`' for choice in meta['choices']),
             'yes' if meta['dynamic'] else '',
             meta['description'].replace('|', '\\|').replace('<', '&lt;'))
    return f"| {' | '.join(cells)} |\n"


if __name__ == '__main__':
    main()
