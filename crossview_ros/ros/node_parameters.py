# SPDX-License-Identifier: Apache-2.0
"""
What can be set on perception_node: one dataclass, from which ROS parameters are declared.

Knows nothing of ROS. The files of config/nodes hold the same defaults.
"""
from collections.abc import Mapping
import dataclasses
from dataclasses import dataclass
from typing import Any

from crossview_ros.errors import ConfigError
from crossview_ros.ros.settings import checked, ros_name, setting, suggestion

BACKENDS = ('auto', 'torch', 'onnxruntime', 'tensorrt', 'tensorrt_rtx')
DEVICES = ('auto', 'cpu', 'cuda')
PRECISIONS = ('auto', 'fp32', 'fp16', 'bf16', 'int8')
MODES = ('stereo', 'sequential')
INFERENCE_MODES = ('single', 'tiled')
SHARPEN = ('auto', 'on', 'off')
DEPTH_ENCODINGS = ('32FC1', '16UC1')
TRANSPORTS = ('raw', 'compressed')
LOST_POLICIES = ('silent', 'inflate', 'null')
FLOW_UNITS = ('pixel', 'pixel_per_second')
STAMP_REFERENCES = ('start', 'middle', 'end')
TASKS = ('depth', 'flow', 'odometry')
NO_POSE = (0.0,) * 7   # x y z qx qy qz qw without a rotation: not given


