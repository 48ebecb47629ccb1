"""Compressed input: told by its content, unpacked once, as a stream, into work text that can be cut."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline import dead_letters as reasons
from pipeline.dead_letters import DeadLetters, write_dead_letters
from pipeline.errors import InputError
from pipeline.input_digests import STAGE as INPUTS_STAGE
from pipeline.input_digests import RangeDigests
from pipeline.inputs import InputFile
from pipeline.lines import read_exactly
from pipeline.records import Artifact, Record, Records
from pipeline.work_units import TextSource

STAGE = "text"
PIECE_BYTES = 64 << 20
"""Bytes of a piece of work text, to the end of its last line."""

_READ_BYTES = 8 << 20
_OUT_BYTES = 4 << 20
_LONG_LINE = 1 << 20
"""Lines below this are left to whoever reads the work text, whatever --max_line_bytes: each one cut out
here ends a piece."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class UnpackedText:
    """The work text of one compressed file."""

    sources: tuple[TextSource, ...]
    bytes: int
    """Of text, bad lines included."""
    bad_lines: int
    """Lines cut out because they are too long; they are in no piece."""
    reused: bool = False


def compression_of(file: InputFile) -> str:
    """ "" for plain text, else the name of a compression that `unpack` knows; told by the first bytes.

    Raises:
      InputError: it is compressed or packed in a way that cannot be read here.
    """
    head = read_exactly(file.uri, 0, min(16, file.size))
    for magic, name in _MAGIC:
        if head.startswith(magic):
            if name not in _UNPACKERS:
                raise InputError(f"{file.uri} is {name} data, which cannot be read yet: unpack it first")
            return name
    return ""


def compressions_of(files: Iterable[InputFile], threads: int = 16) -> list[str]:
    """`compression_of` each file; many at a time, because on an object store each look takes a while."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(compression_of, files))


def unpack(
    file: InputFile,
    index: int,
    records: Records,
    key: str,
    max_line_bytes: int,
    piece_bytes: int = PIECE_BYTES,
) -> UnpackedText:
    """Unpacks a compressed file into work text; an earlier attempt's is used where it is whole.

    Pieces are consecutive parts of the text and end with a line. Memory: a piece
    and the longest line, up to max_line_bytes.

    Args:
      file: a compressed file; `index` is its place in the corpus, which names the pieces.
      max_line_bytes: a longer line becomes a dead letter and is not held.

    Raises:
      InputError: the file is truncated or damaged; it changed since it was listed.
    """
    name = f"file-{index:05d}"
    record = records.valid(STAGE, name, key)
    if record is not None:
        return _unpacked(records, file, record, reused=True)
    digests = RangeDigests(0, file.size, file.size)
    pieces = _Pieces(records, file.uri, index, max(max_line_bytes, _LONG_LINE), piece_bytes)
    for data in _UNPACKERS[compression_of(file)](file.uri, _read(file, digests, _READ_BYTES)):
        pieces.add(data)
    pieces.finish()
    artifacts = list(pieces.artifacts)
    if pieces.dead_letters.count:
        dead = write_dead_letters(pieces.dead_letters.table())
        artifacts.append(records.write_artifact(f"dead_letters/{name}.parquet", dead))
    found = digests.finish(lambda start, length: read_exactly(file.uri, start, length))
    records.commit(Record(INPUTS_STAGE, name, key, (), {file.uri: found}))
    numbers = {
        "bytes": pieces.position,
        "bad_lines": pieces.dead_letters.count,
        "offsets": " ".join(map(str, pieces.offsets)),
    }
    record = Record(STAGE, name, key, tuple(artifacts), numbers)
    records.commit(record)
    return _unpacked(records, file, record)


def head(file: InputFile, size: int) -> bytes:
    """The first `size` bytes of the file's text, or all; without a byte order mark. Reads little more."""
    packed = compression_of(file)
    if packed:
        text = b""
        for data in _UNPACKERS[packed](file.uri, _read(file, None, size)):
            text += data
            if len(text) >= size + 3:
                break
    else:
        text = read_exactly(file.uri, 0, min(size + 3, file.size))
    return text.removeprefix(_BYTE_ORDER_MARK)[:size]


