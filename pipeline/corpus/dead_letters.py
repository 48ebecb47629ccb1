"""Dead letters: input that could not be used, told by file, offset and reason instead of being swallowed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.storage.commits import Commits
from pipeline.storage.parquet import to_parquet
from pipeline.storage.records import Artifact

FOLDER = "dead_letters"
MAX_ROWS = 10_000
"""Rows kept of one unit of work; the count of all is always whole."""

SAMPLE_BYTES = 200
"""Bytes kept of a line."""

NOT_UTF8 = "not UTF-8"
TOO_LONG = "longer than --max_line_bytes"
BROKEN_OFF = "the compressed data break off in this line"

SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("sample", pa.binary(), nullable=False),
    ]
)
"""`offset` is where the line begins, in bytes (of the unpacked text, if the file is compressed)."""


class DeadLetters:
    """Collects the bad lines of one unit of work, in the order in which they come."""

    def __init__(self) -> None:
        self.count = 0
        self._rows: list[tuple[str, int, str, bytes]] = []

    def add(self, uri: str, offset: int, reason: str, sample: Any) -> None:
        """Note a bad line; of `sample` (its bytes, or the first of them) a few are kept."""
        self.count += 1
        if len(self._rows) < MAX_ROWS:
            self._rows.append((displayable(uri), offset, reason, bytes(sample[:SAMPLE_BYTES])))

    @property
    def full(self) -> bool:
        """Whether further rows would be dropped, so that they need not be made."""
        return len(self._rows) >= MAX_ROWS

    def skip(self, count: int) -> None:
        """Count bad lines without rows for them."""
        self.count += count

    def table(self) -> pa.Table:
        columns = list(zip(*self._rows)) or [()] * len(SCHEMA)
        return pa.table([pa.array(c, field.type) for c, field in zip(columns, SCHEMA)], schema=SCHEMA)


def displayable(uri: str) -> str:
    """The uri as text that UTF-8 can hold: file names of POSIX may be any bytes."""
    return uri.encode("utf-8", "backslashreplace").decode()


def put_dead_letters(commits: Commits, name: str, letters: DeadLetters) -> list[Artifact]:
    """Stores the dead letters of a piece of work; an artefact of its record, or none where there are no bad lines."""
    if not letters.count:
        return []
    return [commits.beside(commits.stage, FOLDER).put(f"{name}.parquet", to_parquet(letters.table()))]
