"""Reads vectors from files of other tools: word2vec text and binary, fastText's .vec, GloVe, Parquet, NumPy.

All of them give blocks of (words, input vectors, output vectors or None). Text and binary may be compressed. The format
is detected by the content, not by the name.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.corpus.decompression import BrokenOffError, can_decompress, compression_name, decompress
from pipeline.errors import ArtifactError, InputError
from pipeline.runtime.shown_text import quoted, shown, shown_list
from pipeline.storage.open_storage import open_storage, split_uri

BLOCK_WORDS = 1 << 16
"""Words that are read at a time."""
_PIECE_BYTES = 4 << 20
_HEADER = re.compile(rb"([0-9]+) ([0-9]+)\s*")
_LONGEST_LINE = 16 << 20
_FASTTEXT_MODEL = b"\xba\x16\x4f\x2f"


@dataclass(frozen=True)
class VectorBlock:
    """Some words of a file, in its order."""

    words: pa.Array
    """string [n]"""
    input: np.ndarray
    """float32 [n, dims]"""
    output: np.ndarray | None = None
    """float32 [n, dims]; None where the file has one vector a word"""


@dataclass(frozen=True)
class VectorFile:
    """A file of vectors that an option names."""

    option: str
    uri: str
    dims: int

    def digest(self) -> str:
        """SHA-256 of the bytes, hex, with those of the words beside a .npy file; InputError if it cannot be read."""
        digest = hashlib.sha256()
        for uri in (self.uri, words_beside(self.uri)) if self._head().startswith(b"\x93NUMPY") else (self.uri,):
            with self._open(uri) as file:
                while data := file.read(_PIECE_BYTES):
                    digest.update(data)
        return digest.hexdigest()

    def blocks(self) -> Iterator[VectorBlock]:
        """All vectors, BLOCK_WORDS at a time.

        Raises:
          InputError: the file cannot be read; its vectors have other or mixed lengths, or are not finite.
        """
        head = self._head()
        if head.startswith(_FASTTEXT_MODEL):
            raise self._error("is a model of fastText: take the .vec file that is written beside it")
        if head.startswith(b"PAR1"):
            blocks = self._parquet()
        elif head.startswith(b"\x93NUMPY"):
            blocks = self._npy()
        else:
            blocks = self._lines(_Bytes(self._pieces(head)))
        first = 0
        for block in blocks:
            for matrix in (block.input, block.output):
                if matrix is not None and not np.isfinite(matrix).all():
                    row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
                    word = quoted(block.words[row].as_py(), 60)
                    raise self._error(f"has a vector that is not finite, of {word} (number {first + row + 1:,})")
            first += len(block.words)
            yield block

    def _error(self, problem: str) -> InputError:
        return InputError(f"--{self.option}={self.uri} {problem}")

    def _open(self, uri: str) -> BinaryIO:
        root, path = split_uri(uri)
        storage = open_storage(root)
        try:
            return storage.open(path)
        except ArtifactError as error:
            raise self._error(f"cannot be read: {error}") from error
        except InputError as error:  # a folder, for example
            raise self._error(f"cannot be read ({error}): give a run or a file of vectors") from error

    def _head(self) -> bytes:
        with self._open(self.uri) as file:
            return file.read(16)

    def _pieces(self, head: bytes) -> Iterator[bytes]:
        """The content, decompressed."""
        with self._open(self.uri) as file:
            chunks = iter(lambda: file.read(_PIECE_BYTES), b"")
            name = compression_name(head)
            if not name:
                yield from chunks
                return
            if not can_decompress(name):
                raise self._error(f"is {name} data, which cannot be read: unpack it first")
            try:
                yield from decompress(name, chunks)
            except BrokenOffError as error:
                raise self._error(str(error)) from error

    def _check_dims(self, dims: int, place: str) -> None:
        if dims != self.dims:
            raise self._error(f"has vectors of {dims:,} numbers{place}, and --dims is {self.dims}: set --dims={dims}")

    # Text and binary of word2vec

    def _lines(self, data: _Bytes) -> Iterator[VectorBlock]:
        first = data.line().removeprefix(codecs.BOM_UTF8)
        header = _HEADER.fullmatch(first)
        if header:
            self._check_dims(int(header[2]), " by its first line")
            if not self._is_text(data.peek_line()):
                yield from self._binary(data, int(header[1]))
                return
            yield from self._text(data, 2, b"", int(header[1]))
        else:
            yield from self._text(data, 1, first)

    def _is_text(self, line: bytes) -> bool:
        numbers = line.split()[1:]
        return bool(numbers) and all(map(_is_number, numbers[-self.dims :]))

    def _text(self, data: _Bytes, number: int, first: bytes, count: int | None = None) -> Iterator[VectorBlock]:
        """Lines of a word and its numbers, from line `number` of the file on; `count` says how many, if it is known."""
        last = None if count is None else number + count - 1
        words: list[bytes] = []
        numbers: list[bytes] = []
        begun = number
        for line in data.lines(first):
            if last is not None and number > last:
                raise self._error(f"goes on in line {number:,}, where its first line says {count:,}: correct that")
            word, *values = line.strip(b" \t\r\n").rsplit(None, self.dims) or [b""]
            if len(values) != self.dims or _is_number(word.rpartition(b" ")[2] if b" " in word else b""):
                count = max(0, len(line.split()) - 1)
                raise self._error(f"has {count:,} numbers in line {number:,}, and --dims is {self.dims}")
            words.append(word)
            numbers.extend(values)
            number += 1
            if len(words) == BLOCK_WORDS:
                yield self._block(words, self._floats(numbers, begun))
                words, numbers, begun = [], [], number
        if last is not None and number <= last:
            remedy = "get it again, or correct that line"
            raise self._error(f"ends after {number - 2:,} words, where its first line says {count:,}: {remedy}")
        if words:
            yield self._block(words, self._floats(numbers, begun))

    def _floats(self, numbers: list[bytes], first: int) -> np.ndarray:
        """float32 [n, dims]: each number rounded once."""
        try:
            flat = pa.array(numbers, pa.binary()).cast(pa.string()).cast(pa.float32()).to_numpy()
        except pa.ArrowInvalid as error:
            raise self._error(f"has no number where one should be, from line {first:,} on: {shown(error)}") from error
        return flat.reshape(-1, self.dims)

    def _binary(self, data: _Bytes, count: int) -> Iterator[VectorBlock]:
        size = 4 * self.dims
        for begin in range(0, count, BLOCK_WORDS):
            words, vectors = [], []
            for number in range(begin, min(begin + BLOCK_WORDS, count)):
                word = data.until(b" ").lstrip(b"\n")
                vector = data.take(size)
                if not word or len(vector) < size:
                    raise self._error(f"ends in word {number + 1:,}, where its first line says {count:,} words")
                words.append(word)
                vectors.append(vector)
            if begin + BLOCK_WORDS >= count and data.take(2).strip():
                raise self._error(f"goes on after word {count:,}, where its first line says {count:,}: correct that")
            yield self._block(words, np.frombuffer(b"".join(vectors), "<f4").reshape(-1, self.dims))

    def _block(self, words: list[bytes], vectors: np.ndarray) -> VectorBlock:
        """A block without the words that are not UTF-8, which no vocabulary has."""
        texts = [_text_or_none(word) for word in words]
        rows = np.flatnonzero([text is not None for text in texts])
        kept = vectors if len(rows) == len(words) else vectors[rows]
        return VectorBlock(pa.array([text for text in texts if text is not None], pa.string()), kept)

    # Tables

    def _parquet(self) -> Iterator[VectorBlock]:
        try:
            with self._open(self.uri) as source:
                file = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
                names = file.schema_arrow.names
                sides = ["input", "output"] if "input" in names else ["vector"]
                sides = [side for side in sides if side in names]
                if "word" not in names or not sides:
                    raise self._error(
                        f"has no columns word and vector (or word, input and output); there are {shown_list(names)}"
                    )
                done = 0
                for batch in file.iter_batches(BLOCK_WORDS, columns=["word", *sides], use_threads=False):
                    words = batch["word"].cast(pa.string())
                    matrices = [self._column(batch[side], done) for side in sides]
                    done += len(words)
                    if words.null_count:
                        raise self._error("has a row without a word")
                    yield VectorBlock(words, *matrices)
        except (pa.ArrowException, OSError) as error:
            raise self._error(f"cannot be read: {shown(error)}") from error

    def _column(self, column: pa.Array, done: int) -> np.ndarray:
        """float32 [n, dims] of a column, behind `done` rows that are sound."""
        kind = column.type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if not (is_list and pa.types.is_floating(kind.value_type)):  # integers would need their scales
            raise self._error(f"has vectors of type {kind}: they should be lists of floats")
        lengths = pc.list_value_length(column)
        if lengths.null_count:
            raise self._error("has a row without a vector")
        others = np.flatnonzero(lengths.to_numpy(zero_copy_only=False) != self.dims)
        if len(others) and not done and len(lengths.unique()) == 1:
            self._check_dims(lengths[0].as_py(), "")
        if len(others):
            row = int(others[0])
            raise self._error(
                f"has vectors of different lengths: that in row {done + row + 1:,} has {lengths[row].as_py():,}"
                f" numbers, and --dims is {self.dims}"
            )
        values = column.flatten()
        if values.null_count:
            raise self._error("has a vector with a number that is missing")
        return values.cast(pa.float32()).to_numpy(zero_copy_only=False).reshape(-1, self.dims)

    def _npy(self) -> Iterator[VectorBlock]:
        beside = words_beside(self.uri)
        with self._open(beside) as file:
            try:
                words = json.load(file)
            except ValueError as error:
                raise self._error(f"needs a JSON list of its words in {beside}: {shown(error)}") from error
        with self._open(self.uri) as file:
            try:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, by_columns, kind = read[version](file)
            except (ValueError, KeyError) as error:
                raise self._error(f"is not a NumPy array that can be read: {shown(error)}") from error
            if len(shape) != 2 or kind.kind != "f" or by_columns:
                raise self._error(f"is an array of {kind}, {shape}: a row of floats for each word is needed")
            if not isinstance(words, list) or len(words) != shape[0]:
                raise self._error(f"has {shape[0]:,} rows, and {beside} not as many words")
            self._check_dims(shape[1], "")
            for begin in range(0, shape[0], BLOCK_WORDS):
                some = [str(word) for word in words[begin : begin + BLOCK_WORDS]]
                data = file.read(len(some) * shape[1] * kind.itemsize)
                if len(data) < len(some) * shape[1] * kind.itemsize:
                    raise self._error("is shorter than its header says")
                with np.errstate(over="ignore"):  # `blocks` tells it
                    rows = np.frombuffer(data, kind).reshape(-1, shape[1]).astype(np.float32)
                yield VectorBlock(pa.array(some, pa.string()), rows)


def words_beside(uri: str) -> str:
    """The file with the words of an array: vectors.npy -> vectors.words.json."""
    return re.sub(r"\.npy$", "", uri, flags=re.IGNORECASE) + ".words.json"


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text_or_none(word: bytes) -> str | None:
    try:
        return word.decode()
    except UnicodeDecodeError:
        return None


class _Bytes:
    """A stream of bytes that is read by lines, words and lengths."""

    def __init__(self, pieces: Iterator[bytes]):
        self._pieces, self._held, self._at = pieces, b"", 0

    def _more(self) -> bool:
        piece = next(self._pieces, b"")
        self._held, self._at = self._held[self._at :] + piece, 0
        return bool(piece)

    def until(self, end: bytes) -> bytes:
        """The bytes before `end`, which is skipped; the rest where it does not come."""
        while True:
            place = self._held.find(end, self._at)
            if place >= 0:
                found, self._at = self._held[self._at : place], place + len(end)
                return found
            if len(self._held) - self._at > _LONGEST_LINE or not self._more():
                return self.take(_LONGEST_LINE)

    def take(self, size: int) -> bytes:
        while len(self._held) - self._at < size and self._more():
            pass
        found, self._at = self._held[self._at : self._at + size], min(self._at + size, len(self._held))
        return found

    def line(self) -> bytes:
        return self.until(b"\n")

    def peek_line(self) -> bytes:
        """The next line, which is read again."""
        while self._held.find(b"\n", self._at) < 0:
            if len(self._held) - self._at > _LONGEST_LINE or not self._more():
                break
        return self._held[self._at :].partition(b"\n")[0]

    def lines(self, first: bytes) -> Iterator[bytes]:
        """`first`, unless it is empty, and the lines after it; an empty line at the end is none."""
        if first:
            yield first
        while self._at < len(self._held) or self._more():
            yield self.line()
