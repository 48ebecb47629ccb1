"""CSV: one field of each record holds the text.

The separator and the header are those of the first file, and hold for all files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.corpus import dead_letters as reasons
from pipeline.corpus.csv_records import Form, RecordEnds, Records, read_records, record_starts
from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.digests import FileDigests
from pipeline.corpus.encodings import DETECTION_BYTES, Encoding, check_beginning, refuse_other_encodings
from pipeline.corpus.files import InputFile
from pipeline.corpus.lines import range_chunks
from pipeline.corpus.readers.csv_header import (
    check_header_text,
    check_separator,
    form_of,
    has_record,
    head_records,
    header_names,
    wanted_field,
)
from pipeline.corpus.readers.reader import LineReader, range_digests
from pipeline.corpus.readers.values import Portion, locate_rows
from pipeline.corpus.spans import as_array
from pipeline.corpus.tokenizers.tokenizer import Tokenizer
from pipeline.corpus.unpacking import LineEnds, head
from pipeline.corpus.work_units import TextRange, TextSource
from pipeline.errors import InputError
from pipeline.kernels import csv_records as kernels
from pipeline.kernels.text import first_invalid
from pipeline.options import Options
from pipeline.runtime.shown_text import shown_list

UNMATCHED = "a quote that is not closed in its record"
BEHIND = "text behind a closing quote"
BACKSLASH = "a quote behind a backslash, where CSV doubles it"
_COMMAS = Form(",")
_BACKSLASH, _SPACE = ord("\\"), ord(" ")


@dataclass(frozen=True)
class CsvReader(LineReader):
    """One field of the records of CSV files.

    Dead letters: records with another number of fields than the first, quotes that do not match, too long, not UTF-8;
    not blank lines. Memory: a block of 8 MiB and the longest record.
    """

    form: Form = _COMMAS
    column: int = 0
    """number of the field, from 0"""
    columns: int = 1
    """fields of a record"""
    header: tuple[str, ...] = ()
    """the names of the fields, which each file begins with; () if the first record is data"""

    @classmethod
    def opened(cls, files: Sequence[InputFile], options: Options, tokenizer: Tokenizer) -> CsvReader:
        field = options.field or ""
        given, encoding = options.separator, Encoding(options.encoding or "")
        filled = [file for file in files if file.size]
        first = next((file for file in filled if has_record(file, encoding)), filled[0])
        _check_encoding(first, encoding)
        form = Form(given or ",", not options.no_quotes, options.max_line_bytes)
        if given is None:
            form = form_of(first, form, encoding)
        else:
            check_separator(given, encoding)
        names = header_names(first, form, encoding)
        header = () if options.no_header else names
        if header:
            check_header_text(first, form, encoding)
        column = wanted_field(first, field, header, len(names))
        return cls(
            tokenizer,
            options.max_line_bytes,
            field,
            max_sentence=options.max_sentence,
            encoding=encoding,
            form=form,
            column=column,
            columns=len(names),
            header=header,
        )

    def identity(self) -> dict[str, Any]:
        rows = {"separator": self.form.separator, "field": self.column + 1, "fields": self.columns}
        quotes = {} if self.form.has_quotes else {"quotes": False}
        return {**super().identity(), "csv": {**rows, "header": bool(self.header), **quotes}}

    def source(self, file: InputFile) -> TextSource | None:
        if self.header and file.size:
            self._check_header(file)
        source = super().source(file)
        return source._replace(cuts=()) if source else None

    def ends(self) -> LineEnds:
        return RecordEnds(self.form)

    def cuts(self, file: InputFile) -> tuple[int, ...]:
        return record_starts(file.uri, file.size, self.form, self.encoding)

    def read(
        self, text_range: TextRange, dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        has_header = bool(self.header) and text_range.start == 0 and text_range.is_first
        with range_digests(text_range, digests) as ranges:
            for records in self._records(range_chunks(text_range, ranges, self.encoding), text_range.end):
                yield self._portion(text_range, records, dead_letters, int(has_header))
                has_header = False

    def preview(self, file: InputFile) -> list[list[str]]:
        records = head_records(file, self.form, self.column, self.encoding)
        if records is None:
            return []
        portion = self._portion(TextRange(file.uri, 0, 0, 0), records, DeadLetters(), int(bool(self.header)))
        return [sentence for spans in portion.spans for sentence in spans.sentences()]

    def _check_header(self, file: InputFile) -> None:
        try:
            names = header_names(file, self.form, self.encoding)
        except InputError:
            if has_record(file, self.encoding):
                raise
            return
        if names != self.header:
            _check_encoding(file, self.encoding)
            check_header_text(file, self.form, self.encoding)
            raise InputError(
                f"{file.uri} differs from the files before it: its header is {shown_list(names)}, not"
                f" {shown_list(self.header)}: name files with the same header, or write them anew with one"
            )

    def _records(self, chunks: Iterator[tuple[int, bytes]], end: int) -> Iterator[Records]:
        return read_records(chunks, end, self.form, self.column)

    def _portion(self, text_range: TextRange, records: Records, dead_letters: DeadLetters, skip: int) -> Portion:
        """The sentences of the records but the first `skip`."""
        is_ragged = (records.kind <= kernels.DOUBLED) & (records.fields != self.columns)
        is_bad = (records.kind >= kernels.TOO_LONG) | is_ragged | _undecodable(records, self.encoding.of_lines)
        is_bad[:skip] = False
        bad = np.flatnonzero(is_bad).tolist()
        for number, i in enumerate(bad):
            if dead_letters.full:
                dead_letters.skip(len(bad) - number)
                break
            line = records.data[records.start[i] : min(records.stop[i], records.start[i] + reasons.SAMPLE_BYTES)]
            place = text_range.offset(records.position + int(records.start[i]))
            dead_letters.add(text_range.name(), place, self._reason(records, i), line)
        is_good = ~is_bad & (records.kind <= kernels.DOUBLED)
        is_good[:skip] = False
        good = np.flatnonzero(is_good)
        line_end = _SPACE if self.tokenizer.joins_lines else kernels.LF
        text, bounds = _as_utf8(*records.gather(good, line_end), self.encoding.of_lines)

        def place_of(row: int) -> str:
            i = int(good[min(row, len(good) - 1)])
            return f"byte {text_range.offset(records.position + int(records.start[i])):,} of {text_range.name()}"

        spans = self.tokenizer.split(text, locate_rows(bounds, place_of)) if len(good) else iter(())
        return Portion(len(good), spans)

    def _reason(self, records: Records, i: int) -> str:
        kind = int(records.kind[i])
        if kind == kernels.TOO_LONG:
            return reasons.TOO_LONG
        if kind == kernels.UNMATCHED:
            return UNMATCHED
        if kind == kernels.BEHIND:
            is_escape = records.data[records.end[i] - 1] == _BACKSLASH and self.encoding.keeps("\\")
            return BACKSLASH if is_escape else BEHIND
        if records.fields[i] != self.columns:
            fields = int(records.fields[i])
            return f"{fields:,} field{'s' * (fields != 1)} where the first record has {self.columns:,}"
        return reasons.not_in(self.encoding.name)


def _check_encoding(file: InputFile, encoding: Encoding) -> None:
    """InputError if the file's first bytes show another encoding, or lines that end in a carriage return alone."""
    text = head(file, DETECTION_BYTES, encoding)
    check_beginning(file.uri, text, encoding.of_lines)
    refuse_other_encodings(TextRange(file.uri, 0, 0, 0), text)


