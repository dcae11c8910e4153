# SPDX-License-Identifier: Apache-2.0
"""Learned metric depth and optical flow from stereo images, for ROS 2 and plain Python."""
from typing import Any

__version__ = '0.1.0'
__all__ = ['Perception', '__version__']


def __getattr__(name: str) -> Any:
    """Import `Perception` when it is first asked for, so that the package costs nothing."""
    if name == 'Perception':
        from crossview_ros.runtime.perception import Perception
        return Perception
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