@dataclass(frozen=True)
class PerceptionNodeParameters:
    """All settings of perception_node; a value that cannot be used raises ConfigError."""

    model: str = setting('crossview_tiny', 'name of an installed model, or path of a model folder')
    backend: str = setting('auto', 'what runs the network', choices=BACKENDS)
    device: str = setting('auto', 'where the network runs', choices=DEVICES)
    mode: str = setting('stereo', 'rectified stereo pair, or one moving camera', choices=MODES)
    rectify: bool = setting(False, 'false: the images are rectified; true: rectify them with '
                                   'their camera_info')
    depth_enabled: bool = setting(
        True, 'publish depth, disparity and points', name='depth.enabled')
    lidar_guidance: bool = setting(
        True, 'make depth of one camera from the cloud on points_in and the network; false: the '
        'cloud only judges it', name='depth.lidar_guidance')
    unscaled_depth: bool = setting(
        False, 'with one camera and no cloud, publish depth and odometry of a model that cannot '
        'know their scale: all lengths may be wrong by one common factor', name='depth.unscaled')
    flow_enabled: bool = setting(True, 'publish the optical flow', name='flow.enabled')
    odometry_enabled: bool = setting(
        True, 'estimate and publish the motion of the base', name='odometry.enabled')
    autostart: bool = setting(True, 'configure and activate without a lifecycle manager')
    image_transport: str = setting(
        'raw', 'raw: Image on the image topics; compressed: CompressedImage on '
        '<image topic>/compressed', choices=TRANSPORTS)
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
    max_rate: float = setting(
        0.0, 'answer at most so many sets a second, drop the others [Hz]; 0.0: no limit', low=0.0,
        high=1000.0, dynamic=True)
    inference_mode: str = setting(
        'single', 'single: the whole image at once; tiled: overlapping windows of the size that '
        'the model was trained with, which is slower and more accurate on large images',
        choices=INFERENCE_MODES, name='inference.mode')
    inference_width: int = setting(
        0, 'larger images shrink to this width [px] for the network; 0: to the size of the model, '
        'or if tiled not at all', low=0, high=8192, name='inference.width')
    inference_height: int = setting(
        0, 'height [px] that goes with inference.width', low=0, high=8192,
        name='inference.height')
    tile_overlap: float = setting(
        0.0, 'least share of a tile that its neighbour sees too; 0.0: as the model says', low=0.0,
        high=0.99, name='inference.tile_overlap')
    tile_batch: int = setting(
        4, 'tiles that go through the network at once; each takes memory', low=1, high=256,
        name='inference.tile_batch')
    sharpen: str = setting(
        'auto', 'match disparity and flow once more in the full images, near what the network '
        'says of smaller ones; on the CPU; auto: as the model says', choices=SHARPEN,
        name='inference.sharpen')
    num_threads: int = setting(
        0, 'CPU threads of the network; 0: as the backend chooses', low=0, high=256)
    engine_precision: str = setting(
        'auto', "precision of the network's products; auto: as the backend chooses",
        choices=PRECISIONS, name='engine.precision')
    engine_cache_dir: str = setting(
        '', 'folder of exported graphs, engines and the choice of backend: auto; empty: '
        '~/.cache/crossview_ros', name='engine.cache_dir')
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
    flow_units: str = setting(
        'pixel', 'pixel: displacement between two frames; pixel_per_second: divided by the time '
        'between them', choices=FLOW_UNITS)
    flow_refine: bool = setting(
        True, 'where depth and the motion of the camera explain the flow within its doubt, '
        'publish what they say; needs odometry.enabled', name='flow.refine')
    odom_frame: str = setting('odom', 'frame in which the odometry gives the pose')
    calibration_error: float = setting(
        0.007, 'share by which focal length and baseline may be wrong; in the covariance of the '
        'odometry', low=0.0, high=0.2, name='odometry.calibration_error')
    base_frame: str = setting('base_link', 'frame whose pose and velocity the odometry gives')
    publish_tf: bool = setting(True, 'publish the transform odom -> base with the odometry')
    lost_policy: str = setting(
        'silent', 'when tracking is lost; silent: publish nothing; inflate: the last pose with '
        'variances of 9999; null: a zero quaternion and variances of 9999', choices=LOST_POLICIES)
    base_camera: tuple[float, ...] = setting(
        NO_POSE, 'pose of the (left) optical frame in the base frame: x y z [m] qx qy qz qw; '
        'zeros: look it up in TF', name='extrinsics.base_camera')
    camera_lidar: tuple[float, ...] = setting(
        NO_POSE, 'pose of the LiDAR in the (left) optical frame: x y z [m] qx qy qz qw; zeros: '
        'look it up in TF', name='extrinsics.camera_lidar')
    lidar_stamp_reference: str = setting(
        'middle', 'moment of the scan that the stamp of a cloud tells', choices=STAMP_REFERENCES)
    lidar_max_delay: float = setting(
        0.1, 'largest time between an image and the cloud that depth is compared with or made '
        'from [s]',
        low=0.0, high=10.0, dynamic=True)
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
            object.__setattr__(self, item.name, checked(item, getattr(self, item.name)))
        if self.min_depth >= self.max_depth:
            raise ConfigError(f'min_depth must be less than max_depth, got {self.min_depth:g} and '
                              f'{self.max_depth:g} m')
        if bool(self.inference_width) != bool(self.inference_height):
            raise ConfigError('inference.width and inference.height go together, got '
                              f'{self.inference_width} and {self.inference_height}')
        self._check_frames()
        self._check_tasks()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that are switched on."""
        return tuple(task for task in TASKS if getattr(self, f'{task}_enabled'))

    @property
    def inference_size_hw(self) -> tuple[int, int] | None:
        """Largest size that the images keep, (height, width) [px]; None: as the mode says."""
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
        values = {ros_name(item): getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in values.items()}

    def _check_frames(self) -> None:
        if not self.odom_frame or not self.base_frame or self.odom_frame == self.base_frame:
            raise ConfigError('odom_frame and base_frame must be two different names, got '
                              f"'{self.odom_frame}' and '{self.base_frame}'")
        for name in ('base_camera', 'camera_lidar'):
            pose = getattr(self, name)
            length = sum(number ** 2 for number in pose[3:]) ** 0.5
            if pose != NO_POSE and abs(length - 1) > 0.01:
                raise ConfigError(f'extrinsics.{name}: the quaternion (the last 4 of x y z qx qy '
                                  f'qz qw) must have length 1, got {length:g}')

    def _check_tasks(self) -> None:
        if not self.tasks:
            raise ConfigError('nothing to do: set one of '
                              f'{", ".join(f"{task}.enabled" for task in TASKS)} to true')


def defaults_of(task: str | None) -> PerceptionNodeParameters:
    """
    Return the settings of a node where nothing is set.

    :param task: The only task that is on; None: all are.
    """
    if task is None:
        return PerceptionNodeParameters()
    return PerceptionNodeParameters(**{f'{name}_enabled': name == task for name in TASKS})
