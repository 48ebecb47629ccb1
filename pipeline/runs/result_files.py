"""Files that a user names for a result, as by --to and --json: checked before any work, written whole or not at all.

A file is replaced through a temporary file beside it. A link stays: the file that it leads to is replaced. A pipe
(FIFO) or a character device such as /dev/null is opened and written, and so is standard output (`-`, /dev/stdout,
/dev/fd/N).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import io
import mmap
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, BinaryIO, TextIO

from pipeline.errors import ArtifactError, InputError, PipelineError
from pipeline.runs.directory import PATH as IDENTITY
from pipeline.runs.leftovers import OUR_FOLDERS, key_folders
from pipeline.runtime.shown_text import exact
from pipeline.storage import lock
from pipeline.storage.local import LocalStorage
from pipeline.storage.open_storage import is_remote, open_storage, split_uri
from pipeline.storage.storage import Data

STANDARD_OUTPUT = "-"
_STDOUT = 1
_MOST_LINKS = 40
_BUFFER = 1 << 16
_USERS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENXIO, errno.EBADF, errno.ENOENT, errno.ENAMETOOLONG)


@dataclasses.dataclass(frozen=True)
class ResultFile:
    """A file that may be written, as far as one can tell before.

    Attributes:
      option: what named it, such as --to.
      uri: as it was named.
      place: where it is: the absolute path without links, or the uri.
      descriptor: of a stream that is open already, such as 1 of standard output.
      streams: whether `place` is opened and written, and not replaced.
    """

    option: str
    uri: str
    place: str = ""
    descriptor: int | None = None
    streams: bool = False

    @property
    def is_stdout(self) -> bool:
        """Whether what is printed goes to the same place, so that nothing else may be printed."""
        if not self.streams or self.descriptor == _STDOUT:
            return self.streams
        try:
            status = os.stat(self.place) if self.descriptor is None else os.fstat(self.descriptor)
            return os.path.samestat(status, os.fstat(_STDOUT))
        except OSError:  # one of them is closed, or gone since
            return False

    def put(self, data: Data) -> None:
        """Writes the whole content.

        Raises:
          BrokenPipeError: the reader has left.
          PipelineError: it cannot be written; an older file is as it was.
        """
        if self.streams:
            self.write(lambda file: file.write(data))
        else:
            root, path = split_uri(self.place)
            open_storage(root).put(path, data)

    def write(self, write: Callable[[BinaryIO], object]) -> None:
        """`put` of what `write` writes into the file that it is passed, which can tell its position but not seek.

        The content is never held in memory. If the file is to be replaced, a temporary file of the system comes first.
        """
        if self.streams:
            with self._stream() as stream:
                _fill(stream, self._named(), write)
            return
        root, path = split_uri(self.place)
        with _temporary() as file:
            _fill(file, f"a temporary file in {tempfile.gettempdir()} (TMPDIR names another folder)", write)
            # The map is closed when the storage releases it.
            open_storage(root).put(path, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))

    @contextlib.contextmanager
    def _stream(self) -> Iterator[BinaryIO]:
        if self.descriptor == _STDOUT:
            yield _stdout()
            return
        try:
            if self.descriptor is None:
                number = os.open(self.place, os.O_WRONLY | os.O_NOCTTY)  # a pipe that is gone is not made a file
            else:
                number = os.dup(self.descriptor)
        except OSError as error:
            raise _unwritable(self._named(), error) from error
        with contextlib.closing(io.FileIO(number, "w")) as raw:
            yield io.BufferedWriter(raw, _BUFFER)

    def _named(self) -> str:
        return "standard output" if self.descriptor == _STDOUT else f"{self.option}={self.uri}"


def result_file(option: str, uri: str, streams: bool = True) -> ResultFile:
    """The file of this name, as far as it can be checked; missing folders are made when it is written.

    Of an object store, nothing is checked but that the file is none of a run's own.

    Args:
      option: what named it, for messages.
      streams: whether standard output, pipes and devices will do: not if it is one of several files.

    Raises:
      InputError: nothing can be written there, or it is a file of a run.
    """
    if uri == STANDARD_OUTPUT:
        return _open_stream(option, uri, _STDOUT, streams)
    storage = open_storage(uri)
    if not isinstance(storage, LocalStorage):
        _refuse_files_of_runs(option, uri, uri)
        return ResultFile(option, uri, uri)
    path = storage.root
    descriptor = _descriptor(path)
    if descriptor is not None:
        return _open_stream(option, uri, descriptor, streams)
    place = os.path.realpath(path)
    mode = _mode(option, uri, path)
    if uri.endswith("/") or stat.S_ISDIR(mode):
        raise InputError(f"{option}={uri} is a folder: name a file")
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        kind = "a block device" if stat.S_ISBLK(mode) else "a socket"
        raise InputError(f"{option}={uri} is {kind}, which is not written to: name a file")
    if mode and not os.access(path, os.W_OK):
        raise InputError(f"{option}={uri} cannot be written: you may not write to this file")
    for name in dict.fromkeys((path, place)):
        _refuse_files_of_runs(option, uri, name)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        _refuse_stream(option, uri, streams)
        return ResultFile(option, uri, path, None, True)
    _check_folder(option, uri, os.path.dirname(place))
    return ResultFile(option, uri, place)


def result_files(option: str, folder: str, names: Iterable[str]) -> list[ResultFile]:
    """`result_file` for each name in a folder that is named for several files."""
    storage = open_storage(folder)
    if folder == STANDARD_OUTPUT:
        raise InputError(f"{option}=- is standard output, which takes one file and not several: name a folder")
    if isinstance(storage, LocalStorage):
        mode = _mode(option, folder, storage.root)
        if mode and not stat.S_ISDIR(mode):
            raise InputError(f"{option}={folder} is a file: name a folder")
        _check_folder(option, folder, storage.root)
    return [result_file(option, storage.uri(name), streams=False) for name in names]


def _mode(option: str, uri: str, path: str) -> int:
    """The mode of what the name leads to; 0 if there is nothing yet."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):  # of the latter, the check of the folder tells more
        return 0
    except OSError as error:
        raise InputError(f"{option}={uri} cannot be written: {error.strerror}") from error


