"""Storage in a folder: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from pipeline.errors import ArtifactError, InputError
from pipeline.storage.storage import Data, Names, ObjectInfo, Storage, checked_path
from pipeline.storage.world import world

_TEMPORARY = ".beam2vec-tmp-"
_TEMPORARY_NAME = re.compile(r"\.beam2vec-tmp-([0-9a-z]*)-[0-9a-f]{16}")
"""The writer's name, and a random number that keeps two files of one writer apart."""
_OLD = 3600.0
"""Seconds after which a temporary file without a writer's name counts as abandoned."""
_ATTEMPTS = 100
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""Errors of link() on file systems without hard links."""


@dataclasses.dataclass(frozen=True)
class LocalStorage(Storage):
    """A folder; the first `put` creates it."""

    root: str
    writer: str = dataclasses.field(default="", compare=False)

    def written_by(self, writer: str) -> LocalStorage:
        return dataclasses.replace(self, writer=writer)

    def _file(self, path: str) -> str:
        return os.path.join(self.root, checked_path(path))

    def walk(self, prefix: str = "") -> Iterator[ObjectInfo]:
        top = self._file(prefix) if prefix else self.root

        def stop(error: OSError) -> None:
            # A folder that a racing delete removed holds nothing; one that cannot be read is an error.
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise error

        with _local_errors(top):
            for folder, names in world().files.walk(top, stop):
                below = os.path.relpath(folder, self.root)
                below = "" if below == os.curdir else f"{below}/"
                for name in names:
                    if not name.startswith(_TEMPORARY) and (info := self._info(below + name, f"{folder}/{name}")):
                        yield info

    def info(self, path: str) -> ObjectInfo | None:
        return self._info(path, self._file(path))

    def _info(self, path: str, file: str) -> ObjectInfo | None:
        with _local_errors(file):
            try:
                status = world().files.stat(file)
            except (FileNotFoundError, NotADirectoryError):
                return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return ObjectInfo(path, status.st_size, str(status.st_mtime_ns))

    def find(self, path: str) -> bytes | None:
        file = self._file(path)
        with _local_errors(file):
            try:
                with world().files.open_regular(file) as reader:
                    return reader.read()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def read(self, path: str) -> bytes:
        """Also of a pipe, which a user may name for a file of an option."""
        with _local_errors(self._file(path)), world().files.open(self._file(path)) as reader:
            return reader.read()

    def read_range(self, path: str, start: int, length: int) -> bytes:
        with _local_errors(self._file(path)), world().files.open_regular(self._file(path), buffering=0) as reader:
            reader.seek(start)
            pieces = []
            while length > 0 and (data := reader.read(length)):  # a raw read returns at most 2 GiB
                pieces.append(data)
                length -= len(data)
            return b"".join(pieces)

    def open(self, path: str) -> BinaryIO:
        with _local_errors(self._file(path)):
            return world().files.open(self._file(path))

    def put(self, path: str, data: Data) -> None:
        self.write(path, lambda writer: writer.write(data))

    def write(self, path: str, write: Callable[[BinaryIO], object]) -> None:
        file = self._file(path)
        with _local_errors(file):
            for last in (False, False, True):
                try:
                    with _temporary(file, self.root, self.writer, write) as temporary:
                        world().files.rename(temporary, file)
                    return
                except FileNotFoundError:  # swept by a run that took over the lock; `Commits` will notice that
                    if last:
                        raise

    def create(self, path: str, data: Data) -> bool:
        file = self._file(path)
        with _local_errors(file):
            for last in (False, False, True):
                try:
                    with _temporary(file, self.root, self.writer, lambda writer: writer.write(data)) as temporary:
                        return _link(temporary, file, data)
                except FileNotFoundError:  # swept by the holder of the lock that may be created here
                    if last:
                        raise
        raise AssertionError("the last attempt returns or raises")

    def swap(self, path: str, old: bytes, new: Data) -> bool:
        file = self._file(path)
        with _local_errors(file), world().files.folder_lock(os.path.dirname(file)):
            if self.find(path) != old:
                return False
            self.put(path, new)
            return True

    def delete(self, path: str) -> None:
        file = self._file(path)
        with _local_errors(file):
            files = world().files
            try:
                files.unlink(file)
            except (FileNotFoundError, NotADirectoryError):
                return
            folder = os.path.dirname(file)
            files.sync_folder(folder)
            with contextlib.suppress(OSError):  # stops at the first folder that is not empty
                while folder != self.root:
                    files.remove_folder(folder)
                    world().synced_folders.discard(folder)
                    folder = os.path.dirname(folder)

    def settle(self, folder: str) -> None:
        with _local_errors(self._file(folder)):
            world().files.sync_folder(self._file(folder))

    def sweep(self, folders: Iterable[str], writer: str = "") -> None:
        with _local_errors(self.root):
            with contextlib.suppress(FileNotFoundError):
                self._sweep(self.root, [name for name, _ in world().files.entries(self.root)], writer)
            for top in folders:
                for folder, names in world().files.walk(self._file(top)):
                    self._sweep(folder, names, writer)

    def _sweep(self, folder: str, names: Iterable[str], writer: str) -> None:
        for name in names:
            if match := _TEMPORARY_NAME.fullmatch(name):
                file = os.path.join(folder, name)
                with contextlib.suppress(OSError):  # its writer may be alive and rename it
                    old = world().files.stat(file).st_mtime < world().time() - _OLD
                    if match[1] != writer if match[1] else old:
                        world().files.unlink(file)

    def folders(self, prefix: str) -> Names:
        folder = self._file(prefix)
        with _local_errors(folder):
            try:
                return sorted(name for name, is_folder in world().files.entries(folder) if is_folder)
            except (FileNotFoundError, NotADirectoryError):
                return []


@contextlib.contextmanager
def _temporary(file: str, root: str, writer_name: str, write: Callable[[BinaryIO], object]) -> Iterator[str]:
    """A synced file with what `write` writes, beside `file`. Afterwards its name is removed, and the folder synced."""
    files, folder = world().files, os.path.dirname(file)
    temporary = os.path.join(folder, f"{_TEMPORARY}{writer_name}-{world().token(8)}")
    try:
        for attempt in range(_ATTEMPTS):
            try:
                _make_folder(folder, root)
                writer = files.open(temporary, "xb")
                break
            except FileNotFoundError:  # another process deleted the folder while it was empty
                world().synced_folders.clear()
                if attempt + 1 == _ATTEMPTS:
                    raise InputError(f"{folder} cannot be created") from None
        with writer:
            write(writer)
            files.sync(writer)
        yield temporary
        with contextlib.suppress(FileNotFoundError):
            files.unlink(temporary)
        files.sync_folder(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            files.unlink(temporary)
        raise


def _make_folder(folder: str, root: str) -> None:
    """Like os.makedirs, but durable.

    Each folder from `root` on is synced into its parent once in each process, even if it exists: the process that made
    it may have been killed before it did so. Other processes may create or remove the folder at the same time. Any
    problem shows when a file is opened in it.
    """
    synced = world().synced_folders
    if folder in synced:
        return
    parent = os.path.dirname(folder)
    is_ours, is_there = folder == root or folder.startswith(f"{root.rstrip('/')}/"), False
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        is_there = stat.S_ISDIR(world().files.stat(folder).st_mode)
    if parent == folder or (is_there and not is_ours):
        return
    _make_folder(parent, root)
    if not is_there:
        with contextlib.suppress(FileExistsError):
            world().files.make_folder(folder)
    world().files.sync_folder(parent)
    synced.add(folder)


def _link(temporary: str, file: str, data: Data) -> bool:
    """Gives the file its name, unless the name exists."""
    try:
        world().files.link(temporary, file)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_exclusively(file, data)
    return True


def _create_exclusively(file: str, data: Data) -> bool:
    """create() for file systems without hard links; a reader may see the file while it fills."""
    try:
        with world().files.open(file, "xb") as writer:
            writer.write(data)
            world().files.sync(writer)
    except FileExistsError:
        return False
    return True


def _in_the_way(file: str) -> str:
    """The part of the path that exists but is not a folder."""
    while file != os.path.dirname(file) and not world().files.exists(file):
        file = os.path.dirname(file)
    return file


@contextlib.contextmanager
def _local_errors(file: str) -> Iterator[None]:
    """OSError -> one line that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise ArtifactError(f"{file} does not exist") from None
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.ENOTDIR:
            raise InputError(f"{_in_the_way(file)} is a file, but a folder is needed there") from error
        users = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
        raise (InputError if error.errno in users else ArtifactError)(f"{file}: {why}") from error
