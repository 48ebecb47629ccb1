"""Content digests of the input, computed from the bytes that counting reads anyway.

Digests are over fixed ranges of 8 MiB from the start of a file, so they do not depend on the units of work. Each worker
computes those that begin in its own byte ranges. Of Parquet files one column is read, so each row group gets one
digest, of the stored bytes of that column.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from pipeline.errors import InputError
from pipeline.storage.open_storage import open_storage, split_uri
from pipeline.storage.records import Number

RANGE_BYTES = 8 << 20
DIGITS = 32
_Digest = Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{DIGITS}}}$")]


@dataclasses.dataclass(frozen=True)
class FileDigests:
    """Digests of consecutive ranges of a file, or of the row groups of a Parquet file."""

    uri: str
    first: Number
    """number of the first range or row group"""
    digests: list[_Digest]
    column: str | None = None
    """of a Parquet file, the column that was read"""


class Change(NamedTuple):
    """How an input file differs from what a run has read of it."""

    place: str
    """where the first difference is; "" if there is none"""
    has_unread: bool
    """whether the run has not read all of the file yet"""


class RangeDigests:
    """Computes the digests of the fixed ranges that begin in bytes start:end of a file, as the file is read."""

    def __init__(self, start: int, end: int, size: int) -> None:
        self.first = -(-start // RANGE_BYTES)
        last = -(-end // RANGE_BYTES)
        self._position = self.first * RANGE_BYTES
        self._stop = max(self._position, min(last * RANGE_BYTES, size))
        self._hash = hashlib.sha256()
        self._digests: list[str] = []

    def update(self, position: int, data: Any) -> None:
        """Adds the bytes of the file from `position` on, which must follow those added before without a gap."""
        view = memoryview(data)[max(0, self._position - position) :]
        while len(view) and self._position < self._stop:
            boundary = min((self._position // RANGE_BYTES + 1) * RANGE_BYTES, self._stop)
            data_in_range = view[: boundary - self._position]
            self._hash.update(data_in_range)
            self._position += len(data_in_range)
            view = view[len(data_in_range) :]
            if self._position == boundary:
                self._digests.append(self._hash.hexdigest()[:DIGITS])
                self._hash = hashlib.sha256()

    def finish(self, uri: str, read: Callable[[int, int], bytes]) -> FileDigests | None:
        """Reads missing bytes by read(start, length), and returns the digests; None if no fixed range begins here."""
        while self._position < self._stop:
            length = min(RANGE_BYTES, self._stop - self._position)
            self.update(self._position, read(self._position, length))
        return FileDigests(uri, self.first, self._digests) if self._digests else None


def change_of_ranges(uri: str, digests: Mapping[int, str], size: int) -> Change:
    """Compares a file with the digests of its fixed ranges.

    Args:
      digests: number of the range -> its digest.
      size: of the file when the run began. Ranges within it that have no digest were not read yet.

    Raises:
      InputError: the file is gone.
    """
    root, path = split_uri(uri)
    storage = open_storage(root)
    info = storage.info(path)
    if info is None:
        raise InputError(f"{uri} is missing: the run has read it")
    has_unread = False
    for i in range(max(max(digests) + 1, -(-info.size // RANGE_BYTES))):
        if i not in digests and i * RANGE_BYTES < size:
            has_unread = True
            continue
        data = storage.read_range(path, i * RANGE_BYTES, RANGE_BYTES)
        if hashlib.sha256(data).hexdigest()[:DIGITS] != digests.get(i):
            return Change(f"within bytes {i * RANGE_BYTES:,} to {(i + 1) * RANGE_BYTES:,}", has_unread)
    return Change("", has_unread)


def first_digest(uri: str) -> str:
    """The digest of the first range of a file."""
    root, path = split_uri(uri)
    return hashlib.sha256(open_storage(root).read_range(path, 0, RANGE_BYTES)).hexdigest()[:DIGITS]
