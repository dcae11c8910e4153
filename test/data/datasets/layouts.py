# SPDX-License-Identifier: Apache-2.0
"""Fixture writers: name of a data set -> function (root) -> Layout."""
from layouts_matching import FLOW_LAYOUTS, STEREO_LAYOUTS
from layouts_sensing import SENSING_LAYOUTS

LAYOUTS = {**STEREO_LAYOUTS, **FLOW_LAYOUTS, **SENSING_LAYOUTS}
