# SPDX-License-Identifier: Apache-2.0
"""
Keep built engines on disk: never stale, never half written, built once however many ask.

An engine is code for the GPU that runs in this process: what somebody else may have written is
not loaded. A file that can be neither read nor written costs a build, not the start.
"""
from collections.abc import Callable
from dataclasses import asdict, dataclass
import hashlib
import json
import logging
import os
from pathlib import Path
import stat

from crossview_ros.errors import BackendError
from crossview_ros.file_lock import locked
from crossview_ros.runtime.backends.cache_folder import make_folder, write_file

SUFFIX = '.engine'   # of files that hold one line of JSON, then the engine
HASH_BLOCK = 1 << 20   # [bytes]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """What an engine depends on; when one of these changes it is another engine."""

    graph: str                # name of the graph, for people
    graph_sha256: str         # of the ONNX file and its external data
    shapes: str               # least and largest shape of each input
    precision: str
    builder: str              # name and full version
    gpu: str                  # name and compute capability of what it is built for
    flags: tuple[str, ...]    # of the builder

    @property
    def digest(self) -> str:
        """Return the SHA-256 of all of it."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """Return the name of the engine's file: 128 bits of the digest tell engines apart."""
        return f'{self.graph}-{self.digest[:32]}{SUFFIX}'


def graph_sha256(path: Path) -> str:
    """Return the SHA-256 of an ONNX file and of the files beside it that hold its weights."""
    content = path.read_bytes()
    digest = hashlib.sha256(content)
    for other in sorted(path.parent.iterdir()):
        if other.is_file() and other.suffix != '.onnx' and other.name.encode() in content:
            digest.update(other.name.encode())
            with other.open('rb') as file:
                for block in iter(lambda: file.read(HASH_BLOCK), b''):
                    digest.update(block)
    return digest.hexdigest()


def cached_engine(folder: Path, key: EngineKey, build: Callable[[], bytes], force: bool = False,
                  progress: Callable[[str], None] = lambda text: None) -> bytes:
    """
    Return an engine from the cache, or build it and keep it there.

    Of processes that ask at once one builds, the others wait for it; when it dies, the next one
    builds. Where the folder cannot be written the engine is built and not kept, with a warning.

    :param build: Makes the engine; may take minutes.
    :param force: Build although there is one.
    :param progress: Told when another process has to be waited for.
    :raises BackendError: If others may write the folder, or what ``build`` raises.
    """
    path = folder / key.file_name
    prepare_folder(folder)
    with locked(path.with_suffix('.lock'), lambda: progress(
            f'waiting for another process that builds {path.stem}')):
        engine = None if force else read_entry(path)
        if engine is None:
            engine = build()
            _keep(path, key, engine)
        return engine


def prepare_folder(folder: Path) -> None:
    """
    Make the folder, mode 0700, or check the one that is there.

    :raises BackendError: If somebody else than this user or root may write it.
    """
    try:
        make_folder(folder)
        facts = folder.stat()
    except OSError:   # what is not there cannot be kept, which writing will tell
        return
    if facts.st_uid not in (os.getuid(), 0):
        raise BackendError(f'the engine cache {folder} belongs to another user (uid '
                           f'{facts.st_uid}, this is {os.getuid()}), whose engines are not '
                           'trusted: choose a folder of your own (engine.cache_dir)')
    if facts.st_mode & stat.S_IWOTH:
        raise BackendError(f'every user may write the engine cache {folder} (mode '
                           f'{stat.S_IMODE(facts.st_mode):o}): chmod 700 {folder}')


def read_entry(path: Path) -> bytes | None:
    """Return the engine in a file; None without one, or, with a warning, where it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    head, _, engine = content.partition(b'\n')
    try:
        sound = json.loads(head)['sha256'] == hashlib.sha256(engine).hexdigest()
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        logger.warning('%s is damaged; the engine is built anew', path)
    return engine if sound else None


def _keep(path: Path, key: EngineKey, engine: bytes) -> None:
    """Put an engine in the cache, where readers see all of it or none; warn if that fails."""
    line = json.dumps({'sha256': hashlib.sha256(engine).hexdigest(), **asdict(key)})

    def write(part: Path) -> None:
        with part.open('wb') as file:
            file.write(line.encode() + b'\n')
            file.write(engine)
            file.flush()
            os.fsync(file.fileno())   # the name must not survive a power cut that the data did not

    try:
        for stale in path.parent.glob(f'.{path.name}.*'):   # of writers that died
            stale.unlink(missing_ok=True)
        write_file(path, write)
    except (BackendError, OSError) as error:   # a full disk, a read-only folder
        logger.warning('the engine is used but not kept, the next start builds it again: %s',
                       error)
