# SPDX-License-Identifier: Apache-2.0
"""Skip the tests of the node, which import rclpy at their head, where there is no ROS."""
import importlib.util

import pytest


class SkippedModule(pytest.Module):
    """A test file that is not even imported."""

    def collect(self):
        """Skip with the reason."""
        pytest.skip('rclpy is not installed', allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Collect as usual where rclpy can be imported."""
    if importlib.util.find_spec('rclpy') is None:
        return SkippedModule.from_parent(parent, path=module_path)
    return None
