"""The word table: a hash table from words to counts or ids, in the order in which words were added.

`WordTable` owns the arrays that `pipeline.kernels.words` works on. It makes room before each call, so that no kernel
has to stop half way.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from pipeline.corpus.spans import Spans
from pipeline.kernels import words as kernels

_LARGEST_ARRAY = 1 << 30
"""Bytes of words in one Arrow array, whose offsets are int32."""


class WordTable:
    """Words with a value each, in the order in which they were added.

    Only `encode`, `find` and `without` may be used by several threads at once.

    >>> from pipeline.corpus.tokenizers.whitespace import WhitespaceTokenizer
    >>> from pipeline.corpus.spans import as_array
    >>> table = WordTable()
    >>> for spans in WhitespaceTokenizer().split(as_array(b"a rose is a rose")):
    ...     table.count(spans)
    >>> table.words().to_pylist(), table.values()
    (['a', 'rose', 'is'], array([2, 2, 1]))
    """

    def __init__(self) -> None:
        self._table = kernels.Table(
            slots=np.zeros(1024, dtype=np.uint64),
            entries=_aligned((256, 4), np.dtype(np.uint64)),
            hashes=np.empty(256, dtype=np.uint64),
            arena=np.empty(4096, dtype=np.uint8),
        )
        self._state = np.zeros(3, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._state[0])

    @property
    def fingerprint(self) -> str:
        """16 hex digits that depend on all tokens counted, their order, and the ends of sentences."""
        return fingerprint_text(self._state)

    def count(self, spans: Spans) -> None:
        """Adds 1 to the value of each token's word."""
        self._count(spans, np.empty(0, np.int32))

    def number(self, spans: Spans) -> np.ndarray:
        """int32 [n]: each token's entry. Words that are not in the table are added."""
        ids = np.empty(len(spans.start), np.int32)
        self._count(spans, ids)
        return ids

    def _count(self, spans: Spans, ids: np.ndarray) -> None:
        if len(spans.start):
            self._make_room(len(spans.start), int(spans.end[-1] - spans.start[0]))
            kernels.count_sentences(spans, self._table, self._state, ids)

    def add(self, words: pa.Array, values: np.ndarray) -> None:
        """Adds values[i] (int64) to the value of word i of a string array without nulls."""
        if not len(words):
            return
        buffer, offset = string_buffers(words)
        self._make_room(len(words), int(offset[-1] - offset[0]))
        kernels.add_words(buffer, offset, np.ascontiguousarray(values, dtype=np.int64), self._table, self._state)

    def encode(self, spans: Spans, state: np.ndarray, tokens: np.ndarray, lengths: np.ndarray) -> tuple[int, int]:
        """Ids of the tokens that are in the table; see `kernels.encode_sentences`."""
        return kernels.encode_sentences(spans, self._table, state, tokens, lengths)

    def find(self, spans: Spans, state: np.ndarray) -> np.ndarray:
        """int32 [n], each token's entry, or -1; see `kernels.find_words`."""
        ids = np.empty(len(spans.start), dtype=np.int32)
        kernels.find_words(spans, self._table, state, ids)
        return ids

    def without(self, spans: Spans) -> Spans:
        """The sentences without the tokens that are in the table; see `kernels.drop_words`."""
        kept = Spans(spans.buffer, *(np.empty(len(places), np.int64) for places in spans[1:]))
        tokens, sentences = kernels.drop_words(spans, self._table, kept)
        return Spans(spans.buffer, kept.start[:tokens], kept.end[:tokens], kept.sentence[: sentences + 1])

    def values(self) -> np.ndarray:
        """int64 [n], the value of each word."""
        return self._table.entries[: len(self), 3].astype(np.int64)

    def words(self) -> pa.ChunkedArray:
        """string [n], the words in the order in which they were added."""
        n, used = len(self), int(self._state[1])
        offset = np.empty(n + 1, dtype=np.int64)
        offset[:n] = self._table.entries[:n, 2] >> np.uint64(31)
        offset[n] = used
        return string_array(self._table.arena[:used].copy(), offset)

    def _make_room(self, words: int, size: int) -> None:
        """Makes room for `words` more words of `size` bytes together."""
        count, used = len(self), int(self._state[1])
        slots, entries, hashes, arena = self._table
        if count + words > len(hashes):
            capacity = max(count + words, len(hashes) * 2)
            hashes, entries = _grown(hashes, count, capacity), _grown(entries, count, capacity)
        if used + size > len(arena):
            arena = _grown(arena, used, max(used + size, len(arena) * 2))
        if (count + words) * 3 > len(slots) * 2:
            slots = np.zeros(1 << ((count + words) * 2 - 1).bit_length(), dtype=np.uint64)
            kernels.fill_slots(hashes[:count], slots)
        self._table = kernels.Table(slots, entries, hashes, arena)


def fingerprint_text(state: np.ndarray) -> str:
    return f"{int(state[2]) & (2**64 - 1):016x}"


def new_state() -> np.ndarray:
    """The state that `WordTable.encode` and `find` carry from one call to the next."""
    return np.zeros(3, dtype=np.int64)


def word_hashes(words: pa.Array) -> np.ndarray:
    """uint64 [n], the table's hash of each word of a string array."""
    hashes = np.empty(len(words), dtype=np.uint64)
    kernels.hash_words(*string_buffers(words), hashes)
    return hashes


def string_buffers(words: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 bytes, int64 offsets [n + 1]) of a string or large_string array; the bytes are not copied."""
    offset_type = np.int64 if pa.types.is_large_string(words.type) else np.int32
    _, offsets, data = words.buffers()
    n = len(words)
    if n == 0:
        return np.empty(0, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    first = words.offset
    offset = np.frombuffer(offsets, dtype=offset_type)[first : first + n + 1].astype(np.int64)
    buffer = np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)
    return buffer, offset


def spans_of(words: pa.Array, sentence: np.ndarray | None = None) -> Spans:
    """A string array as sentences, by their offsets (int64 [s + 1]); by default as one."""
    buffer, offset = string_buffers(words)
    if sentence is None:
        sentence = np.array([0, len(words)])
    return Spans(buffer, offset[:-1].copy(), offset[1:].copy(), sentence)


def one_array(words: pa.ChunkedArray) -> pa.Array:
    """The chunks as one array; of none, an array of strings."""
    return pa.concat_arrays(words.chunks) if words.num_chunks else pa.array([], pa.string())


def string_array(buffer: np.ndarray, offset: np.ndarray) -> pa.ChunkedArray:
    """string [n] over buffer[offset[i]:offset[i + 1]], in several chunks if it is too large for int32 offsets."""
    chunks: list[pa.Array] = []
    first, n = 0, len(offset) - 1
    while first < n or not chunks:
        last = int(np.searchsorted(offset, offset[first] + _LARGEST_ARRAY, side="right")) - 1
        last = n if first >= n else min(max(last, first + 1), n)
        data = buffer[offset[first] : offset[last]]
        offsets = (offset[first : last + 1] - offset[first]).astype(np.int32)
        chunks.append(pa.StringArray.from_buffers(last - first, pa.py_buffer(offsets), pa.py_buffer(data)))
        first = last
    return pa.chunked_array(chunks, type=pa.string())


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array that begins on a cache line, so that no entry crosses one."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + 64, dtype=np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + size].view(dtype).reshape(shape)


def _grown(array: np.ndarray, used: int, capacity: int) -> np.ndarray:
    grown = _aligned((capacity, *array.shape[1:]), array.dtype)
    grown[:used] = array[:used]
    return grown