def _check_folder(option: str, uri: str, folder: str) -> None:
    """InputError unless the folder is there, or can be made."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{option}={uri} cannot be written: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{option}={uri} cannot be written: you may not write to {folder}")


def _refuse_files_of_runs(option: str, uri: str, place: str) -> None:
    """InputError if the place is that of run.json or a lock, or in a folder where some run has its artefacts."""
    parts = place.split("/")
    if parts[-1] in (IDENTITY, lock.PATH):
        raise InputError(f"{option}={uri} has the name of a run's own file: choose another name")
    for number, part in enumerate(parts):
        root = "/".join(parts[:number]) or "/"
        if part in OUR_FOLDERS and number >= (3 if is_remote(place) else 1) and _holds_run(root):
            raise InputError(f"{option}={uri} is in {part}/, where the run in {root} has its own files: choose another")


def _holds_run(root: str) -> bool:
    storage = open_storage(root)
    try:
        storage.check_holds_runs()
    except InputError:
        return False
    return any(map(storage.info, (IDENTITY, lock.PATH))) or any(map(bool, key_folders(storage)))


def _open_stream(option: str, uri: str, descriptor: int, streams: bool) -> ResultFile:
    """A stream that this process was started with; InputError if it cannot be written."""
    _refuse_stream(option, uri, streams)
    try:
        if descriptor == _STDOUT and sys.__stdout__ is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if descriptor != _STDOUT:
            mode, access = os.fstat(descriptor).st_mode, fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
            if access == os.O_RDONLY or stat.S_ISBLK(mode):
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    except OSError as error:
        raise InputError(f"{option}={uri} cannot be written: it is not open for that") from error
    return ResultFile(option, uri, "", descriptor, True)


def _refuse_stream(option: str, uri: str, streams: bool) -> None:
    if not streams:
        raise InputError(f"{option}={uri} is no file, and cannot hold one of several: name a file or a folder")


def _descriptor(path: str) -> int | None:
    """N if the path leads to /dev/fd/N, by links too, as /dev/stdout does. What it stands for is open already."""
    own = re.compile(rf"/proc/{os.getpid()}(/task/\d+)?/fd|/dev/fd")
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(path)
        path = os.path.join(os.path.realpath(folder), name)
        if own.fullmatch(os.path.dirname(path)) and name.isdecimal():
            return int(name)
        if not os.path.islink(path):
            break
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return None


class _Text(io.RawIOBase):
    """A stream of text, such as one that a program has put in place of standard output, as one of bytes."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, data: Any) -> int:
        self._stream.write(bytes(data).decode("utf-8", "surrogateescape"))
        return len(data)


def _stdout() -> BinaryIO:
    stream = exact(sys.stdout)
    stream.flush()
    return getattr(stream, "buffer", None) or _Text(stream)  # type: ignore[return-value]


class _Sink:
    """A file that is written from its beginning to its end, and knows its position though a pipe does not.

    After an error it takes what comes and drops it: writers on top of it write their ends when they are destroyed.
    """

    closed = False

    def __init__(self, file: BinaryIO | IO[bytes], name: str):
        self._file, self._name = file, name
        self._position, self._failed = 0, False

    def write(self, data: Data) -> int:
        size = memoryview(data).nbytes
        if not self._failed:
            with self.checked():
                self._file.write(data)
        self._position += size
        return size

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        if not self._failed:
            with self.checked():
                self._file.flush()

    def fail(self) -> None:
        self._failed = True

    def close(self) -> None:
        """Nothing: who has opened the file closes it."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @contextlib.contextmanager
    def checked(self) -> Iterator[None]:
        """OSError -> one line that names the file. A reader that has left stays one: the command ends in silence."""
        try:
            yield
        except BaseException as error:
            self._failed = True
            if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                raise _unwritable(self._name, error) from error
            raise


def _fill(file: BinaryIO | IO[bytes], name: str, write: Callable[[BinaryIO], object]) -> None:
    sink = _Sink(file, name)
    try:
        write(sink)  # type: ignore[arg-type]
    except BaseException:
        sink.fail()
        raise
    sink.flush()


def _unwritable(name: str, error: OSError) -> PipelineError:
    return (InputError if error.errno in _USERS else ArtifactError)(f"{name} cannot be written: {error.strerror}")


def _temporary() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(prefix="beam2vec-")
    except OSError as error:
        raise ArtifactError(f"no temporary file can be made: {error.strerror} (TMPDIR names its folder)") from error
