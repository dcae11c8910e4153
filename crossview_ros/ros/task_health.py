# SPDX-License-Identifier: Apache-2.0
"""Judge what single tasks say: tracking, depth against LiDAR, tasks that cannot run."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crossview_ros.ros.health import ERROR, Health, OK, texts, WARN
from crossview_ros.ros.node_parameters import PerceptionNodeParameters

# mode -> task of the node -> what the engine calls that which it needs
ENGINE_TASKS = {
    'stereo': {'depth': ('stereo',), 'flow': ('flow',), 'odometry': ('odometry',)},
    'sequential': {'depth': ('depth',), 'flow': ('flow',), 'odometry': ('odometry', 'depth')}}


@dataclass(frozen=True)
class TrackingFacts:
    """What is known about the odometry."""

    status: str                      # of the newest frame, a value of TrackingStatus
    reason: str = ''                 # why it is lost
    missing: str = ''                # what the pose of the base lacks
    num_inliers: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)   # frames by status
    num_gaps: int = 0                # times that the path was guessed across frames unseen


@dataclass(frozen=True)
class LidarFacts:
    """What is known about depth against the LiDAR."""

    agreement: Any = None              # LidarAgreement of the newest comparison
    delta_s: float | None = None       # stamp of its cloud minus that of its image
    problem: str = ''                  # why the newest image has no comparison
    num_compared: int = 0
    num_unmatched: int = 0             # images without a cloud near enough
    num_damaged: int = 0               # clouds that cannot be read
    num_guided: int = 0                # images whose depth was made from a cloud


def missing_tasks(settings: PerceptionNodeParameters, engine_tasks: Any) -> dict[str, str]:
    """Return {task: why it does not run} of the tasks that are switched on."""
    reasons = {}
    from_lidar = {'depth'} if depth_needs_cloud(settings, engine_tasks) else set()
    for task in settings.tasks:
        missing = set(ENGINE_TASKS[settings.mode][task]) - set(engine_tasks) - from_lidar
        if 'depth' in missing:
            reasons[task] = f"the model '{settings.model}' has no depth head for one camera"
        elif missing:
            reasons[task] = f"the model '{settings.model}' cannot do it"
    return reasons


def depth_needs_cloud(settings: PerceptionNodeParameters, engine_tasks: Any,
                      metric: bool = True) -> bool:
    """
    Tell whether depth of one camera waits for a LiDAR.

    :param metric: The model's depth of one view can be in true metres.
    """
    if settings.mode != 'sequential':
        return False
    if 'depth' in engine_tasks:
        return not (metric or settings.unscaled_depth)
    return settings.lidar_guidance and 'stereo' in engine_tasks


def missing_task_health(task: str, reason: str) -> Health:
    """Report a task that does not run."""
    return Health(task, WARN, reason)


def tracking_health(facts: TrackingFacts) -> Health:
    """Judge the odometry."""
    values = {'Status': facts.status, **{f'Frames {status}': count
                                         for status, count in sorted(facts.counts.items())},
              'Gaps guessed across': facts.num_gaps}
    if facts.num_inliers is not None:
        values['Inliers'] = facts.num_inliers
    if facts.missing:
        return Health('tracking', ERROR, facts.missing, texts(values))
    if facts.status == 'lost':
        return Health('tracking', ERROR, f'lost: {facts.reason}'.rstrip(': '), texts(values))
    return Health('tracking', OK, facts.status, texts(values))


def lidar_health(facts: LidarFacts) -> Health:
    """Report how depth and LiDAR agree."""
    values: dict[str, Any] = {
        'Images compared': facts.num_compared, 'Images without a cloud': facts.num_unmatched,
        'Clouds that cannot be read': facts.num_damaged,
        'Images guided by a cloud': facts.num_guided}
    found = facts.agreement
    if found is not None:
        values |= {'Coverage': f'{found.coverage:.4f}', 'Bias (m)': f'{found.bias_m:.4f}',
                   'abs_rel': f'{found.abs_rel:.4f}', 'Points in the image': found.num_points}
    if facts.delta_s is not None:
        values['Cloud after image (s)'] = f'{facts.delta_s:.4f}'
    if facts.problem:
        return Health('lidar', WARN, facts.problem, texts(values))
    if facts.num_guided:
        return Health('lidar', OK, f'{facts.num_guided} images guided', texts(values))
    if found is None:
        return Health('lidar', OK, 'no comparison yet', texts(values))
    return Health('lidar', OK, f'abs_rel {found.abs_rel:.3f} over {found.num_points} points',
                  texts(values))
