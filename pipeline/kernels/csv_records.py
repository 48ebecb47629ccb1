"""Kernels over CSV: where records end, and one field of each.

    record  field (separator field)* line end        a line end is LF, CR LF, or the end of the file
    field   plain, or "quoted", where "" is a quote and line ends are part of the field

A record that does not follow this, or is too long, ends at its first LF. So a stray quote costs its own line, and what
follows is read as if the line had not been there.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.bits import mask_range, trailing_zeros
from pipeline.kernels.compile import kernel
from pipeline.kernels.text import find_newline

_ZERO = np.uint64(0)
QUOTE, CR, LF = 34, 13, 10
NO_QUOTE = 256
"""In place of QUOTE where a quote is a character like others: no byte is equal to it."""

GOOD, DOUBLED, BLANK, TOO_LONG, UNMATCHED, BEHIND = 0, 1, 2, 3, 4, 5
"""Kinds of records. DOUBLED: good, with "" in the wanted field. UNMATCHED: a quote is not closed, or not in its own
record. BEHIND: text follows a closing quote in the record's first line."""
_UNFINISHED = -1


@kernel
def _find_quote(data, start, stop):
    """Index of the first quote in data[start:stop], or -1."""
    i = start
    while i + 64 <= stop:
        mask = mask_range(data, i, 34, 1)
        if mask != _ZERO:
            return i + trailing_zeros(mask)
        i += 64
    while i < stop:
        if data[i] == QUOTE:
            return i
        i += 1
    return -1


@kernel
def _broken(data, line, limit, final, most, kind):
    """(where the record at `line` ends, kind): it is no record up to `limit`, so it ends at its first LF."""
    first = find_newline(data, line, limit)
    if first >= 0:
        return first + 1, UNMATCHED if kind == TOO_LONG else kind
    stop = find_newline(data, limit, data.shape[0])
    end = data.shape[0] if stop < 0 else stop
    if end - line > most:
        kind = TOO_LONG
    if stop < 0:
        return end if final or kind == TOO_LONG else _UNFINISHED, kind
    return stop + 1, kind


@kernel
def read_records(data, line, final, quote, separator, most, field, starts, stops, begins, ends, fields, kinds):
    """Records of data[line:], until the outputs are full or the last record is not finished.

    Args:
      data: uint8 [n]; `line` is where a record begins.
      final: whether data end where a record ends, and not in the middle of one.
      quote: QUOTE or NO_QUOTE; separator: a byte; field: number of the wanted one.
      most: bytes of the longest record, without its line end.
      starts, stops, begins, ends, fields: int64 [m]; kinds: uint8 [m]; written.
        Record i is data[starts[i]:stops[i]] with its line end; data[begins[i]:ends[i]] is the wanted field as it is
        written, without the quotes around it. It is empty where there is none. Of a record BEHIND a quote, ends[i] is
        the place of that quote.

    Returns:
      (records, where to go on: n at the end). Where the last record is TOO_LONG and does not end with LF, the bytes up
      to the next LF belong to it.
    """
    size, count = data.shape[0], 0
    while line < size and count < starts.shape[0]:
        limit = min(size, line + most + 1)
        cut = limit < size  # a record that reaches the limit is too long, however much is there
        i, number, begin, end = line, 0, line, line
        kind, stop = GOOD, _UNFINISHED
        while True:
            doubled = False
            if i < limit and data[i] == quote:
                first = i + 1
                i = first
                while True:
                    i = _find_quote(data, i, limit)
                    if i < 0 or i + 1 >= size or data[i + 1] != QUOTE:
                        break
                    doubled = True
                    i += 2
                if i < 0:
                    if cut or final:
                        stop, kind = _broken(data, line, limit, final, most, TOO_LONG if cut else UNMATCHED)
                    break
                last = i
                i += 1
                ends_here = i == size
                if ends_here and not final:
                    break
                if not ends_here and data[i] == CR:
                    if i + 1 == size and not final:
                        break
                    if i + 1 == size or data[i + 1] == LF:
                        i += 1
                        ends_here = i == size
                if cut and i >= limit:
                    stop, kind = _broken(data, line, limit, final, most, TOO_LONG)
                    break
                if not ends_here and data[i] != separator and data[i] != LF:
                    crosses = find_newline(data, line, i) >= 0
                    stop, kind = _broken(data, line, i, final, most, UNMATCHED if crosses else BEHIND)
                    end = last
                    break
            else:
                first = i
                while i < limit and data[i] != separator and data[i] != LF:
                    i += 1
                if i == limit and (cut or not final):
                    if cut:
                        stop, kind = _broken(data, line, limit, final, most, TOO_LONG)
                    break
                last = i
                if last > first and data[last - 1] == CR and (i == size or data[i] == LF):
                    last -= 1
            if number == field:
                begin, end = first, last
                kind = DOUBLED if doubled else GOOD
            number += 1
            if i < size and data[i] == separator:
                i += 1
                continue
            stop = min(i + 1, size)
            if number == 1 and last == first and data[line] != quote:
                kind = BLANK
            break
        if stop == _UNFINISHED:
            break
        starts[count], stops[count], begins[count], ends[count] = line, stop, begin, end
        fields[count], kinds[count] = number, kind
        count += 1
        line = stop
    return count, line


@kernel
def gather_fields(data, begins, ends, kinds, chosen, line_end, out, bounds):
    """Copy fields to `out`, one after the other, each with LF behind it; "" becomes a quote.

    Args:
      begins, ends, kinds: of `read_records`; chosen: int64 [k], numbers of the records.
      line_end: what an LF within a field becomes.
      out: uint8 [bytes of the fields + k], written; bounds: int64 [k], written: where each field ends, behind its LF.

    Returns:
      Bytes written.
    """
    n = 0
    for k in range(chosen.shape[0]):
        record = chosen[k]
        i = begins[record]
        while i < ends[record]:
            byte = data[i]
            out[n] = line_end if byte == LF else byte
            n += 1
            i += 2 if byte == QUOTE and kinds[record] == DOUBLED else 1
        out[n] = LF
        n += 1
        bounds[k] = n
    return n
