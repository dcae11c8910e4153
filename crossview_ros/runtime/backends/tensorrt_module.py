# SPDX-License-Identifier: Apache-2.0
"""
The one place where TensorRT comes in: 10.x, 11.x, or TensorRT-RTX, which have one API.

What differs is asked for by attribute where it is used, never by version number.
"""
from collections import deque
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from crossview_ros.errors import BackendError

INSTALL = {   # backend, which is also the module -> what brings it
    'tensorrt': 'pip install tensorrt cuda-bindings (x86-64, or Arm servers); on a Jetson '
                'TensorRT comes with JetPack: sudo apt install python3-libnvinfer',
    'tensorrt_rtx': "pip install 'crossview_ros[rtx]' (x86-64)",
}
OLDEST = 10   # major version of TensorRT; strongly typed networks and tensors by name
NUM_MESSAGES = 50


def load_tensorrt(name: str) -> Any:
    """
    Import 'tensorrt' or 'tensorrt_rtx'.

    :raises BackendError: If it is not installed, cannot be loaded, or is too old.
    """
    try:
        trt = import_module(name)
        if not hasattr(trt, 'Builder'):   # a folder of that name, such as one of type stubs
            raise ImportError(f'{name} is not installed')
    except (ImportError, OSError) as error:   # OSError: a shared library that is missing
        raise BackendError(f"backend '{name}' cannot be opened: {error}. It needs "
                           f'{INSTALL[name]}.') from error
    if name == 'tensorrt' and int(trt.__version__.split('.')[0]) < OLDEST:
        raise BackendError(f"backend 'tensorrt' needs TensorRT {OLDEST} or newer, this is "
                           f'{trt.__version__}')
    return trt


@cache
def messages_of(trt: Any) -> Any:
    """
    Return the logger of a module; its ``errors`` are the last lines of that kind.

    TensorRT keeps the first logger that it is given for the whole process.
    """
    class Messages(trt.ILogger):
        """Keeps warnings and errors."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: deque[str] = deque(maxlen=NUM_MESSAGES)

        def log(self, severity: Any, msg: str) -> None:
            """Take a line; called from threads of TensorRT."""
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(msg)

    return Messages()


def progress_monitor(trt: Any, tell: Callable[[int], None]) -> Any:
    """
    Return a monitor of a build that tells the percentage as it rises.

    What ``tell`` raises cancels the build and is kept in ``error``.
    """
    class Monitor(trt.IProgressMonitor):
        """Adds up nested phases."""

        def __init__(self) -> None:
            super().__init__()
            self.error: BaseException | None = None
            self._phases: dict[str, list[Any]] = {}   # name -> [parent, number of steps, done]
            self._told = -1

        def phase_start(self, phase_name: str, parent_phase: str | None,
                        num_steps: int) -> None:
            self._phases[phase_name] = [parent_phase, max(num_steps, 1), 0]

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._phases[phase_name][2] = step + 1
            self._tell()
            return self.error is None   # False cancels

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

        def _tell(self) -> None:
            percent = int(100 * min(self._done(None), 1.0))
            if percent <= self._told:
                return
            self._told = percent
            try:
                tell(percent)
            except BaseException as error:   # must not pass through native code
                self.error = error

        def _done(self, parent: str | None) -> float:
            """Return the share of the phases below one that is done."""
            below = [(name, num_steps, done) for name, (above, num_steps, done)
                     in self._phases.items() if above == parent]
            return max(((done + min(self._done(name), 1.0) * (done < num_steps)) / num_steps
                        for name, num_steps, done in below), default=0.0)

    return Monitor()
