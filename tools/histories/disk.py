"""A file system in memory, with what POSIX allows a crash to lose.

What a file holds is safe when it was synced, and a name when its folder was. At a crash each change of names since the
last sync of a folder is kept or lost by itself (a rename is one change); unsynced data is lost, cut or zero.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from pipeline.storage.world import Files
from tools.histories.machine import Gone, Machine, Process, Thread

_READS = (errno.EIO,)
_WRITES = (errno.EIO, errno.ENOSPC)


class Status(NamedTuple):
    """What is used of os.stat_result."""

    st_mode: int
    st_size: int
    st_mtime: float

    @property
    def st_mtime_ns(self) -> int:
        return int(self.st_mtime * 1e6) * 1000


class Data:
    """A file: what readers see, and what is on the disk."""

    def __init__(self, now: float) -> None:
        self.data, self.synced = b"", b""
        self.time = now

    def survive(self, choose: Callable[[], float]) -> None:
        """Becomes what a crash leaves of it."""
        if self.data != self.synced:
            kind = choose()
            if kind < 0.25:
                self.data = self.synced
            elif kind < 0.5:
                self.data = self.data[: int(choose() * len(self.data))]
            elif kind < 0.75:
                self.data = bytes(len(self.data))
        self.synced = self.data


class Folder:
    """Names, those of them that are on the disk, and the changes since."""

    def __init__(self) -> None:
        self.names: dict[str, Data | Folder] = {}
        self.synced: dict[str, Data | Folder] = {}
        self.changes: list[dict[str, Data | Folder | None]] = []
        self.lock: Process | None = None
        self.waiting: list[Thread] = []

    def change(self, **names: Data | Folder | None) -> None:
        self.change_all(names)

    def change_all(self, names: dict[str, Data | Folder | None]) -> None:
        _apply(self.names, names)
        self.changes.append(names)

    def sync(self) -> None:
        self.synced = dict(self.names)
        self.changes.clear()

    def survive(self, choose: Callable[[], float], kept: float) -> None:
        """Becomes what a crash leaves of it; each change is kept with a probability."""
        for change in self.changes:
            if choose() < kept:
                _apply(self.synced, change)
        self.names, self.lock, self.waiting = dict(self.synced), None, []
        self.changes.clear()
        for entry in self.names.values():
            if isinstance(entry, Folder):
                entry.survive(choose, kept)
            else:
                entry.survive(choose)


def _apply(names: dict[str, Data | Folder], change: dict[str, Data | Folder | None]) -> None:
    for name, entry in change.items():
        if entry is None:
            names.pop(name, None)
        else:
            names[name] = entry


class Disk(Files):
    """The file operations of `LocalStorage`, on a simulated disk, each of which may fail.

    `landed(path, data, before)` is called when a name is given to a file, and `removed(path, before)` when a file is
    removed; data are bytes.
    """

    def __init__(self, machine: Machine, links: bool = True):
        self.machine, self.has_links = machine, links
        self.root = Folder()
        self.landed: Callable[[str, bytes, bytes | None], None] = lambda path, data, before: None
        self.removed: Callable[[str, bytes], None] = lambda path, before: None
        machine.on_crash.append(self.crash)
        machine.on_end.append(self._unlock)
        self._locked: list[Folder] = []

    # ---- looking

    def _find(self, path: str) -> Data | Folder:
        entry: Data | Folder = self.root
        for name in path.split("/"):
            if name:
                if not isinstance(entry, Folder):
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
                found = entry.names.get(name)
                if found is None:
                    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
                entry = found
        return entry

    def _folder(self, path: str) -> Folder:
        entry = self._find(path)
        if not isinstance(entry, Folder):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return entry

    def _place(self, path: str) -> tuple[Folder, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def peek(self, path: str) -> bytes | None:
        """The bytes of a file, None where there is none; for those who check, not for the code under test."""
        try:
            entry = self._find(path)
        except OSError:
            return None
        return entry.data if isinstance(entry, Data) else None

    def contents(self, top: str) -> dict[str, bytes]:
        """Path below `top` -> bytes, of every file; for those who check."""
        files: dict[str, bytes] = {}

        def add(folder: Folder, path: str) -> None:
            for name, entry in folder.names.items():
                if isinstance(entry, Folder):
                    add(entry, f"{path}{name}/")
                else:
                    files[path + name] = entry.data

        with contextlib.suppress(OSError):
            add(self._folder(top), "")
        return files

    # ---- failing

    def _begin(self, what: str, path: str, errors: tuple[int, ...] = _READS) -> bool:
        """Whether the call fails after it has taken effect; raises where it fails before."""
        self.machine.step(what, path)
        if not self.machine.fails():
            return False
        if errors is _WRITES and self.machine.random.random() < 0.5:
            self.machine.note("fails, and has happened")
            return True
        raise self._error(path, errors)

    def _error(self, path: str, errors: tuple[int, ...] = _WRITES) -> OSError:
        number = self.machine.random.choice(errors)
        self.machine.note(f"fails: {os.strerror(number)}")
        return OSError(number, os.strerror(number), path)

    def _end(self, fails: bool, path: str) -> None:
        if fails:
            raise self._error(path, (errno.EIO,))

    # ---- the operations

    def open(self, path: str, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        if mode == "rb":
            self._begin("open", path)
            entry = self._find(path)
            if isinstance(entry, Folder):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            return cast(BinaryIO, _Reader(self, path, entry))
        fails = self._begin("create", path, _WRITES)
        folder, name = self._place(path)
        if name in folder.names:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        data = Data(self.machine.now())
        folder.change_all({name: data})
        self.landed(path, b"", None)
        self._end(fails, path)
        return cast(BinaryIO, _Writer(self, path, data))

    def open_regular(self, path: str, buffering: int = -1) -> BinaryIO:
        return self.open(path)

    def stat(self, path: str) -> os.stat_result:
        self._begin("stat", path)
        entry = self._find(path)
        if isinstance(entry, Folder):
            return cast(os.stat_result, Status(stat.S_IFDIR, 0, 0.0))
        return cast(os.stat_result, Status(stat.S_IFREG, len(entry.data), entry.time))

    def exists(self, path: str) -> bool:
        self.machine.step("exists", path)
        try:
            self._find(path)
        except OSError:
            return False
        return True

    def walk(self, top: str, onerror: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str]]]:
        try:
            self._begin("list", top)
            entries = list(self._folder(top).names.items())
        except OSError as error:
            if onerror is not None:
                onerror(error)
            return
        yield top, [name for name, entry in entries if not isinstance(entry, Folder)]
        for name, entry in entries:
            if isinstance(entry, Folder):
                yield from self.walk(f"{top}/{name}", onerror)

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        self._begin("list", folder)
        return [(name, isinstance(entry, Folder)) for name, entry in self._folder(folder).names.items()]

    def rename(self, path: str, to: str) -> None:
        fails = self._begin("rename", to, _WRITES)
        folder, name = self._place(path)
        if name not in folder.names:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        entry, before = folder.names[name], folder.names.get(new := to.rpartition("/")[2])
        folder.change_all({name: None, new: entry})
        self.landed(to, cast(Data, entry).data, before.data if isinstance(before, Data) else None)
        self._end(fails, to)

    def link(self, path: str, to: str) -> None:
        fails = self._begin("link", to, _WRITES)
        if not self.has_links:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), to)
        folder, name = self._place(path)
        if name not in folder.names:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if (new := to.rpartition("/")[2]) in folder.names:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), to)
        entry = folder.names[name]
        folder.change_all({new: entry})
        self.landed(to, cast(Data, entry).data, None)
        self._end(fails, to)

    def unlink(self, path: str) -> None:
        fails = self._begin("unlink", path, _WRITES)
        folder, name = self._place(path)
        entry = folder.names.get(name)
        if entry is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        folder.change_all({name: None})
        self.removed(path, cast(Data, entry).data)
        self._end(fails, path)

    def make_folder(self, path: str) -> None:
        fails = self._begin("mkdir", path, _WRITES)
        folder, name = self._place(path)
        if name in folder.names:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        folder.change_all({name: Folder()})
        self._end(fails, path)

    def remove_folder(self, path: str) -> None:
        fails = self._begin("rmdir", path, _WRITES)
        folder, name = self._place(path)
        if self._folder(path).names:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        folder.change_all({name: None})
        self._end(fails, path)

    def sync(self, file: BinaryIO) -> None:
        writer = cast(_Writer, file)
        self._begin("sync", writer.path)
        writer.file.synced = writer.file.data

    def sync_folder(self, path: str) -> None:
        self._begin("sync folder", path)
        with contextlib.suppress(FileNotFoundError):
            self._folder(path).sync()

    @contextlib.contextmanager
    def folder_lock(self, path: str) -> Iterator[None]:
        self._begin("lock folder", path)
        folder, machine = self._folder(path), self.machine
        me = machine.current
        while folder.lock is not None:
            folder.waiting.append(me)
            machine._leave()
        folder.lock = me.process
        self._locked.append(folder)
        try:
            yield
        finally:
            if not machine.over and me.process.alive:
                self._release(folder)

    def _release(self, folder: Folder) -> None:
        folder.lock = None
        if folder in self._locked:
            self._locked.remove(folder)
        self.machine._ready += folder.waiting
        folder.waiting.clear()

    def _unlock(self, process: Process) -> None:
        for folder in [folder for folder in self._locked if folder.lock is process]:
            self._release(folder)

    def crash(self) -> None:
        """Keeps what was synced, and of the rest none, all or some."""
        choose = self.machine.random.random
        self._locked.clear()
        self.root.survive(choose, self.machine.random.choice((0.0, 0.5, 0.5, 1.0)))


class _File:
    def __init__(self, disk: Disk, path: str, file: Data):
        self.disk, self.path, self.file, self.at = disk, path, file, 0

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Always succeeds: what cannot be written shows when it is synced."""

    def flush(self) -> None:
        """Nothing is held back."""

    def tell(self) -> int:
        return self.at


class _Reader(_File):
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: len(self.file.data)}[whence] + offset
        return self.at

    def read(self, size: int = -1) -> bytes:
        self.disk._begin("read", self.path)
        end = len(self.file.data) if size is None or size < 0 else self.at + size
        data = self.file.data[self.at : end]
        self.at += len(data)
        return data


class _Writer(_File):
    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B") if len(data) else b""
        piece = bytes(view)
        disk, machine = self.disk, self.disk.machine
        before = self.file.data
        try:
            machine.step("write", self.path)
            if machine.fails():
                self.file.data = before + piece[: int(machine.random.random() * len(piece))]
                raise disk._error(self.path)
        except Gone:
            if not machine.over:  # killed in the middle of it
                self.file.data = before + piece[: len(piece) // 2]
            raise
        self.file.data = before + piece
        self.file.time = machine.now()
        self.at += len(piece)
        return len(piece)
