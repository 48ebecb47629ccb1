"""Where artefacts lie: one small interface over folders and object stores.

Nothing else in the project touches files. An object is there whole or not at
all, whatever is killed when: a folder gets it by a synced temporary file and a
rename, an object store by one PUT (or a multipart upload, complete or invisible).
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from pipeline.errors import ArtifactError
from pipeline.runtime.shown_text import quoted

NO_CONDITIONAL_CREATE = (
    "this store has no conditional create (PUT with If-None-Match), without which two runs could write into one output"
    " at once: use one that has, as Amazon S3, Google Cloud Storage and Azure do, or a folder"
)


@dataclasses.dataclass(frozen=True)
class ObjectInfo:
    """What a listing knows of an object; `version` changes with its content (ETag, or mtime in ns)."""

    path: str
    size: int
    version: str

    def age(self, now: float) -> float:
        """Seconds since it was written, where the version is a time; else 0."""
        return now - int(self.version) / 1e9 if self.version.isdecimal() and len(self.version) == 19 else 0.0


Listing = list[ObjectInfo]
Names = list[str]
Data = bytes | bytearray | memoryview
"""Anything with the buffer protocol is fine, pyarrow.Buffer too."""


class Storage:
    """Objects under one root. Picklable (by its root) and safe to use from many threads.

    Paths are relative to the root, with "/" between their parts. Failures raise
    one line that names the uri: InputError where the user has to change
    something (permission, no such bucket), ArtifactError elsewhere (missing
    object, full disk).
    """

    root: str

    def check_holds_runs(self) -> None:
        """InputError where only files can lie here, and no run."""

    def list(self, prefix: str = "") -> Listing:
        """Every object in the folder `prefix` and below, by the bytes of its path; [] where there is none.

        Temporary files of writers at work, or killed, are left out.
        """
        return sorted(self.walk(prefix), key=_order)

    def walk(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """As list, one by one while they are found, in no order."""
        raise NotImplementedError

    def info(self, path: str) -> ObjectInfo | None:
        """Size and version; None where there is no object."""
        raise NotImplementedError

    def find(self, path: str) -> bytes | None:
        """The whole object; None where there is none."""
        raise NotImplementedError

    def read(self, path: str) -> bytes:
        """The whole object; ArtifactError where there is none."""
        data = self.find(path)
        if data is None:
            raise ArtifactError(f"{self.uri(path)} does not exist")
        return data

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer, down to none, at the end of the object."""
        raise NotImplementedError

    def open(self, path: str) -> BinaryIO:
        """A seekable reader that holds no more than a few MiB."""
        raise NotImplementedError

    def put(self, path: str, data: Data) -> None:
        """Writes or replaces the object, durably and at once."""
        raise NotImplementedError

    def write(self, path: str, write: Callable[[BinaryIO], object]) -> None:
        """As put, of what `write` writes into the file that it gets: a folder does not hold it in memory meanwhile."""
        held = io.BytesIO()
        write(held)
        self.put(path, held.getbuffer())

    def create(self, path: str, data: Data) -> bool:
        """Writes the object unless there is one: of several racing writers one gets True.

        On an object store a lost answer that was tried again may read False
        though the object is ours; who must know puts a token in and reads it.
        """
        raise NotImplementedError

    def swap(self, path: str, old: bytes, new: Data) -> bool:
        """Replaces the object if it still holds `old`; False where it holds anything else."""
        raise NotImplementedError

    def delete(self, path: str) -> None:
        """Removes the object; none there is no error."""
        raise NotImplementedError

    def written_by(self, writer: str) -> Storage:
        """The same storage, whose temporary files carry the name of `writer` (letters and digits)."""
        return self

    def sweep(self, folders: Iterable[str], writer: str = "") -> None:
        """Removes the temporary files that killed writers left at the root and in `folders`.

        Those of `writer` stay. Those that carry no writer's name go when they are an hour old.
        """

    def folders(self, prefix: str) -> Names:
        """The names of the folders in the folder `prefix`, in order."""
        raise NotImplementedError

    def uri(self, path: str) -> str:
        """The object's full name, as it is shown to people and as `split_uri` takes it."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root


def checked_path(path: str) -> str:
    """Refuses a path that leaves its root: paths are read from records, and records can be damaged."""
    if not path or "\0" in path or path.startswith("/") or ".." in path.split("/"):
        raise ArtifactError(f"{quoted(path)} is not the path of an object inside its folder")
    return path


def _order(info: ObjectInfo) -> bytes:
    return info.path.encode("utf-8", "surrogateescape")
