"""Parquet: reads one column, which holds the text or the items, row group by row group.

For byte ranges, the size of a file is that of its decoded column. A row group begins where the one before it ends. Like
a line, it belongs to the range in which it begins, so it is never cut.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.corpus import dead_letters as reasons
from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.digests import DIGITS, Change, FileDigests
from pipeline.corpus.encodings import UTF8, Encoding
from pipeline.corpus.files import InputFile
from pipeline.corpus.lines import read_exactly
from pipeline.corpus.readers.parquet_columns import Column, column_of, is_list, items_in_column, within
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.readers.values import EXPECTED, INTEGERS, NULL, TEXT, Portion, item_spans, locate_rows
from pipeline.corpus.spans import Spans, as_array
from pipeline.corpus.work_units import TextRange, TextSource
from pipeline.errors import InputError
from pipeline.runtime.shown_text import shown
from pipeline.storage.open_storage import open_storage, split_uri

_BATCH_BYTES = 4 << 20
"""About how many bytes of the column are decoded at once."""
_FIRST_ROWS = 16
"""Rows of the first batch of a range. Those that follow grow as its size allows: dictionaries decode to any size."""
_GROWTH = 16
"""How many times as many rows a batch may have as the one before."""
_BUFFER_BYTES = 4 << 20
_PREVIEW_ROWS = 64
_NULL_IN_FIXED = "Expected all lists to be of size"
"""In Arrow's message."""


class RowGroup(NamedTuple):
    number: int
    rows: int
    first_row: int
    start: int
    """bytes of the decoded column before it"""
    size: int
    leaf: int
    """number of the column among those that Parquet stores"""


