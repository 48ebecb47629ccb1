"""A model, and the digest of its content, which is the same on every platform and independent of Parquet.

    block   SHA-256 over, for 65,536 consecutive words (fewer in the last block):
            the lengths of their UTF-8 in bytes (uint32 each), then the UTF-8,
            counts (int64), rows of the input matrix (float32), of the output matrix
    model   SHA-256 over b"beam2vec model 1\\n", words and dims (uint64 each),
            then the digests of the blocks (32 bytes each)

All numbers are little-endian; rows have no padding.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

BLOCK_ROWS = 65_536
_HEADER = b"beam2vec model 1\n"


@dataclasses.dataclass(frozen=True)
class Model:
    """Words by id, with their counts and both of their vectors.

    words: string [V]; counts: int64 [V], occurrences; input, output: float32 [V, dims].
    """

    words: pa.StringArray
    counts: np.ndarray
    input: np.ndarray
    output: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.words), self.dims)
        if self.counts.shape != shape[:1] or self.input.shape != shape or self.output.shape != shape:
            raise ValueError(
                f"{len(self.words)} words, counts {self.counts.shape}, input {self.input.shape}"
                f" and output {self.output.shape} do not make one model"
            )

    @property
    def dims(self) -> int:
        return self.input.shape[1]

    def blocks(self) -> Iterable[Model]:
        """The model in views of BLOCK_ROWS words; one empty block if there are no words."""
        for start in range(0, max(1, len(self.words)), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            yield Model(self.words[rows], self.counts[rows], self.input[rows], self.output[rows])


def model_digest(model: Model) -> str:
    """SHA-256 (hex) of a model's content; the docstring of this module has the definition."""
    return join_digests(len(model.words), model.dims, map(block_digest, model.blocks()))


def block_digest(block: Model) -> bytes:
    """SHA-256 of one block: at most BLOCK_ROWS words."""
    words = block.words.cast(pa.large_binary())
    digest = hashlib.sha256()
    if len(words):
        _, offsets, text = words.buffers()
        bounds = np.frombuffer(offsets, "<i8")[words.offset : words.offset + len(words) + 1]
        digest.update(np.diff(bounds).astype("<u4").data)
        digest.update(memoryview(text)[bounds[0] : bounds[-1]])
    digest.update(np.ascontiguousarray(block.counts, "<i8").data)
    digest.update(np.ascontiguousarray(block.input, "<f4").data)
    digest.update(np.ascontiguousarray(block.output, "<f4").data)
    return digest.digest()


def join_digests(words: int, dims: int, blocks: Iterable[bytes]) -> str:
    """The digest of the model (hex) from those of its blocks, in order."""
    digest = hashlib.sha256(_HEADER + np.array([words, dims], "<u8").tobytes())
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
