# SPDX-License-Identifier: Apache-2.0
"""The one strict loader: dict or YAML <-> frozen dataclass, with `--set a.b=1` overrides."""
import dataclasses
import difflib
from pathlib import Path
import types
import typing
from typing import Any, TypeVar, Union

from crossview_ros.errors import ConfigError
import yaml

T = TypeVar('T')


def from_dict(cls: type[T], values: dict, source: str = 'config') -> T:
    """
    Build a dataclass (nested ones included) from plain values, strictly.

    :param values: Mapping of field names to plain YAML values.
    :param source: Where the values come from; named in errors.
    :return: An instance of ``cls``.
    :raises ConfigError: For an unknown key (with the nearest name), a wrong type, a missing
        field, or a contradiction that the dataclass itself refuses.
    """
    import pydantic
    _check_keys(cls, values, source, prefix='')
    try:
        return pydantic.TypeAdapter(cls).validate_python(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = '.'.join(str(part) for part in first['loc']) or cls.__name__
        raise ConfigError(
            f"{source}: '{key}': {first['msg']}, but got {first['input']!r}") from error


def to_dict(config: Any) -> dict:
    """Turn a dataclass into plain values that `from_dict` reads back and YAML can hold."""
    return _plain(dataclasses.asdict(config))


def load_yaml(path: str | Path) -> dict:
    """
    Read a YAML mapping.

    :raises ConfigError: If the file is missing, is not YAML, or does not hold a mapping.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ConfigError(f'{path}: cannot be read: {error.strerror}; is the path right?') \
            from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path}: is not valid YAML: {" ".join(str(error).split())}') from error
    if not isinstance(values, dict):
        raise ConfigError(f'{path}: expected a mapping of settings, got '
                          f'{type(values).__name__}')
    return values


def load_config(cls: type[T], path: str | Path, overrides: list[str] | tuple = ()) -> T:
    """
    Read a YAML file into a dataclass.

    :param overrides: Strings ``a.b=value`` (the value is YAML), applied on top of the file.
    :raises ConfigError: As `load_yaml` and `from_dict`.
    """
    values = load_yaml(path)
    for text in overrides:
        _apply_override(values, text)
    return from_dict(cls, values, source=str(path))


def dump_yaml(values: dict) -> str:
    """Write plain values as YAML, in the order given."""
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=99)


def _apply_override(values: dict, text: str) -> None:
    key, separator, value = text.partition('=')
    if not separator or not key:
        raise ConfigError(f"--set expects key=value, e.g. optimizer.lr=1e-4; got '{text}'")
    *parents, last = key.split('.')
    node = values
    for name in parents:
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {text}: '{name}' is a value, not a group of settings")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: '{value}' is not a YAML value") from error
    if isinstance(node[last], str):
        node[last] = _number_or_text(node[last])


def _number_or_text(text: str) -> float | str:
    # YAML 1.1 reads 1e-4 as text: a number needs a dot there
    try:
        return float(text)
    except ValueError:
        return text


def _check_keys(cls: type, values: Any, source: str, prefix: str) -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: '{prefix.rstrip('.') or cls.__name__}' must be a mapping "
                          f'of settings, got {values!r}')
    hints = typing.get_type_hints(cls)
    for key, value in values.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), list(hints), n=1)
            advice = f"did you mean '{prefix}{near[0]}'?" if near \
                else f'known: {", ".join(sorted(hints))}'
            raise ConfigError(f"{source}: unknown key '{prefix}{key}'; {advice}")
        for name, nested, item in _nested(f'{prefix}{key}.', hints[key], value):
            _check_keys(nested, item, source, name)


def _nested(name: str, hint: Any, value: Any) -> list[tuple[str, type, dict]]:
    """Return the name, class and values of a nested dataclass, or of each in a mapping."""
    if typing.get_origin(hint) is dict and isinstance(value, dict):
        return [found for key, item in value.items()
                for found in _nested(f'{name}{key}.', typing.get_args(hint)[1], item)]
    nested = _dataclass_of(hint)
    return [(name, nested, value)] if nested is not None and isinstance(value, dict) else []


def _dataclass_of(hint: Any) -> type | None:
    if typing.get_origin(hint) in (Union, types.UnionType):
        hints = [h for h in map(_dataclass_of, typing.get_args(hint)) if h is not None]
        return hints[0] if len(hints) == 1 else None
    return hint if dataclasses.is_dataclass(hint) and isinstance(hint, type) else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value