@dataclass(frozen=True)
class ParquetReader(Reader):
    """One column of Parquet files. Dead letters: null, too long, not UTF-8; their offset is the number of the row.

    Memory: some batches of 4 MiB of the column, plus the longest row.
    """

    offset_unit = "row"
    can_be_compressed = False
    has_columns = True
    leaves_digests = False  # a file may have no rows

    @classmethod
    def items_in(cls, files: Sequence[InputFile], field: str, encoding: Encoding = UTF8) -> str:
        """What the field holds, by the schema of the first file; the message of an error says what it has."""
        file = next((file for file in files if file.size), None)
        if file is None:
            return TEXT
        with _open_parquet(file.uri) as parquet:
            return items_in_column(file.uri, parquet.schema_arrow, field)

    @classmethod
    def change(cls, uri: str, column: str | None, digests: Mapping[int, str], size: int) -> Change:
        """Like `Reader.change`; a part is a row group that has rows, of which the column is compared."""
        with _open_parquet(uri) as parquet:
            groups = _row_groups(parquet, column or "")
            now = {group.number: group_digest(uri, parquet.metadata, group) for group in groups}
        root, path = split_uri(uri)
        info = open_storage(root).info(path)
        is_as_large = info is not None and info.size == size
        unread = now.keys() - digests.keys() if is_as_large else set()
        different = sorted(i for i in now | dict(digests) if i not in unread and now.get(i) != digests.get(i))
        return Change(f"in row group {different[0]}" if different else "", bool(unread))

    def source(self, file: InputFile) -> TextSource:
        if not file.size:
            return TextSource(file.uri, 0)
        with _open_parquet(file.uri) as parquet:
            items = items_in_column(file.uri, parquet.schema_arrow, self.field)
            if items != self.items:
                raise InputError(
                    f"{file.uri} differs from the files before it: --field={self.field} is {EXPECTED[items]} in it, not"
                    f" {EXPECTED[self.items]}"
                )
            groups = _row_groups(parquet, self.field)
        size = groups[-1].start + groups[-1].size if groups else 0
        return TextSource(file.uri, size, version=file.version)

    def read(
        self, text_range: TextRange, dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        with _open_parquet(text_range.uri) as parquet:
            groups = _row_groups(parquet, self.field)
            if not groups or groups[-1].start + groups[-1].size != text_range.size:
                raise InputError(f"{text_range.uri} changed while it was read; run again with --overwrite")
            groups_of_range = [group for group in groups if text_range.start <= group.start < text_range.end]
            most = _Rows()
            for group in groups_of_range:
                row = group.first_row
                for array in _batches(text_range.uri, parquet, group, self.field, most):
                    yield self._portion(text_range, row, array, dead_letters)
                    row += len(array)
            if digests is not None and groups_of_range:
                group_digests = [group_digest(text_range.uri, parquet.metadata, group) for group in groups_of_range]
                digests.append(FileDigests(text_range.uri, groups_of_range[0].number, group_digests, self.field))

    def preview(self, file: InputFile) -> list[list[str]]:
        sentences: list[list[str]] = []
        if file.size:
            with _open_parquet(file.uri) as parquet:
                for group in _row_groups(parquet, self.field)[:1]:
                    for array in _batches(file.uri, parquet, group, self.field, _Rows()):
                        rows = array.slice(0, _PREVIEW_ROWS)
                        portion = self._portion(TextRange(file.uri, 0, 0, 0), 0, rows, DeadLetters())
                        sentences += [sentence for spans in portion.spans for sentence in spans.sentences()]
                        break
        return sentences

    def _portion(self, text_range: TextRange, row: int, array: pa.Array, dead_letters: DeadLetters) -> Portion:
        """The sentences of `array`, which holds the rows from number `row` on."""
        before = dead_letters.count
        array = _decoded(array)
        good = np.asarray(array.is_valid())
        for i in np.flatnonzero(~good).tolist():
            dead_letters.add(text_range.name(), row + i, NULL, b"")
        make_spans = self._text if self.items == TEXT else self._lists
        spans = make_spans(text_range, row, array, good, dead_letters)
        return Portion(len(array) - (dead_letters.count - before), spans)

    def _text(
        self, text_range: TextRange, row: int, array: pa.Array, good: np.ndarray, dead_letters: DeadLetters
    ) -> Iterator[Spans]:
        values = array.cast(pa.large_binary())
        long = good & (np.asarray(pc.fill_null(pc.binary_length(values), 0)) > self.max_line_bytes)
        bad = [(int(i), reasons.TOO_LONG) for i in np.flatnonzero(long)]
        if not _is_text(values):
            kept = np.flatnonzero(good & ~long).tolist()
            bad += [(i, reasons.NOT_UTF8) for i in kept if not _is_text(values.slice(i, 1))]
        for i, why in sorted(bad):
            good[i] = False
            dead_letters.add(text_range.name(), row + i, why, values[i].as_py()[: reasons.SAMPLE_BYTES])
        rows = row + np.flatnonzero(good)
        if not len(rows):
            return iter(())
        values = values.filter(pa.array(good))
        if self.tokenizer.joins_lines:
            values = pc.replace_substring(values, "\n", " ")
        lines = pc.binary_join_element_wise(
            values, pa.scalar(b"", pa.large_binary()), pa.scalar(b"\n", pa.large_binary())
        )
        _, offsets, data = lines.buffers()
        bound = np.frombuffer(offsets, np.int64)[lines.offset : lines.offset + len(lines) + 1]
        text = as_array(data)[bound[0] : bound[-1]]
        return self.tokenizer.split(text, locate_rows(bound[1:] - bound[0], lambda i: _place(text_range, rows, i)))

    def _lists(
        self, text_range: TextRange, row: int, array: pa.Array, good: np.ndarray, dead_letters: DeadLetters
    ) -> Iterator[Spans]:
        array = array.filter(pa.array(good))
        rows = np.flatnonzero(good)
        words, why = _words(_sentences(array), self.items)
        if words is None:  # an item is bad: find the rows with bad items
            fine = np.ones(len(array), bool)
            for i in range(len(array)):
                row_words, why = _words(_sentences(array.slice(i, 1)), self.items)
                if row_words is None:
                    fine[i] = False
                    dead_letters.add(text_range.name(), row + int(rows[i]), why, b"")
            array = array.filter(pa.array(fine))
            words, _ = _words(_sentences(array), self.items)
        bound = _sentences(array).offsets.to_numpy()
        return item_spans(words, bound - bound[0], self.max_sentence)


def group_digest(uri: str, metadata: pq.FileMetaData, group: RowGroup) -> str:
    """SHA-256 of the stored bytes of the column in a row group, shortened to 32 hex digits."""
    digest = hashlib.sha256()
    chunk = metadata.row_group(group.number).column(group.leaf)
    begin = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        begin = min(begin, chunk.dictionary_page_offset)
    for position in range(begin, begin + chunk.total_compressed_size, _BUFFER_BYTES):
        length = min(_BUFFER_BYTES, begin + chunk.total_compressed_size - position)
        digest.update(read_exactly(uri, position, length))
    return digest.hexdigest()[:DIGITS]


@contextlib.contextmanager
def _open_parquet(uri: str) -> Iterator[pq.ParquetFile]:
    root, path = split_uri(uri)
    with open_storage(root).open(path) as file, _parquet_errors(uri):
        yield pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, page_checksum_verification=True)


@contextlib.contextmanager
def _parquet_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if _NULL_IN_FIXED in str(error):
            raise InputError(
                f"{uri} has null where a list of a fixed size belongs, which Arrow cannot read: write the column as"
                " lists of any size"
            ) from error
        raise InputError(f"{uri} is damaged, or no Parquet file: {shown(error)}; get the file again") from error


