# SPDX-License-Identifier: Apache-2.0
"""Errors of depth, disparity, flow and poses against the truth; every figure has a unit."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One figure; NaN where the truth does not define it."""

    value: float
    unit: str   # 'm', 'px', 'deg', '%'; '-' for a share from 0 to 1 or a ratio
