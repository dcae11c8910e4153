# SPDX-License-Identifier: Apache-2.0
"""Fields of a settings dataclass from which ROS parameters are declared; knows nothing of ROS."""
from collections.abc import Iterable
import dataclasses
import difflib
import math
from typing import Any

from crossview_ros.errors import ConfigError

KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text',
         tuple: 'a list of numbers'}


def setting(default: Any, description: str, *, low: float | None = None,
            high: float | None = None, choices: tuple[str, ...] = (), dynamic: bool = False,
            name: str | None = None) -> Any:
    """
    Describe a parameter; the type is the default's, where a tuple stands for a list of floats.

    :param low: Least value of a number, with ``high``.
    :param choices: Allowed texts; none: any.
    :param dynamic: May change while the node runs.
    :param name: Name in ROS where it is not the field's, for groups with dots.
    """
    return dataclasses.field(default=default, metadata={
        'description': description, 'low': low, 'high': high, 'choices': choices,
        'dynamic': dynamic, 'name': name})


def ros_name(item: dataclasses.Field) -> str:
    """Return the name of a setting as a ROS parameter."""
    return item.metadata['name'] or item.name


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return '; did you mean ...?' where a known name is near, else ''."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ''


def checked(item: dataclasses.Field, value: Any) -> Any:
    """
    Return the value of a setting, converted where nothing is lost.

    :raises ConfigError: If it is of another type, out of range or not one of the choices.
    """
    name, kind, limits = ros_name(item), type(item.default), item.metadata
    if kind is tuple:
        return _numbers(name, value, len(item.default))
    if kind is float and type(value) is int:
        value = float(value)   # `max_depth:=20` on a command line is an integer
    if type(value) is not kind:
        raise ConfigError(f'{name} must be {KINDS[kind]}, got {value!r}')
    if kind is float and not math.isfinite(value):
        raise ConfigError(f'{name} must be a finite number, got {value}')
    if limits['low'] is not None and not limits['low'] <= value <= limits['high']:
        raise ConfigError(f"{name} must be from {limits['low']:g} to {limits['high']:g}, "
                          f'got {value:g}')
    if limits['choices'] and value not in limits['choices']:
        raise ConfigError(f"{name} must be one of {', '.join(limits['choices'])}, got '{value}'"
                          f"{suggestion(value, limits['choices'])}")
    return value


def _numbers(name: str, value: Any, length: int) -> tuple[float, ...]:
    """Return so many floats; an empty list stands for zeros."""
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        raise ConfigError(f'{name} must be {KINDS[tuple]}, got {value!r}') from None
    if len(numbers) not in (0, length) or not all(map(math.isfinite, numbers)):
        raise ConfigError(f'{name} must hold {length} finite numbers, or none, '
                          f'got {list(numbers)}')
    return numbers or (0.0,) * length
