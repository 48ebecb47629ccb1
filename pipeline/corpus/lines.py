"""Lines of a byte range, whole and valid, in text blocks; bad lines become dead letters.

A line ends at a newline and belongs to the byte range in which it begins. So the search for the first line stops at the
end of the range, and its last line is read past the end. Thus every line is read exactly once, wherever the text is
cut.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.corpus import dead_letters as reasons
from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.digests import RangeDigests
from pipeline.corpus.encodings import DETECTION_BYTES, UTF8, Encoding, check_beginning, refuse_other_encodings
from pipeline.corpus.prefetch import take
from pipeline.corpus.spans import as_array
from pipeline.corpus.work_units import TextRange
from pipeline.errors import ArtifactError, InputError
from pipeline.kernels import text as kernels
from pipeline.storage.open_storage import open_storage, split_uri
from pipeline.storage.storage import Storage

BLOCK_BYTES = 8 << 20
"""Bytes read at once; a text block is longer only if a line is."""

_PAST_END = 64 << 10
"""Bytes of the first read beyond the end of a range; later ones double."""

_BAD_AT_ONCE = 4096


@dataclass(frozen=True)
class TextBlock:
    """A text block: consecutive good lines of one text."""

    text_range: TextRange
    offset: int
    """where the block begins in the text, in bytes"""
    data: np.ndarray
    """uint8, read-only: valid UTF-8; the last line may lack its newline"""
    lines: int
    """number of lines in `data`"""
    gaps: tuple[np.ndarray, np.ndarray] = field(default=(np.empty(0, np.int64), np.empty(0, np.int64)))
    """where bad lines were removed: positions in `data`, and the number of bytes removed up to there"""
    line_starts: np.ndarray | None = None
    """int64: of text in another encoding, where each line begins, counted from `offset`"""

    @functools.cached_property
    def _line_ends(self) -> np.ndarray:
        return np.flatnonzero(self.data == kernels.NEWLINE)

    def place(self, position: int) -> int:
        """Where data[position] is in the file that the user gave (in its unpacked text), in bytes.

        Of text in another encoding, it is where its line begins.
        """
        if self.line_starts is not None:
            line = min(int(np.searchsorted(self._line_ends, position)), len(self.line_starts) - 1)
            return self.text_range.offset(self.offset + int(self.line_starts[line]))
        behind = int(np.searchsorted(self.gaps[0], position, side="right"))
        shift = int(self.gaps[1][behind - 1]) if behind else 0
        return self.text_range.offset(self.offset + position + shift)

    def locate(self, position: int) -> str:
        """The place of data[position] in words, for messages."""
        return f"byte {self.place(position):,} of {self.text_range.name()}"


def read_blocks(
    text_range: TextRange,
    max_line_bytes: int,
    dead_letters: DeadLetters,
    digests: RangeDigests | None = None,
    block_bytes: int = BLOCK_BYTES,
    encoding: Encoding = UTF8,
) -> Iterator[TextBlock]:
    """The good lines that begin in a byte range, in order.

    Memory: about 2 * block_bytes, plus the longest line up to max_line_bytes.

    Args:
      text_range: the range.
      max_line_bytes: a longer line (without its newline) is bad, and is never held in memory as a whole.
      dead_letters: gets the bad lines.
      digests: gets every byte that is read.
      block_bytes: bytes to read at once; decides memory and speed, never the result.
      encoding: of the lines; blocks are UTF-8.

    Raises:
      InputError: the text is shorter than when it was listed; it is an archive, or UTF-16 or UTF-32.
    """
    good = _decoded_lines if encoding.of_lines.name else _good_lines
    for offset, data in _whole_lines(text_range, max_line_bytes, dead_letters, digests, block_bytes, encoding):
        yield good(text_range, offset, data, max_line_bytes, dead_letters, encoding)


@functools.lru_cache(maxsize=32)
def _storage(root: str) -> Storage:
    return open_storage(root)


def read_exactly(uri: str, start: int, length: int) -> bytes:
    """Bytes start:start + length of an input file; InputError if it ends before."""
    data = take(uri, start, length)
    if data is not None:
        return data
    root, path = split_uri(uri)
    try:
        data = _storage(root).read_range(path, start, length)
    except ArtifactError as error:  # missing, but it existed when the run began
        raise InputError(f"{error}: the input changed during the run; run again with --overwrite") from error
    if len(data) < length:
        raise InputError(
            f"{uri} changed while it was read: it ends at byte {start + len(data):,}, "
            f"but was longer when the run began; run again with --overwrite"
        )
    return data


def _chunks(text_range: TextRange, digests: RangeDigests | None, block_bytes: int) -> Iterator[tuple[int, bytes]]:
    """(position, bytes), from the byte before the range on, until the text ends or the caller stops."""
    block_bytes = max(block_bytes, 16)  # a byte order mark must not be cut
    position, past = max(text_range.start - 1, 0), min(_PAST_END, block_bytes)
    while position < text_range.size:
        if position < text_range.end:
            length = min(block_bytes, text_range.end - position + past)
        else:
            length, past = past, min(past * 2, block_bytes)
        length = min(length, text_range.size - position)
        data = read_exactly(text_range.uri, position, length)
        if digests is not None:
            digests.update(position, data)
        yield position, data
        position += length


def range_chunks(
    text_range: TextRange, digests: RangeDigests | None, encoding: Encoding = UTF8, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[int, bytes]]:
    """(position, bytes) of a range that is cut where rows end; without a byte-order mark at the start of a file."""
    block_bytes = max(block_bytes, 16)
    for position in range(text_range.start, text_range.end, block_bytes):
        data = read_exactly(text_range.uri, position, min(block_bytes, text_range.end - position))
        if digests is not None:
            digests.update(position, data)
        skip = _mark_of(text_range, data, encoding) if text_range.offset(position) == 0 else 0
        yield position + skip, data[skip:]


def _mark_of(text_range: TextRange, data: bytes, encoding: Encoding) -> int:
    """Bytes of the byte-order mark that a text begins with; InputError for text of another encoding."""
    head = data[:DETECTION_BYTES]
    check_beginning(text_range.name(), head, encoding.of_lines)
    refuse_other_encodings(text_range, head)
    return len(encoding.mark) if encoding.mark and head.startswith(encoding.mark) else 0


class _BegunLine:
    """The beginning of a line that continues in the next chunk. Of an overlong line, a dead letter, nothing is held."""

    def __init__(self, text_range: TextRange, max_line_bytes: int, dead_letters: DeadLetters):
        self._text_range, self._most, self._dead_letters = text_range, max_line_bytes, dead_letters
        self._parts: list[bytes] = []
        self._position = self._bytes = 0
        self._is_overlong = False

    @property
    def is_there(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._parts) or self._is_overlong

    def add(self, position: int, data: bytes) -> None:
        """Begins a line with the bytes at `position` of the text, or continues the one that is there."""
        if self._is_overlong:
            return
        if not self._parts:
            self._position = position
        self._parts.append(data)
        self._bytes += len(data)
        if self._bytes > self._most:
            sample = b"".join(self._parts)[: reasons.SAMPLE_BYTES]
            place = self._text_range.offset(self._position)
            self._dead_letters.add(self._text_range.name(), place, reasons.TOO_LONG, sample)
            self._parts, self._is_overlong = [], True

    def end(self, data: bytes) -> tuple[int, np.ndarray] | None:
        """Ends the line with these bytes, and returns its position and the whole of it; None if it was overlong."""
        line = None if self._is_overlong else (self._position, as_array(b"".join([*self._parts, data])))
        self._parts, self._bytes, self._is_overlong = [], 0, False
        return line


def _whole_lines(
    text_range: TextRange,
    max_line_bytes: int,
    dead_letters: DeadLetters,
    digests: RangeDigests | None,
    block_bytes: int,
    encoding: Encoding,
) -> Iterator[tuple[int, np.ndarray]]:
    """(position, whole lines): the lines that begin in the range. Some overlong lines are left out already."""
    begun = text_range.start == 0  # whether the beginning of the first line is known
    line = _BegunLine(text_range, max_line_bytes, dead_letters)
    for position, data in _chunks(text_range, digests, block_bytes):
        start = 0
        if text_range.offset(position) == 0:
            start = _mark_of(text_range, data, encoding)
        if not begun:
            newline = data.find(b"\n", 0, text_range.end - 1 - position)
            if newline < 0:
                if position + len(data) >= text_range.end - 1:
                    return
                continue
            begun, start = True, newline + 1
        # The last line of the range ends with the first newline at or after its last byte.
        last = data.find(b"\n", max(start, text_range.end - 1 - position))
        final = last >= 0 or position + len(data) == text_range.size
        if last < 0:
            last = len(data) - 1 if final else data.rfind(b"\n")
        stop = last + 1
        if stop > start or final:
            first = start
            if line.is_there:
                first = data.find(b"\n", start, stop) + 1 or stop
                if whole := line.end(data[start:first]):
                    yield whole
            if stop > first:
                yield position + first, as_array(data)[first:stop]
            start = stop
        if final:
            return
        if start < len(data):
            line.add(position + start, data[start:])


def _good_lines(
    text_range: TextRange,
    offset: int,
    data: np.ndarray,
    max_line_bytes: int,
    dead_letters: DeadLetters,
    encoding: Encoding,
) -> TextBlock:
    """The text block without its bad lines, which become dead letters."""
    starts, stops, why = (np.empty(_BAD_AT_ONCE, dtype=np.int64) for _ in range(3))
    bad: list[tuple[np.ndarray, np.ndarray]] = []
    position = 0
    while position < len(data):
        count, position = kernels.bad_lines(data, max_line_bytes, position, starts, stops, why)
        if not count:
            break
        bad.append((starts[:count].copy(), stops[:count].copy()))
        for i in range(count):
            if dead_letters.full:
                dead_letters.skip(count - i)
                break
            line = data[starts[i] : min(stops[i], starts[i] + reasons.SAMPLE_BYTES)]
            reason = reasons.not_in(encoding.name) if why[i] == kernels.NOT_UTF8 else reasons.TOO_LONG
            dead_letters.add(text_range.name(), text_range.offset(offset + int(starts[i])), reason, line)
    if not bad:
        return TextBlock(text_range, offset, data, count_lines(data))
    begin, end = (np.concatenate(ends) for ends in zip(*bad))
    good = np.empty(len(data) - int((end - begin).sum()), dtype=np.uint8)
    kernels.copy_gaps(data, begin, end, good)
    removed = np.cumsum(end - begin)
    good = as_array(good)
    return TextBlock(text_range, offset, good, count_lines(good), (end - removed, removed))


def _decoded_lines(
    text_range: TextRange,
    offset: int,
    data: np.ndarray,
    max_line_bytes: int,
    dead_letters: DeadLetters,
    encoding: Encoding,
) -> TextBlock:
    """Like `_good_lines`, for lines in another encoding than UTF-8."""
    ends = np.flatnonzero(data == kernels.NEWLINE)
    stops = ends + 1 if len(ends) and ends[-1] == len(data) - 1 else np.append(ends + 1, len(data))
    starts = np.concatenate([[0], stops[:-1]])
    text = encoding.utf8(bytes(data)) if (stops - starts).max() <= max_line_bytes else None
    if text is not None:
        return TextBlock(text_range, offset, as_array(text), len(starts), line_starts=starts)
    good: list[bytes] = []
    good_starts: list[int] = []
    for start, stop in zip(starts.tolist(), stops.tolist()):
        line = bytes(data[start:stop])
        is_long = len(line.removesuffix(b"\n")) > max_line_bytes
        decoded = None if is_long else encoding.utf8(line)
        if decoded is None:
            reason = reasons.TOO_LONG if is_long else reasons.not_in(encoding.name)
            dead_letters.add(text_range.name(), text_range.offset(offset + start), reason, line)
        else:
            good.append(decoded)
            good_starts.append(start)
    block = as_array(b"".join(good))
    return TextBlock(text_range, offset, block, len(good), line_starts=np.array(good_starts, np.int64))


def count_lines(data: np.ndarray) -> int:
    """Number of lines of a text (uint8); the last one counts even without a newline."""
    return int(kernels.count_newlines(data)) + int(len(data) > 0 and data[-1] != kernels.NEWLINE)
