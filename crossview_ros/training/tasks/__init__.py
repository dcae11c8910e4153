# SPDX-License-Identifier: Apache-2.0
"""Training tasks by name."""
from crossview_ros.networks.presets import RESNET_DEPTH_PRESETS
from crossview_ros.training.tasks.completion import CompletionTask
from crossview_ros.training.tasks.dense_depth import DenseDepthTask
from crossview_ros.training.tasks.depth import DepthTask
from crossview_ros.training.tasks.joint import JointTask
from crossview_ros.training.tasks.matching import MatchingTask
from crossview_ros.training.tasks.multi import MultiTask
from crossview_ros.training.tasks.pose import PoseTask
from crossview_ros.training.tasks.simipu import SimIPUTask

TASKS = {   # name -> the task of a run's config
    'croco': CompletionTask,
    'simipu': SimIPUTask,
    'joint': JointTask,
    'stereo': lambda config: MatchingTask(config, ('stereo',)),
    'flow': lambda config: MatchingTask(config, ('flow',)),
    'multi': MultiTask,
    'depth': lambda config: (DenseDepthTask if config.model.preset in RESNET_DEPTH_PRESETS
                             else DepthTask)(config),
    'pose': PoseTask,
}
TASKS_OF_VERB = {'pretrain': ('croco', 'simipu', 'joint'),
                 'finetune': ('stereo', 'flow', 'depth', 'pose', 'multi')}
