# SPDX-License-Identifier: Apache-2.0
"""Do several runs of an experiment at once, each in a process of its own."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
import math
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
import time

from crossview_ros.errors import CrossviewError
from crossview_ros.experiments.legs import finished, Place, run_legs
from crossview_ros.experiments.plan import Leg
from crossview_ros.signals import handling_stops

Tell = Callable[[str], None]


def run_legs_at_once(legs: list[Leg], place: Place, jobs: int, tell: Tell,
                     minutes: float = math.inf) -> tuple[bool, bool]:
    """
    Do what is not yet done, as `run_legs` does; a run waits for the one that it starts from.

    Small networks leave most of a processor idle between their many small products: two runs of
    one thread each end sooner than one after the other with two. SIGINT and SIGTERM stop all
    runs, each with a checkpoint.

    :param place: Its ``watch`` goes to other processes, so it must be a function of a module, or
        a partial of one; its ``threads`` are those of each run.
    :param jobs: Runs at once.
    :return: Whether all is done, and whether a signal has stopped it.
    :raises CrossviewError: As `run_legs`, or if a process ends by itself; the others are stopped.
    """
    place = replace(place, progress=None)
    end_s = time.monotonic() + 60 * minutes
    waiting = [leg for leg in legs if finished(leg, place.folder) is None]
    numbers = {leg.name: number for number, leg in enumerate(legs, 1)}
    running: list[_Run] = []
    failure: CrossviewError | None = None
    with _stopping(running) as signals:
        while True:
            going_on = failure is None and not signals and time.monotonic() < end_s
            while going_on and len(running) < jobs:
                leg = next((leg for leg in waiting if _can_start(leg, legs, place)), None)
                if leg is None:
                    break
                waiting.remove(leg)
                tell(f'{numbers[leg.name]}/{len(legs)} {leg.name}')
                running.append(_Run.start(leg, place, (end_s - time.monotonic()) / 60))
            if not running:
                break
            wait([run.process.sentinel for run in running])
            for run in [run for run in running if not run.process.is_alive()]:
                running.remove(run)
                error = run.error()
                # a run that a signal meets before its first step just ends
                if error is not None and failure is None and not signals:
                    failure = error
                    for other in running:
                        other.process.terminate()
    if failure is not None:
        raise failure
    complete = all(finished(leg, place.folder) is not None for leg in legs)
    return complete, bool(signals)


@dataclass(frozen=True)
class _Run:
    """A process that does one leg."""

    leg: Leg
    process: BaseProcess
    result: Connection   # None, or the message of an error that is the user's to mend

    @classmethod
    def start(cls, leg: Leg, place: Place, minutes: float) -> '_Run':
        context = get_context('spawn')   # a fork would copy the locks of torch's threads
        result, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(leg, place, minutes, sender))
        process.start()
        sender.close()
        return cls(leg, process, result)

    def error(self) -> CrossviewError | None:
        """Say why an ended process has failed, if it has."""
        self.process.join()
        try:
            message = self.result.recv()
        except EOFError:
            message = f'the process of {self.leg.name} ended with {self.process.exitcode}; ' \
                'the same command goes on from its newest checkpoint'
        return None if message is None else CrossviewError(message)


def _work(leg: Leg, place: Place, minutes: float, sender: Connection) -> None:
    try:
        run_legs([leg], place, lambda text: None, minutes)
        sender.send(None)
    except CrossviewError as error:
        sender.send(f'{leg.name}: {error}')


def _can_start(leg: Leg, legs: list[Leg], place: Place) -> bool:
    start = leg.config.model.start_from
    return start is None or all(finished(other, place.folder) is not None for other in legs
                                if other.name == start)


@contextmanager
def _stopping(running: list[_Run]) -> Iterator[list[int]]:
    """Hand signals on to all runs; give those that came."""
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        came.append(number)
        for run in list(running):
            run.process.terminate()
    with handling_stops(stop):
        yield came
