"""Compressed input: each file is unpacked once, as a stream, into work text that can be cut into byte ranges."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.corpus import dead_letters as reasons
from pipeline.corpus.dead_letters import DeadLetters, put_dead_letters
from pipeline.corpus.decompression import BrokenOffError, can_decompress, compression_name, decompress
from pipeline.corpus.digests import FileDigests, RangeDigests
from pipeline.corpus.encodings import BYTE_ORDER_MARK, DETECTION_BYTES, UTF8, Encoding, check_beginning
from pipeline.corpus.files import InputFile, check_unchanged
from pipeline.corpus.lines import read_exactly
from pipeline.corpus.work_units import TextSource
from pipeline.errors import InputError
from pipeline.runtime.messages import warn
from pipeline.runtime.shown_text import shown
from pipeline.storage.commits import Commits, Made
from pipeline.storage.records import Artifact, Number

STAGE = "text"
PIECE_BYTES = 64 << 20
"""Bytes of a piece of work text, up to the end of its last line."""

_READ_BYTES = 8 << 20
_LONG_LINE = 1 << 20
"""Shorter lines are left to the reader of the work text, whatever --max_line_bytes says: each line that is removed here
ends a piece."""

_MOST_TIMES, _ANY_FILE = 200, 1 << 30
"""How many times its size a file may unpack to, and bytes that any file may: text unpacks to 3 to 20 times its size."""

_REMEDY = "get the file again, or use the text before that with --allow_truncated"


class LineEnds:
    """Where pieces of work text may end: behind any line."""

    piece_bytes = PIECE_BYTES
    cuts: tuple[int, ...] | None = None
    """where pieces may be cut further, see `TextSource`"""

    def last(self, held: bytearray, known: int, new: int) -> int:
        """The last such place in `held`.

        Args:
          known: the last one before; new: where bytes begin that were not there then.
        """
        return max(known, held.rfind(b"\n", new) + 1)

    def first(self, held: bytearray, last: int, size: int) -> int:
        """A place for a piece of at least `size` bytes to end, up to the `last` one."""
        return held.find(b"\n", size - 1) + 1


AT_LINES = LineEnds()


@dataclass(frozen=True)
class TextNumbers:
    """What is recorded of a compressed file; its artefacts are the pieces, and dead letters if there are any.

    Of a plain file that may not be cut everywhere, `offsets` are the places where it may be (see `record_cuts`).
    """

    bytes: Number
    bad_lines: Number
    offsets: list[Number]
    """where each piece begins in the unpacked text"""
    files: list[FileDigests]
    """digests of the compressed file"""


@dataclass(frozen=True)
class UnpackedText:
    """The work text of one compressed file."""

    sources: tuple[TextSource, ...]
    bytes: int
    """of text, with bad lines"""
    bad_lines: int
    """lines that were removed because they are too long, or broken off"""


def compression_of(file: InputFile) -> str:
    """The compression of a file, by its first bytes; "" for plain text.

    Raises:
      InputError: the file is compressed or packed in a format that `unpack` cannot read.
    """
    name = compression_name(read_exactly(file.uri, 0, min(16, file.size)))
    if name == "Parquet":
        raise InputError(f"{file.uri} is a Parquet file: read it with --input_format=parquet --field=NAME")
    if name and not can_decompress(name):
        raise InputError(f"{file.uri} is {name} data, which cannot be read: unpack it first")
    return name


def compressions_of(files: Iterable[InputFile], threads: int = 16) -> list[str]:
    """`compression_of` each file, in parallel: a request to an object store takes tens of milliseconds."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(compression_of, files))


def unpacked_name(index: int) -> str:
    """The name of the records of a compressed file, by its place in the corpus."""
    return f"file-{index:09d}"


def unpack(
    commits: Commits,
    file: InputFile,
    index: int,
    max_line_bytes: int,
    piece_bytes: int = 0,
    allow_truncated: bool = False,
    ends: LineEnds = AT_LINES,
    encoding: Encoding = UTF8,
) -> UnpackedText:
    """Unpacks a compressed file into work text, or finds that of an earlier attempt.

    Pieces are consecutive parts of the text, which end with a line. Memory: a piece and the longest line, up to
    max_line_bytes.

    Args:
      commits: of this stage.
      file: a compressed file; `index` is its place in the corpus, which names the pieces.
      max_line_bytes: a longer line becomes a dead letter, and is not held in memory.
      piece_bytes: 0 stands for what suits `ends`, which says where pieces may end.
      encoding: of the file; a wide one is turned into UTF-8.
      allow_truncated: use a damaged file up to the last whole line; the line that breaks off becomes a dead letter.

    Raises:
      InputError: the file is truncated or damaged, has changed since it was listed, or unpacks to far more than text.
    """

    def make() -> Made:
        digests = RangeDigests(0, file.size, file.size)
        pieces = _Pieces(commits, file.uri, index, max(max_line_bytes, _LONG_LINE), piece_bytes, ends)
        try:
            for data in _text(file, compression_of(file), _read(file, digests, _READ_BYTES), encoding):
                pieces.add(data)
                if pieces.position > max(_ANY_FILE, _MOST_TIMES * file.size):
                    raise _too_much(commits, file, pieces)
        except BrokenOffError as error:
            if not allow_truncated:
                raise InputError(f"{file.uri} {error}; {_REMEDY}") from error
            warn(f"{shown(file.uri)} {error}: the text before that is used (--allow_truncated)")
            pieces.break_off()
        pieces.finish()
        check_unchanged(file.uri, file.version)
        file_digests = digests.finish(file.uri, lambda start, length: read_exactly(file.uri, start, length))
        files = [file_digests] if file_digests else []
        numbers = TextNumbers(pieces.position, pieces.dead_letters.count, pieces.offsets, files)
        return (*pieces.artifacts, *put_dead_letters(commits, name, pieces.dead_letters)), numbers

    name = unpacked_name(index)
    record = commits.once(name, make)
    numbers = record.read(TextNumbers)
    sources = tuple(
        TextSource(commits.records.storage.uri(piece.path), piece.size, file.uri, offset, "", file.version, ends.cuts)
        for piece, offset in zip(record.artifacts, numbers.offsets)
    )
    return UnpackedText(sources, numbers.bytes, numbers.bad_lines)


