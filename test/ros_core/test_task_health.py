# SPDX-License-Identifier: Apache-2.0
"""Findings about single tasks."""
from types import SimpleNamespace

from crossview_ros.ros.health import ERROR, OK, WARN
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.task_health import (
    lidar_health, LidarFacts, missing_task_health, missing_tasks, tracking_health, TrackingFacts)
import pytest

SETTINGS = PerceptionNodeParameters()
AGREEMENT = SimpleNamespace(coverage=0.9, bias_m=-0.1, abs_rel=0.05, num_points=50)


@pytest.mark.parametrize('settings, engine_tasks, expected', [
    ({}, ('stereo', 'flow', 'odometry'), {}),
    ({}, ('stereo',), {'flow': WARN, 'odometry': WARN}),
    ({'flow.enabled': False}, ('stereo', 'odometry'), {}),
    ({'mode': 'sequential'}, ('depth', 'flow', 'odometry'), {}),
    ({'mode': 'sequential'}, ('flow',), {'depth': WARN, 'odometry': WARN}),
])
def test_a_task_that_does_not_run_is_told_where_it_was_asked_for(settings, engine_tasks,
                                                                 expected):
    missing = missing_tasks(SETTINGS.changed(settings), engine_tasks)
    assert {task: missing_task_health(task, reason).level
            for task, reason in missing.items()} == expected


def test_a_model_without_a_depth_head_says_so_with_one_camera():
    settings = SETTINGS.changed({'mode': 'sequential'})
    no_head = "the model 'crossview_tiny' has no depth head for one camera"
    assert missing_tasks(settings, ('flow',)) == {'depth': no_head, 'odometry': no_head}
    assert missing_tasks(settings, ('depth',)) == dict.fromkeys(
        ('flow', 'odometry'), "the model 'crossview_tiny' cannot do it")


@pytest.mark.parametrize('facts, level, text', [
    (TrackingFacts('initialising'), OK, 'initialising'),
    (TrackingFacts('ok', num_inliers=70, counts={'ok': 3}), OK, 'ok'),
    (TrackingFacts('ok', num_gaps=2), OK, 'ok'),
    (TrackingFacts('lost', 'too few inliers'), ERROR, 'lost: too few inliers'),
    (TrackingFacts('lost'), ERROR, 'lost'),
    (TrackingFacts('ok', missing='no transform'), ERROR, 'no transform'),
])
def test_tracking_is_judged(facts, level, text):
    health = tracking_health(facts)
    assert (health.task, health.level, health.message) == ('tracking', level, text)
    assert health.values.get('Frames ok') == ('3' if facts.counts else None)
    assert health.values['Gaps guessed across'] == str(facts.num_gaps)


@pytest.mark.parametrize('facts, level, text', [
    (LidarFacts(), OK, 'no comparison yet'),
    (LidarFacts(AGREEMENT, 0.01, num_compared=2), OK, 'abs_rel 0.050 over 50 points'),
    (LidarFacts(AGREEMENT, 0.01, 'no cloud near'), WARN, 'no cloud near'),
])
def test_depth_against_lidar_is_reported(facts, level, text):
    health = lidar_health(facts)
    assert (health.task, health.level, health.message) == ('lidar', level, text)
    assert ('Coverage' in health.values) == (facts.agreement is not None)