def _unpacked(records: Records, file: InputFile, record: Record, reused: bool = False) -> UnpackedText:
    offsets = map(int, record.numbers["offsets"].split())
    sources = tuple(
        TextSource(records.storage.uri(piece.path), piece.size, file.uri, offset)
        for piece, offset in zip(record.artifacts, offsets)
    )
    return UnpackedText(sources, record.numbers["bytes"], record.numbers["bad_lines"], reused)


class _Pieces:
    """Cuts a stream of text into stored pieces at line ends; leaves overlong lines out."""

    def __init__(self, records: Records, uri: str, index: int, longest: int, piece_bytes: int) -> None:
        self.artifacts: list[Artifact] = []
        self.offsets: list[int] = []
        self.dead_letters = DeadLetters()
        self.position = 0
        """Bytes of the stream seen."""
        self._records, self._uri, self._index = records, uri, index
        self._longest, self._piece_bytes = longest, piece_bytes
        self._held = bytearray()
        self._line = 0  # where in _held its last line begins
        self._skipping = False

    def add(self, data: bytes) -> None:
        if self.position == 0 and data.startswith(_BYTE_ORDER_MARK):
            self.position, data = 3, data[3:]
        self.position += len(data)
        if self._skipping:
            newline = data.find(b"\n")
            if newline < 0:
                return
            self._skipping, data = False, data[newline + 1 :]
        before = len(self._held)
        self._held += data
        newline = data.rfind(b"\n")
        if newline >= 0:
            self._line = before + newline + 1
        while self._line >= self._piece_bytes:
            self._write(self._held.find(b"\n", self._piece_bytes - 1) + 1)
        if len(self._held) - self._line > self._longest:
            start = self.position - len(self._held) + self._line
            self.dead_letters.add(self._uri, start, reasons.TOO_LONG, self._held[self._line :][:256])
            self._write(self._line)
            self._held.clear()
            self._skipping = True

    def finish(self) -> None:
        self._write(len(self._held))

    def _write(self, size: int) -> None:
        """Store the first `size` bytes held as a piece."""
        if not size:
            return
        self.offsets.append(self.position - len(self._held))
        piece, self._held = self._held, self._held[size:]
        del piece[size:]
        path = f"text/{self._index:05d}-{len(self.artifacts):05d}.txt"
        self.artifacts.append(self._records.write_artifact(path, piece))
        self._line = max(0, self._line - size)


def _read(file: InputFile, digests: RangeDigests | None, read_bytes: int) -> Iterator[bytes]:
    for position in range(0, file.size, read_bytes):
        data = read_exactly(file.uri, position, min(read_bytes, file.size - position))
        if digests is not None:
            digests.update(position, data)
        yield data


def _gunzip(uri: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Members one after the other, as gzip itself reads them; zeros may pad the end."""
    stream: Any = None
    members = read = made = 0
    for chunk in chunks:
        read += len(chunk)
        data = chunk
        while data:
            if stream is None:
                data = data.lstrip(b"\0") if members else data
                if not data:
                    break
                stream, members = zlib.decompressobj(wbits=31), members + 1
            try:
                out = stream.decompress(data, _OUT_BYTES)
            except zlib.error as error:
                raise InputError(
                    f"{uri} is damaged: its gzip data break off near byte {read - len(data):,}, after "
                    f"{made:,} bytes of text ({error}); get the file again"
                ) from error
            made += len(out)
            if out:
                yield out
            if stream.eof:
                stream, data = None, stream.unused_data
            else:
                data = stream.unconsumed_tail
    if stream is not None:
        raise InputError(
            f"{uri} is truncated: its gzip data end too early, at byte {read:,}, "
            f"after {made:,} bytes of text; get the file again"
        )


_UNPACKERS: dict[str, Callable[[str, Iterable[bytes]], Iterator[bytes]]] = {"gzip": _gunzip}
"""name -> (uri, chunks of the file) -> chunks of its text."""

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    *((b"BZh%d1AY&SY" % level, "bzip2") for level in range(1, 10)),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
)
