# SPDX-License-Identifier: Apache-2.0
"""A lock that processes of one computer share."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager, ExitStack, suppress
import fcntl
from pathlib import Path


@contextmanager
def locked(path: Path, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """
    Hold the lock of a file, which is made; the kernel frees that of a process that dies.

    Where no lock can be had, as in a folder that cannot be written to, there is none.

    :param waits: Called if another process holds it.
    """
    with ExitStack() as stack:   # closing the file gives the lock back
        with suppress(OSError):
            file = stack.enter_context(path.open('a'))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waits()
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