def _too_much(commits: Commits, file: InputFile, pieces: _Pieces) -> InputError:
    """The error for a file that would fill the disk; its pieces are removed."""
    for piece in pieces.artifacts:
        commits.delete(piece.path)
    return InputError(
        f"{file.uri} has {file.size:,} bytes and unpacks to more than {pieces.position:,}, over {_MOST_TIMES} times as"
        " many: it may be made to fill the disk. If it is not, unpack it yourself and give the text as --input"
    )


def head(file: InputFile, size: int, encoding: Encoding = UTF8) -> bytes:
    """The first `size` bytes of the file's text, without a byte order mark. It reads little more than that.

    They are UTF-8 where the encoding is wide, and as they stand in the text otherwise.
    """
    packed = compression_of(file)
    if not packed and not encoding.is_wide:
        text = read_exactly(file.uri, 0, min(size + 4, file.size))
    else:
        text = b""
        try:
            for data in _text(file, packed, _read(file, None, max(size, DETECTION_BYTES)), encoding):
                text += data
                if len(text) >= size + 4:
                    break
        except BrokenOffError:  # reported when the file is unpacked
            pass
    return text.removeprefix(encoding.mark)[:size]


def _text(file: InputFile, packed: str, chunks: Iterable[bytes], encoding: Encoding) -> Iterator[bytes]:
    """The text of a file, unpacked if it is compressed, as UTF-8 if its encoding is wide."""
    text = iter(decompress(packed, chunks) if packed else chunks)
    first = next(text, b"")
    check_beginning(file.uri, first[:DETECTION_BYTES], encoding)
    text = itertools.chain([first], text)
    yield from encoding.stream(text) if encoding.is_wide else text


class _Pieces:
    """Cuts a stream of text into pieces where `ends` allows it, and stores them; overlong lines are left out."""

    def __init__(self, commits: Commits, uri: str, index: int, longest: int, piece_bytes: int, ends: LineEnds) -> None:
        self.artifacts: list[Artifact] = []
        self.offsets: list[int] = []
        self.dead_letters = DeadLetters()
        self.position = 0
        """bytes of the stream so far"""
        self._commits, self._uri, self._index = commits, uri, index
        self._longest, self._piece_bytes, self._ends = longest, piece_bytes or ends.piece_bytes, ends
        self._held = bytearray()
        self._line = 0  # where the last line begins in _held
        self._skipping = False

    def add(self, data: bytes) -> None:
        if self.position == 0 and data.startswith(BYTE_ORDER_MARK):
            self.position, data = 3, data[3:]
        self.position += len(data)
        if self._skipping:
            newline = data.find(b"\n")
            if newline < 0:
                return
            self._skipping, data = False, data[newline + 1 :]
        before = len(self._held)
        self._held += data
        self._line = self._ends.last(self._held, self._line, before)
        while self._line >= self._piece_bytes:
            self._write(self._ends.first(self._held, self._line, self._piece_bytes))
        if len(self._held) - self._line > self._longest:
            start = self.position - len(self._held) + self._line
            self.dead_letters.add(self._uri, start, reasons.TOO_LONG, self._held[self._line :][:256])
            self._write(self._line)
            self._held.clear()
            self._skipping = True

    def break_off(self) -> None:
        """Leaves out the last line, because its rest is unknown."""
        if len(self._held) > self._line:
            start = self.position - len(self._held) + self._line
            self.dead_letters.add(self._uri, start, reasons.BROKEN_OFF, self._held[self._line :][:256])
        self._write(self._line)
        self._held.clear()

    def finish(self) -> None:
        """Stores the rest."""
        self._write(len(self._held))

    def _write(self, size: int) -> None:
        """Stores the first `size` bytes of _held as a piece."""
        if not size:
            return
        self._commits.check_lock()  # unpacking a large file takes longer than the lifetime of a lock
        self.offsets.append(self.position - len(self._held))
        piece, self._held = self._held, self._held[size:]
        del piece[size:]
        name = f"{unpacked_name(self._index)}/piece-{len(self.artifacts):09d}.txt"
        self.artifacts.append(self._commits.put(name, piece))
        self._line = max(0, self._line - size)


def _read(file: InputFile, digests: RangeDigests | None, read_bytes: int) -> Iterator[bytes]:
    for position in range(0, file.size, read_bytes):
        data = read_exactly(file.uri, position, min(read_bytes, file.size - position))
        if digests is not None:
            digests.update(position, data)
        yield data
