"""The names of files for results: what an ending says about the format, and the compression that it asks for.

With the same libraries, the same content gives the same bytes: a compressed file holds no time and no name, and one
thread writes it.
"""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, BinaryIO

import pyarrow as pa

from pipeline.errors import InputError
from pipeline.runs.result_files import ResultFile, result_file
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
    "tensorboard": (),
}
"""Format -> the endings that are its own. What is in none of these lists says nothing."""
_ARCHIVES = (
    *(".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".lz4", ".lzma", ".lz", ".lzo", ".sz", ".br", ".z"),
)
"""Endings of packed files that nothing here writes."""
_OTHERS = (
    *(".npz", ".csv", ".json", ".jsonl", ".html", ".h5", ".hdf5", ".arrow", ".feather", ".orc", ".avro", ".pkl", ".pt"),
    *_ARCHIVES,
)
"""Endings of formats that no export has."""


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of a result. Tables and other large ones are compressed if the name says so."""

    files: Sequence[ResultFile]
    compression: str = ""

    def write(self, number: int, write: Callable[[BinaryIO], object]) -> None:
        """Writes a file that is compressed."""

        def compressed(file: BinaryIO) -> None:
            with compressing(file, self.compression) as writer:
                write(writer)

        self.files[number].write(compressed)

    def put(self, number: int, data: bytes) -> None:
        """Writes a file that is not."""
        self.files[number].put(data)

    def pack(self, data: bytes) -> None:
        """Writes the only file, which is compressed."""
        buffer = io.BytesIO()
        with compressing(buffer, self.compression) as writer:
            writer.write(data)
        self.files[0].put(buffer.getbuffer())

    def pack_json(self, value: Any) -> None:
        """`pack` of a value as readable JSON, ending with a newline."""
        text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
        self.pack(text.encode("utf-8", "backslashreplace"))

    @property
    def is_stdout(self) -> bool:
        return any(file.is_stdout for file in self.files)


def one_file(option: str, uri: str) -> Files:
    """The file of a result that has one format; InputError if it cannot be written, or is named like an archive."""
    ending = _ending(uri)
    if ending in _ARCHIVES:
        raise InputError(f"{option}={uri}: {ending} files are not written; leave the ending out, or write .gz")
    file, compression = result_file(option, uri), COMPRESSIONS.get(ending, "")
    check_link(file, compression)
    return Files([file], compression)


def check_link(file: ResultFile, compression: str) -> None:
    """InputError if the file is a link to one whose ending asks for another compression."""
    behind = COMPRESSIONS.get(_ending(file.place), compression)
    if behind != compression:
        raise InputError(
            f"{file.option}={file.uri} is a link to {file.place}, whose ending asks for {behind}: name that file"
        )


def compression_of(format: str, name: str, compressible: bool, folder: bool = False) -> tuple[str, str]:
    """(the compression that the name's ending asks for, that ending), or ("", "").

    Args:
      compressible: whether the format can be compressed.
      folder: whether the name is that of a folder.

    Raises:
      InputError: the ending is that of another format, or the format is not compressed.
    """
    bare, ending = name.rstrip("/"), ""
    if _ending(bare) in COMPRESSIONS:
        ending = bare[-len(_ending(bare)) :]
        bare = bare[: -len(ending)]
    compression = COMPRESSIONS.get(ending.lower(), "")
    own, fitting = _ending(bare), ENDINGS[format]
    remedy = "leave the ending out" + ("" if folder else f", or write {shown_list(fitting)}")
    if own in _OTHERS or own in COMPRESSIONS:
        raise InputError(f"--to={name}: {own} files are not written; {remedy}")
    others = [other for other, endings in ENDINGS.items() if own in endings and own not in fitting]
    if others:
        raise InputError(f"--to={name}: {own} is the ending of --format={others[0]}, not of {format}; {remedy}")
    if compression and not compressible:
        raise InputError(f"--to={name}: --format={format} is not compressed; {remedy}")
    return compression, ending


def _ending(name: str) -> str:
    """The last ending in small letters; "" if there is none, as of `.gz` alone."""
    base = name.rpartition("/")[2]
    stem, dot, ending = base.rpartition(".")
    return f".{ending.lower()}" if stem and dot else ""


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
