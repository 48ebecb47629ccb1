"""What storage takes from the machine that it runs on: clock, randomness, threads, and operations on files.

Nothing else in `pipeline/storage` asks the system for these. So a simulator can put a world of its own in
their place, with `in_world`, in which clocks jump, disks fill up and processes die between any two operations.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from pipeline.storage import process_identity


class Files:
    """The operations on files that `LocalStorage` is made of. Each raises OSError as the system does."""

    def open(self, path: str, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """ "rb" reads; "xb" makes a file that was not there. With `buffering` 0, no more is read than is asked for."""
        return open(path, mode, buffering)  # type: ignore[return-value]

    def stat(self, path: str) -> os.stat_result:
        return os.stat(path)

    def exists(self, path: str) -> bool:
        """Whether anything has this name, a dangling link too."""
        return os.path.lexists(path)

    def walk(self, top: str, onerror: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str]]]:
        """(folder, names of what is no folder in it), for each folder below `top` and itself."""
        for folder, _, names in os.walk(top, onerror=onerror):
            yield folder, names

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        """(name, whether it is a folder) of all that is in a folder."""
        with os.scandir(folder) as found:
            return [(entry.name, entry.is_dir()) for entry in found]

    def rename(self, path: str, to: str) -> None:
        """Replaces what `to` names."""
        os.replace(path, to)

    def link(self, path: str, to: str) -> None:
        """A second name; FileExistsError where `to` is there."""
        os.link(path, to)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def make_folder(self, path: str) -> None:
        os.mkdir(path)

    def remove_folder(self, path: str) -> None:
        """OSError unless it is empty."""
        os.rmdir(path)

    def sync(self, file: BinaryIO) -> None:
        """What was written is on the disk."""
        file.flush()
        os.fsync(file.fileno())

    def sync_folder(self, path: str) -> None:
        """Names in the folder are on the disk, where the file system can do that."""
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    @contextlib.contextmanager
    def folder_lock(self, path: str) -> Iterator[None]:
        """Excludes other threads and processes, where the file system can do that."""
        handle = os.open(path, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some network file systems lock no folders
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class World:
    """The real one."""

    def __init__(self) -> None:
        self.files = Files()

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of a clock that nobody sets."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def token(self, size: int) -> str:
        """`size` random bytes in hex."""
        return secrets.token_hex(size)

    def host(self) -> str:
        return process_identity.host()

    def pid(self) -> int:
        """Of this process."""
        return os.getpid()

    def process_of(self, pid: int) -> str:
        """See `process_identity.process_of`."""
        return process_identity.process_of(pid)

    def is_dead(self, host: str, pid: int, process: str) -> bool:
        """See `process_identity.is_dead`."""
        return process_identity.is_dead(host, pid, process)

    @contextlib.contextmanager
    def in_background(self, call: Callable[[], bool], every: float, name: str) -> Iterator[None]:
        """Calls `call` each `every` seconds in a thread while open, until it returns False."""
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
    """The one that storage runs in now."""
    return _world


@contextlib.contextmanager
def in_world(other: World) -> Iterator[World]:
    """Storage runs in another world while open: for tests."""
    global _world
    before, _world = _world, other
    try:
        yield other
    finally:
        _world = before
