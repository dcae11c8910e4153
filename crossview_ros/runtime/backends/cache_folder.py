# SPDX-License-Identifier: Apache-2.0
"""Files that can be made again: written whole or not at all, in a folder of the user's own."""
from collections.abc import Callable
import hashlib
import json
import os
from pathlib import Path
import tempfile
from typing import Any

from crossview_ros.errors import BackendError


def key_of(facts: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits that change with any of the facts, which are plain values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """
    Write a file that appears under its name only once it is complete.

    Folders that are missing are made for the user alone (0700).

    :param write: Writes to the path that it is given.
    :raises BackendError: If the folder or the disk does not take it.
    """
    try:
        make_folder(path.parent)
        handle, name = tempfile.mkstemp(prefix=f'.{path.name}.', dir=path.parent)
        os.close(handle)
        try:
            write(Path(name))
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BackendError(f'{path}: cannot be written: {error.strerror or error}; make room, or '
                           'choose another folder by engine.cache_dir') from error


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, readable by the user only."""
    for path in reversed([folder, *folder.parents]):
        if not path.is_dir():
            path.mkdir(mode=0o700, exist_ok=True)
