"""CSV as records: read in ranges that begin and end with a record, and cut where records end.

>>> data = b'word,"in, or\\nbehind, quotes"\\nlast,one\\n'
>>> [(records.texts(), records.start.tolist()) for records in read_records([(0, data)], len(data), Form(","), 1)]
[(['in, or\\nbehind, quotes', 'one'], [0, 29])]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pipeline.corpus.encodings import UTF8, Encoding
from pipeline.corpus.lines import range_chunks
from pipeline.corpus.spans import as_array
from pipeline.corpus.unpacking import LineEnds
from pipeline.corpus.work_units import TextRange
from pipeline.kernels import csv_records as kernels

_AT_ONCE = 1 << 16
"""Records that the kernel returns at once."""
_CUTS, _FINEST, _COARSEST = 1 << 10, 1 << 10, 8 << 20
"""A file is cut in about so many places, with these distances in bytes at least and at most."""
_PIECE_BYTES = 8 << 20


class Form(NamedTuple):
    """How records are written."""

    separator: str
    """one character, a byte in the encoding"""
    has_quotes: bool = True
    """whether a field may be in quotes; else a quote is a character like others, and each line is a record"""
    most: int = 1 << 20
    """bytes of a record; a longer one is bad, and is not held as a whole"""


class Records(NamedTuple):
    """Consecutive records; record i is data[start[i]:stop[i]], with its line end."""

    position: int
    """where `data` begins in the text, in bytes"""
    data: np.ndarray
    """uint8, read-only"""
    start: np.ndarray
    """int64 [n], rising"""
    stop: np.ndarray
    """int64 [n]; of a record that is too long, the end may be missing"""
    begin: np.ndarray
    """int64 [n], where the wanted field begins, without a quote"""
    end: np.ndarray
    """int64 [n]"""
    fields: np.ndarray
    """int64 [n], number of fields; of a bad record, of those that could be read"""
    kind: np.ndarray
    """uint8 [n], see `kernels.csv_records`"""

    def gather(self, chosen: np.ndarray, line_end: int = kernels.LF) -> tuple[np.ndarray, np.ndarray]:
        """The wanted fields of some records as text.

        Args:
          chosen: int64 [k], numbers of good records; line_end: what a line end within a field becomes.

        Returns:
          (uint8, the fields, each with a line end behind it; int64 [k], where each ends, behind its line end)
        """
        out = np.empty(int((self.end - self.begin)[chosen].sum()) + len(chosen), np.uint8)
        bounds = np.empty(len(chosen), np.int64)
        size = kernels.gather_fields(self.data, self.begin, self.end, self.kind, chosen, line_end, out, bounds)
        return as_array(out[:size]), bounds

    def texts(self) -> list[str]:
        """The wanted fields of the good records as Python strings, for headers and tests."""
        text, bounds = self.gather(np.flatnonzero(self.kind <= kernels.DOUBLED))
        places = [0, *bounds.tolist()]
        return [bytes(text[first : last - 1]).decode(errors="replace") for first, last in zip(places, places[1:])]


def read_records(
    chunks: Iterable[tuple[int, bytes | memoryview]], end: int, form: Form, field: int = -1, last: bool = True
) -> Iterator[Records]:
    """The records of a range, in order.

    Memory: a chunk and the longest record, up to `form.most`.

    Args:
      chunks: (position, bytes), one after the other; the first begins with a record, and the last ends at `end`.
      field: number of the wanted field, from 0.
      last: whether a record ends at `end`; else what is left over there is not returned.
    """
    quote = kernels.QUOTE if form.has_quotes else kernels.NO_QUOTE
    separator = np.uint8(ord(form.separator))
    held, enough, is_skipping = bytearray(), 0, False
    for position, chunk in chunks:
        is_end = position + len(chunk) == end
        if is_skipping:
            behind = bytes(chunk).find(b"\n") + 1
            if not behind:
                continue
            position, chunk, is_skipping = position + behind, chunk[behind:], False
        position -= len(held)
        held += chunk
        if len(held) < enough and not is_end:
            continue
        data, line, final = as_array(held), 0, last and is_end
        while line < len(data):
            start, stop, begin, until, fields = (np.empty(_AT_ONCE, np.int64) for _ in range(5))
            kind = np.empty(_AT_ONCE, np.uint8)
            count, line = kernels.read_records(
                *(data, line, final, quote, separator, form.most, field), start, stop, begin, until, fields, kind
            )
            if not count:
                break
            arrays = (array[:count] for array in (start, stop, begin, until, fields, kind))
            yield Records(position, data, *arrays)
            is_skipping = kind[count - 1] == kernels.TOO_LONG and data[stop[count - 1] - 1] != kernels.LF
        if line:  # else one record is held: it grows in place, and is read less and less often
            held = held[line:]
        enough = min(2 * len(held), form.most + 2)
        del data


def record_starts(uri: str, size: int, form: Form, encoding: Encoding = UTF8) -> tuple[int, ...]:
    """Places where records begin, at about equal distances, by a pass over the whole file."""
    distance = min(max(_FINEST, size // _CUTS), _COARSEST)
    cuts: list[int] = []
    wanted = distance
    chunks = range_chunks(TextRange(uri, 0, size, size), None, encoding)
    for records in read_records(chunks, size, form):
        starts = records.start + records.position
        while wanted <= starts[-1]:
            cuts.append(int(starts[np.searchsorted(starts, wanted)]))
            wanted = (cuts[-1] // distance + 1) * distance
    return tuple(cuts)


class RecordEnds(LineEnds):
    """Where pieces of work text may end: behind any record. Pieces are small, since they are not cut further."""

    piece_bytes = _PIECE_BYTES
    cuts = ()

    def __init__(self, form: Form) -> None:
        self._form, self._enough = form, 0

    def last(self, held: bytearray, known: int, new: int) -> int:
        if new and len(held) - known < self._enough:  # a record that is not over yet
            return known
        with memoryview(held)[known:] as rest:
            for records in read_records([(known, rest)], -1, self._form, last=False):
                ended = records.stop[records.data[records.stop - 1] == kernels.LF]
                known = records.position + int(ended[-1]) if len(ended) else known
        self._enough = min(2 * (len(held) - known), self._form.most + 1)
        return known

    def first(self, held: bytearray, last: int, size: int) -> int:
        return last
