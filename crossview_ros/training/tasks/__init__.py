# SPDX-License-Identifier: Apache-2.0
"""Training tasks by name."""
from crossview_ros.training.tasks.completion import CompletionTask
from crossview_ros.training.tasks.depth import DepthTask
from crossview_ros.training.tasks.matching import MatchingTask
from crossview_ros.training.tasks.pose import PoseTask

TASKS = {   # name -> the task of a run's config
    'croco': CompletionTask,
    'stereo': lambda config: MatchingTask(config, ('stereo',)),
    'flow': lambda config: MatchingTask(config, ('flow',)),
    'multi': lambda config: MatchingTask(config, ('stereo', 'flow')),
    'depth': DepthTask,
    'pose': PoseTask,
}
TASKS_OF_VERB = {'pretrain': ('croco',),
                 'finetune': ('stereo', 'flow', 'depth', 'pose', 'multi')}
