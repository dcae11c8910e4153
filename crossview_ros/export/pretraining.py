# SPDX-License-Identifier: Apache-2.0
"""What is left of a pre-training with points when its points are gone."""
from typing import Any

from crossview_ros.errors import CheckpointError
from crossview_ros.networks.joint import JointConfig
from crossview_ros.networks.simipu import SimIPUConfig
from torch import Tensor

PREFIX = 'completion.'   # of the CroCo model in `Joint`


def without_points(architecture: Any, weights: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    """
    Return the CroCo model of a joint run; architectures of other tasks stay as they are.

    :raises CheckpointError: If there is only an encoder.
    """
    if isinstance(architecture, JointConfig):
        return architecture.croco, {name.removeprefix(PREFIX): value
                                    for name, value in weights.items() if name.startswith(PREFIX)}
    if isinstance(architecture, SimIPUConfig):
        raise CheckpointError('a run of task simipu is an encoder without a task: train one on it '
                              "with model.start_from, or export a ResNet's with --format "
                              'simipu-backbone')
    return architecture, weights
