# SPDX-License-Identifier: Apache-2.0
"""
Write and read pairs as WebDataset shards: plain tar files whose members share the sample's id.

``pairs-NNNNNN.tar`` holds ``<id>.target.jpg``, ``<id>.reference.jpg`` and ``<id>.json``;
``clouds-NNNNNN.tar`` holds ``<id>.image.jpg``, ``<id>.points.npy`` and ``<id>.json``. index.json
says where each member lies, so that any sample is read without the ones before it.
"""
from collections.abc import Iterator
from io import BytesIO
import json
import os
from pathlib import Path
import tarfile
from typing import Any

from crossview_ros.data.samples import ImagePointSample, PairSample
from crossview_ros.errors import CrossviewError, DatasetError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.se3 import transform_points
import cv2
import numpy as np

FORMAT = 'crossview-pairs-1'
INDEX = 'index.json'
MEMBERS = {'pairs': ('target.jpg', 'reference.jpg', 'json'),
           'clouds': ('image.jpg', 'points.npy', 'json')}
CAMERA_FIELDS = ('width', 'height', 'fx', 'fy', 'cx', 'cy')
CURE = 'run `crossview pairs` on this folder to its end'


class ShardWriter:
    """
    Writes one numbered shard of each kind; equal samples give equal bytes.

    A shard has a temporary name until `close`, which makes it durable. For one thread.
    """

    def __init__(self, folder: Path, number: int) -> None:
        """Open nothing yet; a shard without a sample is not written."""
        self.size_bytes = 0
        self._folder, self._number = folder, number
        self._tars: dict[str, tarfile.TarFile] = {}

    def add(self, kind: str, name: str, members: dict[str, bytes]) -> None:
        """
        Append a sample.

        :param kind: 'pairs' or 'clouds'.
        :param name: Id of the sample, without dots.
        :param members: Content of each member of `MEMBERS`.
        """
        if kind not in self._tars:
            self._tars[kind] = tarfile.open(self._part(kind), 'w', format=tarfile.USTAR_FORMAT)
        for member in MEMBERS[kind]:
            data = members[member]
            entry = tarfile.TarInfo(f'{name}.{member}')   # time and owner stay zero
            entry.size = len(data)
            self._tars[kind].addfile(entry, BytesIO(data))
            self.size_bytes += len(data)

    def close(self) -> None:
        """Finish the shards and give them their names."""
        for kind, tar in self._tars.items():
            tar.close()
            with open(self._part(kind), 'rb') as file:
                os.fsync(file.fileno())
            self._part(kind).replace(self._folder / f'{kind}-{self._number:06d}.tar')
        self._tars = {}

    def _part(self, kind: str) -> Path:
        return self._folder / f'{kind}-{self._number:06d}.tar.part'


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file so that it is either the old one or the new one at any time."""
    part = path.with_name(f'{path.name}.part')
    with open(part, 'w', encoding='utf-8') as file:
        json.dump(content, file, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_index(folder: Path) -> None:
    """
    Look through the finished shards of a folder and write where each sample lies.

    :raises DatasetError: If a shard is damaged.
    """
    index: dict[str, Any] = {'format': FORMAT}
    for kind in MEMBERS:
        shards = sorted(folder.glob(f'{kind}-*.tar'))
        index[kind] = {'shards': [shard.name for shard in shards],
                       'members': list(MEMBERS[kind]),
                       # [id, shard, offset and size [bytes] of each member]
                       'samples': [[name, number, *places] for number, shard in enumerate(shards)
                                   for name, places in _samples_in(shard, kind)]}
    write_json(folder / INDEX, index)


class Shards:
    """The samples of one kind; each access opens its file, so any number of processes may."""

    def __init__(self, folder: str | Path, kind: str) -> None:
        """
        Read the index.

        :param kind: 'pairs' or 'clouds'.
        :raises DatasetError: If the index is missing or damaged.
        """
        self.folder, self.kind = Path(folder), kind
        index = _read_index(self.folder / INDEX)
        try:
            self._shards, self._samples = index[kind]['shards'], index[kind]['samples']
        except (KeyError, TypeError) as error:
            raise DatasetError(f'{self.folder / INDEX}: has no {kind}; {CURE}') from error

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._samples)

    def name(self, index: int) -> str:
        """Return the id of a sample."""
        return self._samples[index][0]

    def info(self, index: int) -> dict[str, Any]:
        """
        Return what is known of a sample: bag, stamps, camera, co-visibility, parallax.

        :raises DatasetError: If the shard is missing or damaged.
        """
        data = self.member(index, 'json')
        try:
            return json.loads(data)
        except ValueError as error:
            raise self._damaged(index, 'json') from error

    def member(self, index: int, member: str) -> bytes:
        """
        Return the bytes of one member.

        :raises DatasetError: If the shard is missing or shorter than the index says.
        """
        _, shard, *places = self._samples[index]
        number = MEMBERS[self.kind].index(member)
        offset, size = places[2 * number:2 * number + 2]
        path = self.folder / self._shards[shard]
        try:
            with open(path, 'rb') as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise DatasetError(f'{path}: cannot be read: {error.strerror}; {CURE}') from error
        if len(data) != size:
            raise self._damaged(index, member)
        return data

    def image(self, index: int, member: str) -> np.ndarray:
        """
        Return a picture, (H, W, 3) uint8 RGB.

        :raises DatasetError: If the shard is missing or damaged.
        """
        image = cv2.imdecode(np.frombuffer(self.member(index, member), np.uint8),
                             cv2.IMREAD_COLOR)
        if image is None:
            raise self._damaged(index, member)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _damaged(self, index: int, member: str) -> DatasetError:
        path = self.folder / self._shards[self._samples[index][1]]
        return DatasetError(f'{path}: {self.name(index)}.{member} is damaged; {CURE} again')


class PairShards:
    """Cross-view pairs in a folder of `crossview pairs`, by number and by name."""

    def __init__(self, folder: str | Path) -> None:
        """
        Open a folder.

        :raises DatasetError: If it is unfinished, damaged or holds no pair.
        """
        self.shards = _filled(folder, 'pairs')

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.shards)

    def __getitem__(self, index: int) -> PairSample:
        """
        Read a pair; negative numbers count from the end.

        :raises DatasetError: If its shard is missing or damaged.
        """
        index = range(len(self))[index]
        return PairSample(self.shards.image(index, 'target.jpg'),
                          self.shards.image(index, 'reference.jpg'), self.shards.name(index))


class ImagePointShards:
    """Image + cloud pairs in a folder of `crossview pairs`."""

    def __init__(self, folder: str | Path) -> None:
        """
        Open a folder.

        :raises DatasetError: If it is unfinished, damaged or holds no image + cloud pair.
        """
        self.shards = _filled(folder, 'clouds')

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.shards)

    def __getitem__(self, index: int) -> ImagePointSample:
        """
        Read an image and the points that it shows, in its optical frame.

        :raises DatasetError: If its shard is missing or damaged.
        """
        index = range(len(self))[index]
        info = self.shards.info(index)
        try:
            points = np.load(BytesIO(self.shards.member(index, 'points.npy')), allow_pickle=False)
            camera = PinholeCamera(*(info['camera'][name] for name in CAMERA_FIELDS))
            T_camera_lidar = np.array(info['T_camera_lidar'], np.float64)
            reflectance = points[:, 3].astype(np.float32) if points.shape[1] > 3 else None
            points = transform_points(T_camera_lidar, points[:, :3]).astype(np.float32)
        except (ValueError, EOFError, KeyError, TypeError, CrossviewError) as error:
            raise DatasetError(f'{self.shards.folder}: the cloud of {self.shards.name(index)} is '
                               f'damaged: {error}') from error
        return ImagePointSample(self.shards.image(index, 'image.jpg'), points, camera,
                                self.shards.name(index), reflectance, T_camera_lidar)


def _filled(folder: str | Path, kind: str) -> Shards:
    shards = Shards(folder, kind)
    if not len(shards):
        raise DatasetError(f'{folder}: holds no {kind}; its index lists none')
    return shards


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read: {error.strerror}; {CURE}') from error
    except ValueError as error:
        raise DatasetError(f'{path}: is no JSON; {CURE}') from error
    if not isinstance(index, dict) or index.get('format') != FORMAT:
        raise DatasetError(f"{path}: expected the format '{FORMAT}'; {CURE}")
    return index


def _samples_in(shard: Path, kind: str) -> Iterator[tuple[str, list[int]]]:
    """Yield the id of each sample and the offset and size [bytes] of its members."""
    count, places = len(MEMBERS[kind]), []
    try:
        with tarfile.open(shard) as tar:
            for entry in tar:
                places += [entry.offset_data, entry.size]
                if len(places) == 2 * count:
                    yield entry.name.partition('.')[0], places
                    places = []
                tar.members.clear()   # tarfile would keep every header
        if places:
            raise tarfile.ReadError('the last sample is incomplete')
    except tarfile.TarError as error:
        raise DatasetError(f'{shard}: is damaged: {error}; remove the folder and run `crossview '
                           'pairs` anew') from error
