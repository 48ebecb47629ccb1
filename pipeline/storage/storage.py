"""Where artefacts are stored: one small interface to folders and object stores.

Nothing else in the project writes files of a run. An object exists whole or not at all, whatever is killed when: a
folder gets it by a synced temporary file and a rename, an object store by one PUT (or by a multipart upload, which is
complete or invisible).
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from pipeline.errors import ArtifactError
from pipeline.runtime.shown_text import quoted

NO_CONDITIONAL_CREATE = (
    "this store has no conditional create (PUT with If-None-Match), or does not keep to it, so two runs could write to"
    " one output at once: use a store that has it, such as Amazon S3, Google Cloud Storage or Azure, or a folder"
)


@dataclasses.dataclass(frozen=True)
class ObjectInfo:
    """An object in a listing; `version` changes with its content (ETag, or mtime in ns)."""

    path: str
    size: int
    version: str

    def age(self, now: float) -> float:
        """Seconds since it was written if the version is a time, else 0."""
        return now - int(self.version) / 1e9 if self.version.isdecimal() and len(self.version) == 19 else 0.0


Listing = list[ObjectInfo]
Names = list[str]
Data = bytes | bytearray | memoryview
"""Or anything else with the buffer protocol, such as pyarrow.Buffer."""


class Storage:
    """Objects under one root. Picklable (by its root) and safe to use from many threads.

    Paths are relative to the root, with "/" between their parts. Errors are one line that names the uri: InputError if
    the user has to change something (permission, no such bucket), else ArtifactError (missing object, full disk).
    """

    root: str

    @property
    def server(self) -> object | None:
        """The client of a server, which may not keep the conditions of `create` and `swap`: see `exclusion`."""
        return None

    def check_holds_runs(self) -> None:
        """InputError if this kind of storage can hold files but no run."""

    def list(self, prefix: str = "") -> Listing:
        """Every object in the folder `prefix` and below, by the bytes of its path; [] where there is none.

        Temporary files of writers, alive or killed, are left out.
        """
        return sorted(self.walk(prefix), key=_order)

    def walk(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Like `list`, but one by one as they are discovered, in no order."""
        raise NotImplementedError

    def info(self, path: str) -> ObjectInfo | None:
        """Size and version; None if there is no object."""
        raise NotImplementedError

    def find(self, path: str) -> bytes | None:
        """The whole object; None if there is none."""
        raise NotImplementedError

    def read(self, path: str) -> bytes:
        """The whole object; ArtifactError if there is none."""
        data = self.find(path)
        if data is None:
            raise ArtifactError(f"{self.uri(path)} does not exist")
        return data

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes from `start` on; fewer at the end of the object."""
        raise NotImplementedError

    def open(self, path: str) -> BinaryIO:
        """A seekable reader that holds no more than a few MiB."""
        raise NotImplementedError

    def put(self, path: str, data: Data) -> None:
        """Writes or replaces the object, atomically and durably."""
        raise NotImplementedError

    def write(self, path: str, write: Callable[[BinaryIO], object]) -> None:
        """Like `put`, for what `write` writes to the file that it is passed. A folder need not hold it in memory."""
        buffer = io.BytesIO()
        write(buffer)
        self.put(path, buffer.getbuffer())

    def create(self, path: str, data: Data) -> bool:
        """Writes the object unless there is one: of several racing writers, one gets True.

        On an object store a request is repeated when its answer was lost, and then may return False although it was
        this call that created the object. A caller who has to know puts a token into the object, and reads it.
        """
        raise NotImplementedError

    def swap(self, path: str, old: bytes, new: Data) -> bool:
        """Replaces the object if it still holds `old`; else returns False."""
        raise NotImplementedError

    def refuses_stale_swap(self, path: str) -> bool:
        """Whether the storage itself keeps the condition of a swap. An object at `path` may be lost."""
        return True

    def delete(self, path: str) -> None:
        """Removes the object; no error if there is none."""
        raise NotImplementedError

    def settle(self, folder: str) -> None:
        """Makes sure that what is gone from a folder stays gone: who removed it may have been killed just then."""

    def written_by(self, writer: str) -> Storage:
        """The same storage, but temporary files get the name of `writer` (letters and digits)."""
        return self

    def sweep(self, folders: Iterable[str], writer: str = "") -> None:
        """Removes the temporary files that killed writers have left at the root and in `folders`.

        Those of `writer` stay. Those without a writer's name are removed when they are an hour old.
        """

    def folders(self, prefix: str) -> Names:
        """The names of the folders in the folder `prefix`, in order."""
        raise NotImplementedError

    def uri(self, path: str) -> str:
        """The object's full name, for people and for `split_uri`."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root


def checked_path(path: str) -> str:
    """The path; ArtifactError if it leaves its root. Paths come from records, and records can be damaged."""
    if not path or "\0" in path or path.startswith("/") or ".." in path.split("/"):
        raise ArtifactError(f"{quoted(path)} is not the path of an object inside its folder")
    return path


def _order(info: ObjectInfo) -> bytes:
    return info.path.encode("utf-8", "surrogateescape")
