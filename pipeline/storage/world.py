"""What storage needs from the machine: clock, randomness, threads, and operations on files.

`pipeline/storage` uses the system only through this module. So tests can replace it, by `in_world`, with a simulator in
which clocks jump, disks fill up and processes die between any two operations.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from pipeline.storage import process_identity

_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)
"""What fsync says of a folder that a file system does not sync."""
_CANNOT_OPEN = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EINVAL, errno.EISDIR)
"""What a folder says that may not be read, or has been removed meanwhile."""


class Files:
    """The file operations that `LocalStorage` uses. Each raises OSError as the system does."""

    def open(self, path: str, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """ "rb" reads, "xb" creates a file that must not exist. With `buffering` 0, no more is read than requested."""
        return open(path, mode, buffering)  # type: ignore[return-value]

    def open_regular(self, path: str, buffering: int = -1) -> BinaryIO:
        """Reads a file; OSError for a pipe or a device, which might wait for ever or never end."""
        file = open(  # noqa: SIM115 it is the caller's
            path, "rb", buffering, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)
        )
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        return file

    def stat(self, path: str) -> os.stat_result:
        return os.stat(path)

    def exists(self, path: str) -> bool:
        """Whether anything has this name, even a dangling link."""
        return os.path.lexists(path)

    def walk(self, top: str, onerror: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str]]]:
        """(folder, names of its entries that are not folders), for `top` and each folder below."""
        for folder, _, names in os.walk(top, onerror=onerror):
            yield folder, names

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        """(name, whether it is a folder) of each entry of a folder."""
        with os.scandir(folder) as scan:
            return [(entry.name, entry.is_dir()) for entry in scan]

    def rename(self, path: str, to: str) -> None:
        """Renames; replaces `to` if it exists."""
        os.replace(path, to)

    def link(self, path: str, to: str) -> None:
        """Gives the file a second name; FileExistsError if `to` exists."""
        os.link(path, to)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def make_folder(self, path: str) -> None:
        os.mkdir(path)

    def remove_folder(self, path: str) -> None:
        """OSError unless it is empty."""
        os.rmdir(path)

    def sync(self, file: BinaryIO) -> None:
        """Returns when everything written is on the disk."""
        file.flush()
        os.fsync(file.fileno())

    def sync_folder(self, path: str) -> None:
        """Returns when the names in the folder are on the disk, if the file system can do that.

        What is no failure of a disk is passed over: some file systems cannot sync folders, others cannot open them.
        """
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            if error.errno not in _CANNOT_OPEN:
                raise
            return
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def folder_lock(self, path: str) -> Iterator[None]:
        """Excludes other threads and processes, if the file system can do that."""
        handle = os.open(path, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some network file systems cannot lock folders
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class World:
    """The real machine."""

    def __init__(self) -> None:
        self.files = Files()
        self.synced_folders: set[str] = set()
        """folders that this process has synced into their parents"""

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of a clock that is never set."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def token(self, size: int) -> str:
        """`size` random bytes in hex."""
        return secrets.token_hex(size)

    def host(self) -> str:
        return process_identity.host()

    def pid(self) -> int:
        """The number of this process."""
        return os.getpid()

    def process_of(self, pid: int) -> str:
        """See `process_identity.process_of`."""
        return process_identity.process_of(pid)

    def is_dead(self, host: str, pid: int, process: str) -> bool:
        """See `process_identity.is_dead`."""
        return process_identity.is_dead(host, pid, process)

    @contextlib.contextmanager
    def in_background(self, call: Callable[[], bool], every: float, name: str) -> Iterator[None]:
        """While open, a thread calls `call` every `every` seconds, until it returns False."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(every) and call():
                pass

        thread = threading.Thread(target=beat, name=name, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


_world = World()


def world() -> World:
    """The world that storage uses now."""
    return _world


@contextlib.contextmanager
def in_world(other: World) -> Iterator[World]:
    """While open, storage uses another world; for tests."""
    global _world
    before, _world = _world, other
    try:
        yield other
    finally:
        _world = before