def _undecodable(records: Records, encoding: Encoding) -> np.ndarray:
    """bool [n]: whether a record is not in the encoding."""
    if not encoding.name:
        return _not_utf8(records)
    is_bad = records.kind == kernels.TOO_LONG  # which would take several times its size
    if is_bad.any() or encoding.utf8(bytes(records.data[records.start[0] : records.stop[-1]])) is None:
        for i in np.flatnonzero(~is_bad).tolist():
            is_bad[i] = encoding.utf8(bytes(records.data[records.start[i] : records.stop[i]])) is None
    return is_bad


def _as_utf8(text: np.ndarray, bounds: np.ndarray, encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """Text in an encoding and the ends of its rows, the same in UTF-8."""
    if not encoding.name:
        return text, bounds
    decoded = as_array(encoding.utf8(bytes(text)) or b"")
    rows = np.searchsorted(np.flatnonzero(text == kernels.LF), bounds - 1)
    return decoded, np.flatnonzero(decoded == kernels.LF)[rows] + 1


def _not_utf8(records: Records) -> np.ndarray:
    """bool [n]: whether a record is not UTF-8."""
    is_bad = np.zeros(len(records.start), bool)
    place, end = int(records.start[0]), int(records.stop[-1])
    while (place := first_invalid(records.data, place, end)) < end:
        number = int(np.searchsorted(records.stop, place, side="right"))
        is_bad[number] = True
        place = int(records.stop[number])
    return is_bad
