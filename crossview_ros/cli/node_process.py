# SPDX-License-Identifier: Apache-2.0
"""Run a node as a subprocess that never outlives its parent's use of it."""
from collections.abc import Sequence
import os
from pathlib import Path
import signal
import subprocess

from crossview_ros.errors import CrossviewError


class NodeProcess:
    """
    A process with its output in a log file; a context manager that always ends it.

    Ending means SIGINT as from Ctrl-C, then SIGTERM, then SIGKILL, each with a time limit.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        """
        Remember what to start.

        :param command: Program and arguments.
        :param log: File for its output; replaced.
        :param environment: Variables to set beside the inherited ones.
        """
        self.command = list(command)
        self.log = Path(log)
        self.environment = {**os.environ, **environment}
        self.exit_code: int | None = None    # set once it has ended; negative: signal number
        self.ended_by: str | None = None     # 'itself', 'SIGINT', 'SIGTERM' or 'SIGKILL'
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> 'NodeProcess':
        """Start the process in a session of its own: Ctrl-C in the terminal is ours to pass on."""
        with self.log.open('wb') as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=self.environment, start_new_session=True)
        return self

    def __exit__(self, *_: object) -> None:
        """End it if it still runs."""
        self.stop()

    def check(self) -> None:
        """
        Make sure that it still runs.

        :raises CrossviewError: If it has ended; the error holds the last lines of its log.
        """
        code = self._process.poll()
        if code is not None:
            self._ended('itself', code)
            raise CrossviewError(f'the node ended with exit code {code}; its last words '
                                 f'({self.log}): {self.last_words()}')

    def stop(self, interrupt_s: float = 15.0, terminate_s: float = 5.0) -> int:
        """
        End it and return its exit code; harmless where it has ended already.

        :param interrupt_s: How long it may take after SIGINT [s].
        :param terminate_s: How long it may take after SIGTERM [s].
        """
        if self.exit_code is not None:
            return self.exit_code
        if self._process.poll() is not None:
            return self._ended('itself', self._process.returncode)
        try:
            for name, limit_s in (('SIGINT', interrupt_s), ('SIGTERM', terminate_s)):
                self._process.send_signal(getattr(signal, name))
                try:
                    return self._ended(name, self._process.wait(limit_s))
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if self.exit_code is None:   # also when a second Ctrl-C cuts the waiting short
                self._process.kill()
                self._ended('SIGKILL', self._process.wait())
        return self.exit_code

    def last_words(self, num_lines: int = 5) -> str:
        """Return the end of the log in one line."""
        lines = self.log.read_text(encoding='utf-8', errors='replace').splitlines()
        return ' / '.join(line.strip() for line in lines[-num_lines:]) or 'none'

    def _ended(self, how: str, code: int) -> int:
        self.ended_by, self.exit_code = how, code
        return code
