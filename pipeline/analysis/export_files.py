"""The names of exported files: what an ending says about the format, and the compression that it asks for.

With the same libraries, the same content gives the same bytes: a compressed file holds no time and no name, and one
thread writes it.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO

import pyarrow as pa

from pipeline.errors import InputError
from pipeline.runtime.shown_text import shown_list

COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".bz2": "bzip2", ".zst": "zstd", ".zstd": "zstd", ".xz": "xz"}
"""Ending -> compression."""
ENDINGS = {
    "word2vec": (".txt", ".vec"),
    "glove": (".txt", ".vec"),
    "word2vec-binary": (".bin",),
    "npy": (".npy",),
    "projector": (".tsv",),
    "safetensors": (".safetensors",),
    "parquet": (".parquet", ".pq"),
}
"""Format -> the endings that are its own. What is in none of these lists says nothing."""
_OTHERS = (
    *(".npz", ".csv", ".json", ".jsonl", ".html", ".h5", ".hdf5", ".arrow", ".feather", ".orc", ".avro", ".pkl", ".pt"),
    *(".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".lz4", ".lzma", ".lz", ".lzo", ".sz", ".br", ".z"),
)
"""Endings of formats that nothing here writes."""


def compression_of(format: str, name: str, compressible: bool) -> tuple[str, str]:
    """(the compression that the name's ending asks for, that ending), or ("", "").

    Raises:
      InputError: the ending is that of another format, or the format is not compressed.
    """
    bare, ending = name.rstrip("/"), ""
    if _ending(bare) in COMPRESSIONS:
        ending = bare[-len(_ending(bare)) :]
        bare = bare[: -len(ending)]
    compression = COMPRESSIONS.get(ending.lower(), "")
    own, fitting = _ending(bare), ENDINGS[format]
    if own in _OTHERS or own in COMPRESSIONS:
        raise InputError(f"--to={name}: {own} files are not written; {_remedy(format)}")
    others = [other for other, endings in ENDINGS.items() if own in endings and own not in fitting]
    if others:
        raise InputError(
            f"--to={name}: {own} is the ending of --format={others[0]}, not of {format}; {_remedy(format)}"
        )
    if compression and not compressible:
        raise InputError(f"--to={name}: --format={format} is not compressed; {_remedy(format)}")
    return compression, ending


def _ending(name: str) -> str:
    """The last ending in small letters; "" if there is none, as of `.gz` alone."""
    base = name.rpartition("/")[2]
    stem, dot, ending = base.rpartition(".")
    return f".{ending.lower()}" if stem and dot else ""


def _remedy(format: str) -> str:
    return f"leave the ending out, or write {shown_list(ENDINGS[format])}"


@contextlib.contextmanager
def compressing(file: BinaryIO, compression: str) -> Iterator[BinaryIO]:
    """A file that compresses into `file`, which stays open; `file` itself for ""."""
    if not compression:
        yield file
        return
    writer = _WRITERS[compression](file)
    yield writer  # type: ignore[misc]
    writer.close()


class _KeptOpen:
    """A file without its close(), which a stream of Arrow calls at its end."""

    closed = False

    def __init__(self, file: BinaryIO):
        self.write, self.flush = file.write, file.flush

    def close(self) -> None:
        pass


_WRITERS: dict[str, Callable[[BinaryIO], IO[bytes]]] = {
    "gzip": lambda file: gzip.GzipFile("", "wb", 6, file, mtime=0),  # type: ignore[dict-item, return-value]
    "bzip2": lambda file: bz2.BZ2File(file, "wb"),
    "zstd": lambda file: pa.CompressedOutputStream(_KeptOpen(file), "zstd"),
    "xz": lambda file: lzma.LZMAFile(file, "wb"),  # noqa: SIM115
}