def _row_groups(parquet: pq.ParquetFile, field: str) -> list[RowGroup]:
    """The row groups that have rows; none where the field is gone."""
    groups, start, row = [], 0, 0
    column = column_of(parquet.schema_arrow, field)
    for index in range(parquet.metadata.num_row_groups if column else 0):
        rows = parquet.metadata.row_group(index).num_rows
        if rows and column:
            size = max(1, parquet.metadata.row_group(index).column(column.leaf).total_uncompressed_size)
            groups.append(RowGroup(index, rows, row, start, size, column.leaf))
            start, row = start + size, row + rows
    return groups


@dataclass
class _Rows:
    """How many rows are decoded at once, by what those before have decoded to."""

    most: int = _FIRST_ROWS

    def adapt(self, rows: int, size: int) -> bool:
        """Whether batches should have another number of rows, after one of so many rows and bytes."""
        fitting = min(max(1, _BATCH_BYTES * rows // max(1, size)), 1 << 16)
        if self.most // 4 <= fitting <= self.most * 2:
            return False
        before, self.most = self.most, min(fitting, self.most * _GROWTH)
        return before != self.most


def _batches(uri: str, parquet: pq.ParquetFile, group: RowGroup, field: str, rows: _Rows) -> Iterator[pa.Array]:
    """The column of a row group, some thousand rows at a time."""
    column = column_of(parquet.schema_arrow, field)
    if column is None:
        raise InputError(f"{uri} has no column {field} any more; run again with --overwrite")
    read = 0
    is_over = False
    while not is_over:  # again from the beginning of the group where batches should have another size
        is_over, skipped = True, read
        for array in _columns(uri, parquet, group, column, rows.most):
            if skipped >= len(array):
                skipped -= len(array)
                continue
            array = array.slice(skipped)
            skipped = 0
            read += len(array)
            size = _decoded_bytes(array)
            yield from _cut(array, size)
            if rows.adapt(len(array), size) and read < group.rows:
                is_over = False
                break
    if read != group.rows:  # Arrow skips what it cannot decode
        raise InputError(
            f"{uri} is damaged: row group {group.number} holds {read:,} rows where its footer says {group.rows:,};"
            " get the file again"
        )


def _columns(uri: str, parquet: pq.ParquetFile, group: RowGroup, column: Column, size: int) -> Iterator[pa.Array]:
    """The column of a row group, `size` rows at a time."""
    stored = parquet.schema.column(column.leaf).path
    batches = parquet.iter_batches(size, row_groups=[group.number], columns=[stored], use_threads=False)
    while True:
        with _parquet_errors(uri):
            batch = next(batches, None)
        if batch is None:
            return
        yield within(batch.column(batch.schema.names.index(column.names[0])), column.names[1:])


def _decoded_bytes(array: pa.Array) -> int:
    """Bytes that the array takes without dictionary encoding."""
    items = array
    while is_list(items.type):
        items = items.flatten()
    if not pa.types.is_dictionary(items.type):
        return array.nbytes
    lengths = pc.binary_length(items.dictionary).cast(pa.int64())
    return array.nbytes + (pc.sum(lengths.take(items.indices)).as_py() or 0)


def _cut(array: pa.Array, size: int) -> Iterator[pa.Array]:
    """The array in parts that decode to a few MiB each."""
    rows = max(1, len(array) * _BATCH_BYTES // max(size, 1)) if size > 2 * _BATCH_BYTES else max(1, len(array))
    for start in range(0, len(array), rows):
        yield array.slice(start, rows)


def _decoded(array: pa.Array) -> pa.Array:
    """The array without dictionary encoding."""
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    return array


def _sentences(rows: pa.LargeListArray) -> pa.LargeListArray:
    """The rows, or the lists in them; no row is null."""
    return rows.flatten() if is_list(rows.type.value_type) else rows


def _words(sentences: pa.LargeListArray, kind: str) -> tuple[pa.LargeStringArray | None, str]:
    """(the items of all sentences as strings, ""), or (None, reason)."""
    items = _decoded(sentences.flatten())
    if items.null_count or sentences.null_count:
        return None, f"null in {EXPECTED[kind]}"
    try:
        if kind == INTEGERS:
            return items.cast(pa.int64()).cast(pa.large_string()), ""
        return items.cast(pa.large_binary()).cast(pa.large_string()), ""
    except pa.ArrowInvalid:
        return None, "an integer beyond 64 bits" if kind == INTEGERS else reasons.NOT_UTF8


def _is_text(values: pa.Array) -> bool:
    """Whether all values are valid UTF-8."""
    try:
        values.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _place(text_range: TextRange, rows: np.ndarray, i: int) -> str:
    return f"row {int(rows[min(i, len(rows) - 1)]):,} of {text_range.name()}"
