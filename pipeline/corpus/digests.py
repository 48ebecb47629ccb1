"""Content digests of the input, made from the bytes that counting reads anyway.

A file is digested over fixed ranges of 8 MiB from its start, so that the digests
do not depend on how the work was cut, and each worker makes those that begin in
its own part. Of Parquet one column is read, so one digest a row group is made, of
the stored bytes of that column.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from pipeline.storage.records import Number

RANGE_BYTES = 8 << 20
DIGITS = 32
_Digest = Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{DIGITS}}}$")]


@dataclasses.dataclass(frozen=True)
class FileDigests:
    """Digests of consecutive ranges of a file, or of the row groups of a Parquet file."""

    uri: str
    first: Number
    """The number of the first range or row group."""
    digests: list[_Digest]
    column: str | None = None
    """Of a Parquet file: the column that was read."""


class RangeDigests:
    """Digests of the fixed ranges that begin in start:end of a file, from its bytes as they are read."""

    def __init__(self, start: int, end: int, size: int) -> None:
        self.first = -(-start // RANGE_BYTES)
        last = -(-end // RANGE_BYTES)
        self._position = self.first * RANGE_BYTES
        self._stop = max(self._position, min(last * RANGE_BYTES, size))
        self._hash = hashlib.sha256()
        self._digests: list[str] = []

    def update(self, position: int, data: Any) -> None:
        """Bytes of the file from `position`; no gap may lie between them and those shown before."""
        view = memoryview(data)[max(0, self._position - position) :]
        while len(view) and self._position < self._stop:
            boundary = min((self._position // RANGE_BYTES + 1) * RANGE_BYTES, self._stop)
            part = view[: boundary - self._position]
            self._hash.update(part)
            self._position += len(part)
            view = view[len(part) :]
            if self._position == boundary:
                self._digests.append(self._hash.hexdigest()[:DIGITS])
                self._hash = hashlib.sha256()

    def finish(self, uri: str, read: Callable[[int, int], bytes]) -> FileDigests | None:
        """Gets what is missing by read(start, length); None if no range begins here."""
        while self._position < self._stop:
            length = min(RANGE_BYTES, self._stop - self._position)
            self.update(self._position, read(self._position, length))
        return FileDigests(uri, self.first, self._digests) if self._digests else None
