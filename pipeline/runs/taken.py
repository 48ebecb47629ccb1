"""The files that a chain of runs has taken: so that --update=RUN --input='texts/*' takes the new ones alone.

They are stored with the totals:

    totals/KEY/files.parquet   uri string, size int64, version string, column string, numbers list<int64>, digests
                               list<string>: the content digests that counting has left, of these parts of the file
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.corpus.dead_letters import displayable
from pipeline.corpus.digests import first_digest
from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.reader import Reader
from pipeline.errors import InputError
from pipeline.runs.input_check import RecordedFile
from pipeline.runtime.process import each
from pipeline.runtime.shown_text import counted, shown_list
from pipeline.storage.open_storage import is_remote

SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("column", pa.string()),
        pa.field("numbers", pa.list_(pa.int64()), nullable=False),
        pa.field("digests", pa.list_(pa.string()), nullable=False),
    ]
)
_NAMED = 3


def files_table(
    inputs: Sequence[Mapping[str, Any]], recorded: Mapping[str, RecordedFile], parent: pa.Table | None = None
) -> pa.Table:
    """The files of this run behind those of its parent.

    Args:
      inputs: of run.json.
      recorded: uri -> the digests that counting has left.
      parent: a table of SCHEMA.
    """
    rows = []
    for file in inputs:
        known = recorded.get(file["uri"], RecordedFile({}, None))
        numbers = sorted(known.digests)
        content = {"numbers": numbers, "digests": [known.digests[number] for number in numbers]}
        rows.append({**file, **content, "uri": displayable(file["uri"]), "column": known.column})
    own = pa.Table.from_pylist(rows, schema=SCHEMA)
    return own if parent is None else pa.concat_tables([parent, own])


def new_files(files: Sequence[InputFile], taken: pa.Table, reader: Reader, skip: bool, option: str) -> list[InputFile]:
    """The files that the chain has not taken.

    A file was taken if there is one of its name, size and version among `taken`, or one of its size and content: it may
    have been copied, or touched. Only files that have the size of one that was taken are read for that.

    Args:
      skip: whether those that were taken are left out (--skip_taken).
      option: the parent, for messages.

    Raises:
      InputError: some were taken, and `skip` is not set; or all of them were.
    """
    by_size: dict[int, list[dict[str, Any]]] = {}
    for row in taken.to_pylist():
        by_size.setdefault(row["size"], []).append(row)

    def is_taken(file: InputFile) -> bool:
        rows = by_size.get(file.size, ()) if file.size else ()
        if any((row["uri"], row["version"]) == (displayable(file.uri), file.version) for row in rows):
            return True
        first = first_digest(file.uri) if rows and not reader.has_columns else None
        return any(_has_content(file, row, reader) for row in rows if first in (None, *row["digests"][:1]))

    marks = list(each(is_taken, files, bool(files) and is_remote(files[0].uri)))
    old = [file.uri for file, mark in zip(files, marks) if mark]
    if old and not skip:
        raise InputError(
            f"{option} and the runs before it have taken {len(old):,} of {counted(len(files), 'file')} of --input"
            f" already ({shown_list(old[:_NAMED])}{', …' if len(old) > _NAMED else ''}): name the new ones alone, or"
            " leave the others out by --skip_taken"
        )
    new = [file for file, mark in zip(files, marks) if not mark]
    if old and not new:
        raise InputError(f"{option} and the runs before it have taken all files of --input: there is nothing new")
    return new


def _has_content(file: InputFile, row: Mapping[str, Any], reader: Reader) -> bool:
    """Whether a file has the content of one that was taken."""
    if not row["digests"] or row["numbers"][0]:
        return False
    change = reader.change(file.uri, row["column"], dict(zip(row["numbers"], row["digests"])), file.size)
    return not change.place and not change.has_unread
