"""Decompression of gzip, bzip2, xz and zstd as streams, in bounded memory; the first bytes tell the format."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

OUT_BYTES = 4 << 20
"""Most text that is decompressed at once: a few bytes may stand for gigabytes."""

_SLICE_BYTES = 16 << 10
_PIECE_BYTES = 128 << 10
"""Most bytes taken from a decompressor at a time: a call that meets damage returns nothing."""

_XZ_MEMORY = 512 << 20
"""A window above this is refused; `xz -9` needs 65 MB."""


class BrokenOffError(Exception):
    """The data end too early, or are damaged; the message says how and where."""


def compression_name(head: bytes) -> str:
    """The compression or archive format of a file with these first 16 bytes; "" for none.

    >>> compression_name(b"\\x1f\\x8b\\x08"), compression_name(b"a rose is")
    ('gzip', '')
    """
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "")


def can_decompress(name: str) -> bool:
    return name == "zstd" or name in _STREAMS


def decompress(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The text of a compressed file, at most OUT_BYTES at a time.

    A file may hold several streams (members of gzip, frames of zstd), as the tools allow.

    Args:
      name: "gzip", "bzip2", "xz" or "zstd".
      chunks: the file, in order.

    Raises:
      BrokenOffError: the data are damaged or end too early; comes after as much text as could be read.
    """
    return _joined(_unzstd(chunks) if name == "zstd" else _streams(name, chunks))


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Joins small pieces into large ones, which are cheaper to process; pieces before an error come before it."""
    pieces_held: list[bytes] = []
    size = 0
    try:
        for piece in pieces:
            if size + len(piece) > OUT_BYTES:
                yield b"".join(pieces_held)
                pieces_held, size = [], 0
            pieces_held.append(piece)
            size += len(piece)
    except BrokenOffError:
        if pieces_held:
            yield b"".join(pieces_held)
        raise
    if pieces_held:
        yield b"".join(pieces_held)


def _streams(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The text of one stream after the other; the file may be padded with zeros."""
    stream: Any = None
    count = read = written = 0
    for data in _slices(chunks):
        read += len(data)
        while True:
            if stream is None:
                data = data.lstrip(b"\0") if count else data
                if not data:
                    break
                stream, count = _STREAMS[name](), count + 1
            held = len(data)
            try:
                out = stream.decompress(data, _PIECE_BYTES)
            except (zlib.error, lzma.LZMAError, OSError, ValueError) as error:
                raise _damaged(name, read - held, written, error) from error
            written += len(out)
            if out:
                yield out
            data = b""
            if stream.eof:
                stream, data = None, stream.unused_data
            elif stream.needs_input:
                break
    if stream is not None:
        raise _truncated(name, read, written)


def _slices(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Slices of the size that a decompressor gets at a time."""
    for chunk in chunks:
        for start in range(0, len(chunk), _SLICE_BYTES):
            yield chunk[start : start + _SLICE_BYTES]


class _Gzip:
    """zlib's decompressor with the interface of bz2's and lzma's."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    source, written = _Source(chunks), 0
    stream = pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd")
    while True:
        try:
            out = stream.read(_SLICE_BYTES)
        except OSError as error:
            if source.error is not None:
                raise source.error from None
            if source.ended and "runcated" in str(error):
                raise _truncated("zstd", source.position, written) from error
            raise _damaged("zstd", source.position, written, error) from error
        if not out:
            return
        written += len(out)
        yield out


class _Source(io.RawIOBase):
    """Chunks of bytes as a file for Arrow."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._held = iter(chunks), memoryview(b"")
        self.position, self.ended = 0, False
        self.error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._held and not self.ended:
            try:
                self._held = memoryview(next(self._chunks))
            except StopIteration:
                self.ended = True
            except BaseException as error:
                self.error = error
                raise OSError("the source failed") from error
        data, self._held = bytes(self._held[:size]), self._held[size:]
        self.position += len(data)
        return data


def _damaged(name: str, read: int, written: int, error: Exception) -> BrokenOffError:
    return BrokenOffError(
        f"is damaged: its {name} data break off near byte {max(0, read):,}, after {written:,} bytes of text ({error})"
    )


def _truncated(name: str, read: int, written: int) -> BrokenOffError:
    return BrokenOffError(
        f"is truncated: its {name} data end too early, at byte {read:,}, after {written:,} bytes of text"
    )


_STREAMS: dict[str, Callable[[], Any]] = {
    "gzip": _Gzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
}

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    *((bytes([0x50 + i]) + b"\x2a\x4d\x18", "zstd") for i in range(16)),  # a skippable frame comes first
    (b"\xfd7zXZ\0", "xz"),
    *((b"BZh%d1AY&SY" % level, "bzip2") for level in range(1, 10)),
    *((b"BZh%d\x17\x72\x45\x38\x50\x90" % level, "bzip2") for level in range(1, 10)),  # of nothing
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"PAR1", "Parquet"),
)
