# SPDX-License-Identifier: Apache-2.0
"""Read .pth files of others: weights and plain values; nothing that they hold is ever run."""
import argparse
from pathlib import Path
import pickle
from typing import Any
import zipfile

from crossview_ros.errors import CheckpointError
import torch


def read_plain_file(path: Path) -> dict[str, Any]:
    """
    Read a file that ``torch.save`` has written; its tensors may stay pages of the file.

    :raises CheckpointError: If it is missing, damaged, holds no dict, or holds anything but
        tensors, plain values and the options of a training script.
    """
    content = _load(path, _zipped(path))
    if not isinstance(content, dict):
        raise CheckpointError('expected an official checkpoint, of SimIPU or of CroCo with '
                              f"its weights in 'model', got a {type(content).__name__}")
    return content


def _zipped(path: Path) -> bool:
    """Tell the two formats of PyTorch apart, and both from other files."""
    if not path.is_file():
        raise CheckpointError('expected a checkpoint file, but there is '
                              f'{"a folder" if path.is_dir() else "nothing"}; name the .pth file')
    with path.open('rb') as file:
        start = file.read(4)
    zipped = start == b'PK\x03\x04'
    if not zipped and start[:1] != b'\x80':   # the opcode that names a pickle's protocol
        got = f'a file that begins with {start!r}' if start else 'no bytes'
        raise CheckpointError(f'expected a PyTorch checkpoint, got {got}; is this the right file?')
    if zipped and not zipfile.is_zipfile(path):
        raise CheckpointError('expected a PyTorch checkpoint, but its end is missing; fetch it '
                              'again')
    return zipped


def _load(path: Path, zipped: bool) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            # mapped: of the optimizer's state, two thirds of some files, nothing is read
            return torch.load(path, map_location='cpu', weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise CheckpointError('expected weights and plain values, but it holds something else '
                              f'{_foreign(path, zipped)}and was not opened; take a file that you '
                              'trust, with weights only') from error
    except Exception as error:   # bytes of any kind reach the parser: it may fail in any way
        raise CheckpointError('expected a PyTorch checkpoint, but it cannot be read '
                              f'({type(error).__name__}); is it complete? Fetch it again') \
            from error


def _foreign(path: Path, zipped: bool) -> str:
    """Name the classes and functions that a zipped checkpoint would call."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else []
    except Exception:   # as above; the file is refused anyway
        names = []
    foreign = [name for name in names if name != 'argparse.Namespace']
    return f'({", ".join(foreign[:3])}) ' if foreign else ''
