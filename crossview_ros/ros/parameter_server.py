# SPDX-License-Identifier: Apache-2.0
"""Declare the settings of the node as ROS parameters and keep them valid while it runs."""
from collections.abc import Callable
import dataclasses
from typing import Any

from crossview_ros.errors import ConfigError
from crossview_ros.ros.compat import undeclared_overrides, watch_parameters
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.settings import ros_name, suggestion
from rcl_interfaces.msg import (
    FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter


class ParameterServer:
    """
    The settings in force; dynamic ones change through ROS, but only to valid values.

    Called from the executor's thread; `current` may be read from any.
    """

    def __init__(self, node: Node, defaults: PerceptionNodeParameters,
                 on_change: Callable[[PerceptionNodeParameters], None] | None = None) -> None:
        """
        Declare everything and read what command line and files set.

        :param defaults: What holds where nothing is set.
        :param on_change: Called with the settings after each change; it must not fail.
        :raises ConfigError: If a value is of the wrong type, out of range or contradicts others.
        """
        self._node = node
        self._on_change = on_change
        values = defaults.as_dict()
        self._names = set(values)
        self.current = defaults.changed({
            ros_name(item): _declare(node, item, values[ros_name(item)])
            for item in dataclasses.fields(defaults)})
        watch_parameters(node, self._validate, self._apply)

    def unknown(self) -> list[str]:
        """Describe the parameters that were set but do not exist: likely misspelt."""
        return [f"'{name}'{suggestion(name, self._names)}"
                for name in undeclared_overrides(self._node)]

    def _validate(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            self.current.changed(self._ours(parameters))
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply(self, parameters: list[Parameter]) -> None:
        changes = self._ours(parameters)
        if changes:
            self.current = self.current.changed(changes)
            if self._on_change is not None:
                self._on_change(self.current)

    def _ours(self, parameters: list[Parameter]) -> dict[str, Any]:
        return {parameter.name: parameter.value for parameter in parameters
                if parameter.name in self._names}


def _declare(node: Node, item: dataclasses.Field, default: Any) -> Any:
    """Return the value that the parameter got."""
    try:
        value = node.declare_parameter(ros_name(item), default, descriptor(item)).value
        return default if value is None else value   # an empty list of a file comes as nothing
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise ConfigError(f'{ros_name(item)}: {error.args[0]}') from error


def descriptor(item: dataclasses.Field) -> ParameterDescriptor:
    """Describe a setting to ROS: meaning, range, and whether it may change."""
    meta = item.metadata
    description = meta['description']
    if meta['choices']:
        description += f" ({' | '.join(meta['choices'])})"
    described = ParameterDescriptor(
        name=ros_name(item), description=description, read_only=not meta['dynamic'],
        # a number without a point is an integer in ROS; `max_depth:=20` shall be accepted
        dynamic_typing=isinstance(item.default, (float, tuple)))
    if meta['low'] is not None and isinstance(item.default, float):
        described.floating_point_range = [FloatingPointRange(
            from_value=float(meta['low']), to_value=float(meta['high']), step=0.0)]
    elif meta['low'] is not None:
        described.integer_range = [IntegerRange(
            from_value=int(meta['low']), to_value=int(meta['high']), step=0)]
    return described
