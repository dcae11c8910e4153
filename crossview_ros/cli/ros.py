# SPDX-License-Identifier: Apache-2.0
"""Tell whether this machine can run ROS 2 nodes, and keep ours apart from those of others."""
import importlib
import os

from crossview_ros.errors import CrossviewError


def missing_ros() -> str | None:
    """Return why no node can run here, or None; rclpy is loaded to find out."""
    try:
        importlib.import_module('rclpy')
    except ImportError as error:
        return f'rclpy cannot be loaded ({error})'
    return None


def require_ros() -> None:
    """
    Make sure that nodes can run here.

    :raises CrossviewError: If not, with the ways to get ROS.
    """
    reason = missing_ros()
    if reason is not None:
        raise CrossviewError(f'{reason}: source a ROS 2 installation, or install the extra: '
                             "pip install 'crossview_ros[ros]'")


def private_domain() -> dict[str, str]:
    """
    Return environment variables that keep nodes of ours apart from others.

    What the user has set stays: then the tools of that user see the nodes.
    """
    variables = {'ROS_DOMAIN_ID': str(1 + os.getpid() % 101)}   # 1-101: free of ephemeral ports
    if os.environ.get('ROS_DISTRO') == 'humble':
        variables['ROS_LOCALHOST_ONLY'] = '1'
    else:
        variables['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    return {name: os.environ.get(name, value) for name, value in variables.items()}
