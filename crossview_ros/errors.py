# SPDX-License-Identifier: Apache-2.0
"""Exceptions of the package: each says what was expected, what came, and what to do."""


class CrossviewError(Exception):
    """Base of every error that a user's input can cause; the CLI prints it in one line."""


class ConfigError(CrossviewError):
    """A setting, YAML file or command line value is not usable."""


class CalibrationError(CrossviewError):
    """Camera intrinsics, a stereo baseline or extrinsics are missing or impossible."""


class MessageError(CrossviewError):
    """A ROS message or a bag cannot be read as what it claims to be."""


class CheckpointError(CrossviewError):
    """A model folder or weight file is missing, damaged or of another architecture."""


class DatasetError(CrossviewError):
    """A dataset file is missing or damaged."""


class BackendError(CrossviewError):
    """An inference backend cannot be opened or does not fit the model."""
