# SPDX-License-Identifier: Apache-2.0
"""
Turn bags into shards of pairs: resumable, deterministic, in memory that does not grow.

What a killed run needs is in state.json, written whenever a shard is closed: how far it came, and
which frames were in the window. A run that goes on reads up to there without decoding any other
image, so that it ends with the same files.
"""
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
import json
from pathlib import Path
from typing import Any

from crossview_ros.data.pair_shards import INDEX, ShardWriter, write_index, write_json
from crossview_ros.errors import CalibrationError, DatasetError, MessageError
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.inputs import InputReader
from crossview_ros.replay.pair_mining import CLOUD, IMAGE, PairMiner, Record
from crossview_ros.replay.pair_options import PairOptions
from crossview_ros.replay.pairing import frames_of, pairer_of
from crossview_ros.replay.scene import SceneReader
from crossview_ros.replay.static_transforms import StaticTransforms
from crossview_ros.replay.topics import (
    cameras_of, find_input_topics, InputTopics, stereo_pairs)

STATE = 'state.json'
Progress = Callable[[int, int], None]   # (frames done, frames in all)


@dataclass(frozen=True)
class Rig:
    """A stereo pair or one camera of a bag; its frames are read in one pass."""

    path: Path
    name: str   # of bag and camera, as tables show it
    topics: InputTopics


@dataclass
class PairState:
    """How far a run came, as state.json keeps it."""

    request: dict[str, Any]          # bags and options
    rig: int = 0                     # number of the rig that is being read
    frame: int = 0                   # its first frame that is not done
    window: list[int] = field(default_factory=list)   # numbers of the frames in the window
    shards: int = 0                  # finished
    records: int = 0                 # pairs in them
    dropped: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    done: bool = False


