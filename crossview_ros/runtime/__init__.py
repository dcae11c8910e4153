# SPDX-License-Identifier: Apache-2.0
"""Run models on images: NumPy in, NumPy out; neither torch nor ROS at import."""
