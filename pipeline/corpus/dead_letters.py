"""Dead letters: input that could not be used, listed by file, offset and reason instead of vanishing."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.storage.commits import Commits
from pipeline.storage.parquet import to_parquet
from pipeline.storage.records import Artifact

FOLDER = "dead_letters"
MAX_ROWS = 10_000
"""Most rows kept for one unit of work; the count includes those beyond."""

SAMPLE_BYTES = 200
"""Bytes of a line that are kept."""

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


def not_in(encoding: str) -> str:
    """The reason that a line is not in the encoding of --encoding; "" stands for UTF-8."""
    return f"not {encoding}" if encoding else NOT_UTF8


class DeadLetters:
    """Collects the bad lines of one unit of work, in the order in which they come."""

    def __init__(self) -> None:
        self.count = 0
        self._rows: list[tuple[str, int, str, bytes]] = []

    def add(self, uri: str, offset: int, reason: str, sample: Any) -> None:
        """Adds a bad line; the first bytes of `sample` are kept."""
        self.count += 1
        if len(self._rows) < MAX_ROWS:
            self._rows.append((displayable(uri), offset, reason, bytes(sample[:SAMPLE_BYTES])))

    @property
    def full(self) -> bool:
        """Whether further rows would be dropped, so that callers need not prepare them."""
        return len(self._rows) >= MAX_ROWS

    def skip(self, count: int) -> None:
        """Counts bad lines without keeping rows for them."""
        self.count += count

    @property
    def rows(self) -> list[tuple[str, int, str, bytes]]:
        """(uri, offset, reason, sample) of the bad lines that are kept."""
        return self._rows

    def extend(self, others: DeadLetters) -> None:
        """Adds those of other lines, which come behind."""
        self.count += others.count
        self._rows += others._rows[: MAX_ROWS - len(self._rows)]

    def table(self) -> pa.Table:
        columns = list(zip(*self._rows)) or [()] * len(SCHEMA)
        return pa.table([pa.array(c, field.type) for c, field in zip(columns, SCHEMA)], schema=SCHEMA)


def displayable(uri: str) -> str:
    """The uri as valid UTF-8; names of files may be any bytes."""
    return uri.encode("utf-8", "backslashreplace").decode()


def put_dead_letters(commits: Commits, name: str, letters: DeadLetters) -> list[Artifact]:
    """Stores the dead letters of a piece of work. Returns their artefact for its record, or [] if there are none."""
    if not letters.count:
        return []
    return [commits.beside(commits.stage, FOLDER).put(f"{name}.parquet", to_parquet(letters.table()))]