def mine_pairs(bags: Sequence[Path], folder: Path, options: PairOptions,
               progress: Progress | None = None) -> PairState:
    """
    Write the pairs of bags into a folder, going on where an earlier run of it stopped.

    A damaged bag gives what could be read of it and a note.

    :param folder: Made if missing; holds shards, state.json and, at the end, index.json.
    :raises MessageError: If a bag is missing, or none has a camera.
    :raises DatasetError: If the folder holds something else, or no pair was found.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = _open_state(folder, _request(bags, options))
    if not state.done:
        rigs, notes = _rigs(bags, options)
        if not rigs:
            raise MessageError('; '.join(notes))
        state.notes = [*notes, *(note for note in state.notes if note not in notes)]
        run = _Run(folder, options, state, rigs, progress)
        for number in range(state.rig, len(rigs)):
            run.read(number)
        run.finish()
    if not state.records:
        raise DatasetError(f'no pair was selected; {_reasons(state)}')
    return state


class _Run:
    """Reads rigs one after the other into the same shards."""

    def __init__(self, folder: Path, options: PairOptions, state: PairState, rigs: list[Rig],
                 progress: Progress | None) -> None:
        self.folder, self.options, self.state, self.rigs = folder, options, state, rigs
        self.progress = progress
        self.writer = ShardWriter(folder, state.shards)
        self.records = state.records
        self._total = sum(rig.topics.left.count for rig in rigs)

    @property
    def full(self) -> bool:
        """Tell whether as many pairs as wished are there."""
        return self.options.max_pairs is not None and self.records >= self.options.max_pairs

    def read(self, number: int) -> None:
        """Read a rig; a bag that breaks off keeps what came before."""
        rig = self.rigs[number]
        if number != self.state.rig:
            self.state.rig, self.state.frame, self.state.window = number, 0, []
        if self.full:
            return
        with ExitStack() as stack:
            try:
                self._read(stack, rig)
            except MessageError as error:
                self._note(f'{rig.name}: {error}; what was read before is kept')
            except CalibrationError as error:
                self._note(f'{rig.name}: {error}')

    def finish(self) -> None:
        """Close the last shards and write the index."""
        self._close_shard()
        write_index(self.folder)
        self.state.done = True
        write_json(self.folder / STATE, asdict(self.state))

    def _read(self, stack: ExitStack, rig: Rig) -> None:
        options = self.options
        if not options.rectify and any(camera.distorted for camera in rig.topics.cameras):
            self._note(f'{rig.name} is not rectified: its camera_info has lens distortion, so '
                       'overlap and points are only near; set rectify')
        bag = stack.enter_context(Bag(rig.path))
        transforms = StaticTransforms.of_bag(bag)
        scenes = stack.enter_context(SceneReader(bag, rig.topics, transforms,
                                                 options.max_cloud_offset_s, options.rectify))
        reader = InputReader(rig.topics, transforms, options.rectify)
        miner = PairMiner(rig.topics, reader, scenes, options)
        miner.dropped = self.state.dropped.setdefault(rig.name, {})
        pairer = pairer_of(rig.topics, round(options.slop_s * 1e9))
        for frame in frames_of(bag, rig.topics, pairer):
            self._take(miner, frame)
            for note in (*reader.notes, *scenes.notes):
                self._note(f'{rig.name}: {note}')
            if self.full:
                return
            if self.writer.size_bytes >= self.options.shard_mb * 1e6:
                self._checkpoint(frame.index + 1, miner)
        _count(miner.dropped, IMAGE, 'without a partner', pairer.counts.unmatched)
        _count(miner.dropped, IMAGE, 'out of order', pairer.counts.backward)

    def _take(self, miner: PairMiner, frame: Any) -> None:
        if frame.restart:
            miner.restart()
        if frame.index >= self.state.frame:
            for record in miner.add(frame):
                if not self.full:
                    self._write(record)
        elif frame.index in self.state.window:
            miner.recall(frame)
        if self.progress is not None:
            before = sum(rig.topics.left.count for rig in self.rigs[:self.state.rig])
            self.progress(before + frame.index + 1, self._total)

    def _write(self, record: Record) -> None:
        kind = 'clouds' if record.kind == CLOUD else 'pairs'
        info = {'bag': self.rigs[self.state.rig].name, **record.info}
        self.writer.add(kind, f'{self.records:08d}',
                        {**record.members, 'json': json.dumps(info, allow_nan=False).encode()})
        self.records += 1

    def _checkpoint(self, next_frame: int, miner: PairMiner) -> None:
        self.state.frame = next_frame
        self.state.window = [view.index for view in miner.window]
        self._close_shard()

    def _close_shard(self) -> None:
        self.writer.close()
        self.state.shards += 1
        self.state.records = self.records
        write_json(self.folder / STATE, asdict(self.state))
        self.writer = ShardWriter(self.folder, self.state.shards)

    def _note(self, text: str) -> None:
        if text not in self.state.notes:
            self.state.notes.append(text)


def _request(bags: Sequence[Path], options: PairOptions) -> dict[str, Any]:
    for bag in bags:
        if not bag.exists():
            raise MessageError(f'{bag}: no such bag; expected a bag folder or an .mcap file')
    return {'bags': [[str(bag.resolve()), _size(bag)] for bag in bags],
            'options': options.as_dict()}


def _size(bag: Path) -> int:
    files = [bag] if bag.is_file() else [path for path in bag.iterdir() if path.is_file()]
    return sum(path.stat().st_size for path in files)


def _open_state(folder: Path, request: dict[str, Any]) -> PairState:
    """Read the state of an earlier run and remove what it had not finished."""
    path = folder / STATE
    if not path.exists():
        if any(entry.name != f'{STATE}.part' for entry in folder.iterdir()):
            raise DatasetError(f'{folder} is not empty and no `crossview pairs` began it; choose '
                               'another folder')
        state = PairState(request)
        write_json(path, asdict(state))
        return state
    try:
        state = PairState(**json.loads(path.read_text(encoding='utf-8')))
    except (ValueError, TypeError) as error:
        raise DatasetError(f'{path}: is damaged: {error}; remove {folder}') from error
    if state.request != request:
        raise DatasetError(f'{folder} was begun with other bags or options; choose another folder '
                           'or remove it')
    for entry in [] if state.done else [*folder.glob('*.part'), folder / INDEX]:
        entry.unlink(missing_ok=True)
    return state


def _rigs(bags: Sequence[Path], options: PairOptions) -> tuple[list[Rig], list[str]]:
    """Return what can be read of the bags, and why the others cannot."""
    rigs, notes = [], []
    names = [bag.resolve().name for bag in bags]
    for path, name in zip(bags, names):
        try:
            with Bag(path) as bag:
                found = list(_topics_of(bag, options))
        except MessageError as error:
            notes.append(str(error))
            continue
        label = name if names.count(name) == 1 else str(path)
        rigs += [Rig(path, f'{label} {topics.left.image}', topics) for topics in found]
    return rigs, notes


def _topics_of(bag: Bag, options: PairOptions) -> Iterator[InputTopics]:
    """Yield the chosen cameras, or the stereo pair, or every camera on its own."""
    topics = find_input_topics(bag, options.left, options.right, options.cloud)
    if options.left is not None or stereo_pairs(bag):
        yield topics
        return
    for camera in cameras_of(bag):
        yield InputTopics(camera, None, topics.cloud)


def _count(dropped: dict[str, dict[str, int]], kind: str, reason: str, number: int) -> None:
    if number:
        dropped.setdefault(kind, {})[reason] = number


def _reasons(state: PairState) -> str:
    counts = [f'{rig}: {number} {kind} {reason}' for rig, kinds in state.dropped.items()
              for kind, reasons in kinds.items() for reason, number in reasons.items()]
    return '; '.join([*counts, *state.notes]) or 'the bags hold no frame'
