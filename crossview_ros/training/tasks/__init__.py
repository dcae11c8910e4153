# SPDX-License-Identifier: Apache-2.0
"""Training tasks by name."""
from crossview_ros.training.tasks.matching import MatchingTask

TASKS = {
    'stereo': lambda: MatchingTask(('stereo',)),
    'flow': lambda: MatchingTask(('flow',)),
    'multi': lambda: MatchingTask(('stereo', 'flow')),
}
