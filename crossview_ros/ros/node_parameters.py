# SPDX-License-Identifier: Apache-2.0
"""
What can be set on perception_node: one dataclass, from which ROS parameters are declared.

Knows nothing of ROS. config/nodes/perception.yaml holds the same defaults.
"""
from collections.abc import Mapping
import dataclasses
from dataclasses import dataclass
import difflib
import math
from typing import Any

from crossview_ros.errors import ConfigError

BACKENDS = ('auto', 'torch', 'onnxruntime', 'tensorrt', 'tensorrt_rtx')
DEVICES = ('auto', 'cpu', 'cuda')
MODES = ('stereo', 'sequential')
DEPTH_ENCODINGS = ('32FC1', '16UC1')


def setting(default: Any, description: str, *, low: float | None = None,
            high: float | None = None, choices: tuple[str, ...] = (), dynamic: bool = False,
            name: str | None = None) -> Any:
    """
    Describe a parameter; the type is the default's.

    :param low: Least value of a number, with ``high``.
    :param choices: Allowed texts; none: any.
    :param dynamic: May change while the node runs.
    :param name: Name in ROS where it is not the field's, for groups with dots.
    """
    return dataclasses.field(default=default, metadata={
        'description': description, 'low': low, 'high': high, 'choices': choices,
        'dynamic': dynamic, 'name': name})


@dataclass(frozen=True)
class PerceptionNodeParameters:
    """All settings of perception_node; a value that cannot be used raises ConfigError."""

    model: str = setting('crossview_tiny', 'name of an installed model, or path of a model folder')
    backend: str = setting('auto', 'what runs the network', choices=BACKENDS)
    device: str = setting('auto', 'where the network runs', choices=DEVICES)
    mode: str = setting('stereo', 'rectified stereo pair, or one moving camera', choices=MODES)
    rectify: bool = setting(False, 'false: the images are rectified; true: rectify them with '
                                   'their camera_info')
    autostart: bool = setting(True, 'configure and activate without a lifecycle manager')
    publish_tf: bool = setting(True, 'publish the transform odom -> base with the odometry')
    approx_sync: bool = setting(False, 'match messages whose stamps differ a little; false: '
                                       'stamps must be equal')
    approx_sync_max_interval: float = setting(
        0.02, 'largest stamp difference of a match with approx_sync [s]', low=0.0, high=1.0)
    sync_queue_size: int = setting(
        10, 'messages of each topic that may wait for their partners', low=2, high=1000)
    cache_camera_info: bool = setting(
        False, 'use the last camera_info of each camera, whatever its stamp')
    stereo_baseline: float = setting(
        0.0, 'distance of the cameras where camera_info gives 0 [m]; 0.0: look it up in TF',
        low=0.0, high=10.0)
    inference_width: int = setting(
        0, 'larger images shrink to this width [px] for the network; 0: to the size of the model',
        low=0, high=8192, name='inference.width')
    inference_height: int = setting(
        0, 'height [px] that goes with inference.width', low=0, high=8192,
        name='inference.height')
    num_threads: int = setting(
        0, 'CPU threads of the network; 0: as the backend chooses', low=0, high=256)
    min_depth: float = setting(
        0.1, 'nearer depths are published as -Inf [m]', low=0.001, high=1000.0, dynamic=True)
    max_depth: float = setting(
        80.0, 'farther depths are published as +Inf [m]', low=0.01, high=10000.0, dynamic=True)
    min_confidence: float = setting(
        0.0, 'depths with less confidence are published as NaN', low=0.0, high=1.0, dynamic=True)
    depth_encoding: str = setting(
        '32FC1', '32FC1: metres on depth/image; 16UC1: millimetres on depth/image_raw',
        choices=DEPTH_ENCODINGS)
    point_cloud_stride: int = setting(
        4, 'the cloud has every so many-th row and column of the image', low=1, high=64,
        dynamic=True)
    point_cloud_pcl_padding: bool = setting(
        False, 'points of 32 bytes with rgb at 16, as PCL stores them', dynamic=True)
    input_timeout: float = setting(
        5.0, 'without a matched set for so long, say what is missing [s]', low=0.5, high=3600.0,
        dynamic=True)
    diagnostic_period: float = setting(
        1.0, 'time between two diagnostics [s]', low=0.05, high=60.0,
        name='diagnostic_updater.period')
    min_frequency: float = setting(
        1.0, 'inputs or outputs that come less often are reported as slow [Hz]', low=0.0,
        high=1000.0, dynamic=True, name='diagnostic_updater.min_frequency')

    def __post_init__(self) -> None:
        """Check each value, then what they mean together."""
        for item in dataclasses.fields(self):
            object.__setattr__(self, item.name, _checked(item, getattr(self, item.name)))
        if self.min_depth >= self.max_depth:
            raise ConfigError(f'min_depth must be less than max_depth, got {self.min_depth:g} and '
                              f'{self.max_depth:g} m')
        if bool(self.inference_width) != bool(self.inference_height):
            raise ConfigError('inference.width and inference.height go together, got '
                              f'{self.inference_width} and {self.inference_height}')

    @property
    def inference_size_hw(self) -> tuple[int, int] | None:
        """Largest size in the network as (height, width) [px]; None: the model's own."""
        size_hw = self.inference_height, self.inference_width
        return size_hw if all(size_hw) else None

    def changed(self, values: Mapping[str, Any]) -> 'PerceptionNodeParameters':
        """
        Return the settings with some of them replaced.

        :param values: ROS name -> value.
        :raises ConfigError: For an unknown name or an unusable value.
        """
        by_name = {ros_name(item): item.name for item in dataclasses.fields(self)}
        for name in values:
            if name not in by_name:
                raise ConfigError(f"unknown parameter '{name}'{suggestion(name, by_name)}")
        return dataclasses.replace(self, **{by_name[name]: value
                                            for name, value in values.items()})

    def as_dict(self) -> dict[str, Any]:
        """Return {ROS name: value}."""
        return {ros_name(item): getattr(self, item.name) for item in dataclasses.fields(self)}


def ros_name(item: dataclasses.Field) -> str:
    """Return the name of a setting as a ROS parameter."""
    return item.metadata['name'] or item.name


def suggestion(name: str, known: Any) -> str:
    """Return '; did you mean ...?' where a known name is near, else ''."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ''


def _checked(item: dataclasses.Field, value: Any) -> Any:
    name, kind, limits = ros_name(item), type(item.default), item.metadata
    if kind is float and type(value) is int:
        value = float(value)   # `max_depth:=20` on a command line is an integer
    if type(value) is not kind:
        raise ConfigError(f'{name} must be {_KINDS[kind]}, got {value!r}')
    if kind is float and not math.isfinite(value):
        raise ConfigError(f'{name} must be a finite number, got {value}')
    if limits['low'] is not None and not limits['low'] <= value <= limits['high']:
        raise ConfigError(f"{name} must be from {limits['low']:g} to {limits['high']:g}, "
                          f'got {value:g}')
    if limits['choices'] and value not in limits['choices']:
        raise ConfigError(f"{name} must be one of {', '.join(limits['choices'])}, got '{value}'"
                          f"{suggestion(value, limits['choices'])}")
    return value


_KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text'}
