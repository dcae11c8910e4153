# SPDX-License-Identifier: Apache-2.0
"""The one place for what differs between the rclpy of Humble and that of later releases."""
from collections.abc import Callable
import importlib
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter


def event_callbacks() -> Any:
    """Return the module with PublisherEventCallbacks and SubscriptionEventCallbacks."""
    try:
        return importlib.import_module('rclpy.event_handler')
    except ImportError:   # Humble
        return importlib.import_module('rclpy.qos_event')


def watch_parameters(node: Node, validate: Callable[[list[Parameter]], SetParametersResult],
                     apply: Callable[[list[Parameter]], None]) -> None:
    """
    Have changes of parameters validated before, and applied after they are set.

    Humble has no callback for after: there they are applied at the end of the validation.
    """
    if hasattr(node, 'add_post_set_parameters_callback'):
        node.add_on_set_parameters_callback(validate)
        node.add_post_set_parameters_callback(apply)
        return

    def validate_and_apply(parameters: list[Parameter]) -> SetParametersResult:
        result = validate(parameters)
        if result.successful:
            apply(parameters)
        return result

    node.add_on_set_parameters_callback(validate_and_apply)


def undeclared_overrides(node: Node) -> list[str]:
    """
    Return the parameters that a command line or file sets, but that the node does not have.

    Those of other entities (QoS overrides, clock) are not counted. rclpy keeps what was set in a
    member of its own; where that is missing, nothing is known.
    """
    given = getattr(node, '_parameter_overrides', {})
    foreign = ('qos_overrides.', 'use_sim_time', 'start_type_description_service')
    return sorted(name for name in given
                  if not node.has_parameter(name) and not name.startswith(foreign))
