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
"""The writer, and what keeps two files of one writer apart."""
_OLD = 3600.0
"""Seconds after which a temporary file without a writer's name has no writer any more."""
_ATTEMPTS = 100
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What link() says on file systems without hard links."""


@dataclasses.dataclass(frozen=True)
class LocalStorage(Storage):
    """A folder; it is made by the first put."""

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
                for name in names:
                    if not name.startswith(_TEMPORARY):
                        info = self.info(os.path.relpath(os.path.join(folder, name), self.root))
                        if info:
                            yield info

    def info(self, path: str) -> ObjectInfo | None:
        file = self._file(path)
        with _local_errors(file):
            try:
                found = world().files.stat(file)
            except (FileNotFoundError, NotADirectoryError):
                return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return ObjectInfo(path, found.st_size, str(found.st_mtime_ns))

    def find(self, path: str) -> bytes | None:
        file = self._file(path)
        with _local_errors(file):
            try:
                with world().files.open(file) as reader:
                    return reader.read()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def read_range(self, path: str, start: int, length: int) -> bytes:
        with _local_errors(self._file(path)), world().files.open(self._file(path), buffering=0) as reader:
            reader.seek(start)
            parts = []
            while length > 0 and (part := reader.read(length)):  # one raw read gives at most 2 GiB
                parts.append(part)
                length -= len(part)
            return b"".join(parts)

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
                    with _temporary(file, self.writer, write) as temporary:
                        world().files.rename(temporary, file)
                    return
                except FileNotFoundError:  # who took the lock over has swept it: `Commits` will see that
                    if last:
                        raise

    def create(self, path: str, data: Data) -> bool:
        file = self._file(path)
        with _local_errors(file):
            for last in (False, False, True):
                try:
                    with _temporary(file, self.writer, lambda writer: writer.write(data)) as temporary:
                        return _link(temporary, file, data)
                except FileNotFoundError:  # swept by the holder of the lock, which this one may be about to ask for
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
            with contextlib.suppress(OSError):  # the first folder that is not empty ends this
                while folder != self.root:
                    files.remove_folder(folder)
                    folder = os.path.dirname(folder)

    def sweep(self, folders: Iterable[str], writer: str = "") -> None:
        with contextlib.suppress(FileNotFoundError):
            self._sweep(self.root, [name for name, _ in world().files.entries(self.root)], writer)
        for top in folders:
            for folder, names in world().files.walk(self._file(top)):
                self._sweep(folder, names, writer)

    def _sweep(self, folder: str, names: Iterable[str], writer: str) -> None:
        for name in names:
            if match := _TEMPORARY_NAME.fullmatch(name):
                file = os.path.join(folder, name)
                with contextlib.suppress(OSError):  # its writer may be at work, and renames it
                    old = world().files.stat(file).st_mtime < world().time() - _OLD
                    if match[1] != writer if match[1] else old:
                        world().files.unlink(file)

    def folders(self, prefix: str) -> Names:
        try:
            return sorted(name for name, is_folder in world().files.entries(self._file(prefix)) if is_folder)
        except (FileNotFoundError, NotADirectoryError):
            return []


@contextlib.contextmanager
def _temporary(file: str, writer_name: str, write: Callable[[BinaryIO], object]) -> Iterator[str]:
    """A synced file of what `write` writes, beside `file`; the folder is synced afterwards, the temporary name gone."""
    files, folder = world().files, os.path.dirname(file)
    temporary = os.path.join(folder, f"{_TEMPORARY}{writer_name}-{world().token(8)}")
    try:
        for attempt in range(_ATTEMPTS):
            try:
                _make_folder(folder)
                writer = files.open(temporary, "xb")
                break
            except FileNotFoundError:  # a delete beside us removed the folder while it was empty
                if attempt + 1 == _ATTEMPTS:
                    raise InputError(f"{folder} cannot be made") from None
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


def _make_folder(folder: str) -> None:
    """makedirs that survives a power cut: each new name is synced into its parent.

    Racing writers and deleters may make or remove the folder meanwhile; what is then in the way
    shows when a file is opened in it.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISDIR(world().files.stat(folder).st_mode):
            return
    parent = os.path.dirname(folder)
    _make_folder(parent)
    with contextlib.suppress(FileExistsError):
        world().files.make_folder(folder)
        world().files.sync_folder(parent)


def _link(temporary: str, file: str, data: Data) -> bool:
    """Gives the file its name unless there is one of that name."""
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
    """The first part of the path that is there and no folder."""
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
            raise InputError(f"{_in_the_way(file)} is a file where a folder is wanted") from error
        users = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
        raise (InputError if error.errno in users else ArtifactError)(f"{file}: {why}") from error
