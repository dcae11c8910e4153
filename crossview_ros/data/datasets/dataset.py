# SPDX-License-Identifier: Apache-2.0
"""A data set on disk as a sequence of samples, and how its folders are searched."""
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
import re
from typing import Any, Generic, TypeVar

from crossview_ros.errors import CrossviewError, DatasetError

Entry = TypeVar('Entry')
Sample = TypeVar('Sample')


class FileDataset(Generic[Entry, Sample]):
    """
    Reads sample i when it is asked for; keeps the entries and which of them were damaged.

    Safe to use from several processes; each then counts the damage that it met.
    """

    def __init__(self, root: Path, entries: Sequence[Entry], read: Callable[[Entry], Sample],
                 cure: str, skip_damaged: bool = False) -> None:
        """
        Keep where the samples are.

        :param root: Folder of the data set, for messages.
        :param entries: What `read` turns into a sample: paths, usually.
        :param cure: What to do if files are missing; ends each error.
        :param skip_damaged: Replace a sample that cannot be read by the next one that can, and
            count it in `skipped`.
        :raises DatasetError: If there are no entries.
        """
        if not entries:
            raise DatasetError(f'{root}: no sample of the data set found in it; {cure}')
        self.root = root
        self.entries = list(entries)
        self.skipped: dict[int, str] = {}   # index -> why it could not be read
        self._read = read
        self._cure = cure
        self._skip_damaged = skip_damaged

    def __len__(self) -> int:
        """Return the number of entries, damaged ones included."""
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        """
        Read a sample.

        :raises DatasetError: If a file is missing or damaged; with `skip_damaged`, only if all
            are.
        """
        index = range(len(self))[index]   # negative ones count from the end; IndexError
        if not self._skip_damaged:
            return self._sample(index)
        for candidate in (*range(index, len(self)), *range(index)):
            sample = self._sample_or_none(candidate)
            if sample is not None:
                return sample
        raise DatasetError(f'{self.root}: none of {len(self)} samples can be read; the first: '
                           f'{self.skipped[0]}')

    def __iter__(self) -> Iterator[Sample]:
        """Yield each sample once, without the damaged ones if they may be skipped."""
        for index in range(len(self)):
            sample = self._sample_or_none(index) if self._skip_damaged else self._sample(index)
            if sample is not None:
                yield sample

    def _sample_or_none(self, index: int) -> Sample | None:
        if index in self.skipped:
            return None
        try:
            return self._sample(index)
        except DatasetError as error:
            self.skipped[index] = str(error)
            return None

    def _sample(self, index: int) -> Sample:
        try:
            return self._read(self.entries[index])
        except CrossviewError as error:
            raise DatasetError(f'{error}. {self._cure}; or set skip_damaged to go on without it') \
                from error


def chosen(what: str, name: str, known: dict[str, Any]) -> Any:
    """
    Return what a name stands for.

    :param what: 'split' or the like, for the message.
    :raises DatasetError: If the name is not among the known ones.
    """
    if name not in known:
        raise DatasetError(f"no {what} '{name}'; known: {', '.join(known)}")
    return known[name]


def existing_folder(path: str | Path, cure: str) -> Path:
    """
    Return the folder if it is there.

    :raises DatasetError: If it is not.
    """
    if not Path(path).is_dir():
        raise DatasetError(f'{path}: no such folder; {cure}')
    return Path(path)


def folders_in(path: Path, cure: str) -> list[Path]:
    """
    Return the folders inside of one, by name.

    :raises DatasetError: If the outer one is missing.
    """
    return sorted(child for child in existing_folder(path, cure).iterdir() if child.is_dir())


def without_gaps(files: Iterable[Path], first: int | None = None) -> list[Path]:
    """
    Return the files of a numbered series, lost ones included, so that neighbours are in time.

    :param files: Of one folder; the stem of each holds one number of fixed width.
    :param first: Number of the series' first file; None: the lowest one there is.
    """
    numbers = {int(found[0]): (path, found) for path in files
               if (found := re.search(r'\d+', path.stem))}
    if not numbers:
        return []
    path, found = next(iter(numbers.values()))
    before, after = path.name[:found.start()], path.name[found.end():]
    start = min(numbers) if first is None else first
    return [path.with_name(f'{before}{number:0{len(found[0])}}{after}')
            for number in range(start, max(numbers) + 1)]


def in_validation(names: set[str] | frozenset[str]) -> dict[str, Callable[[str], bool]]:
    """Return what CroCo's splits keep, for data whose validation part is known by name."""
    return {'train': lambda name: True, 'subtrain': lambda name: name not in names,
            'subval': lambda name: name in names}
