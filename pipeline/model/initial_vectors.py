"""Initial input vectors: uniform in [-1, 1) / dims, as in gensim 4.

Half of that range, as in word2vec.c, gave slightly worse results in every pair of runs that was measured, most of all
in analogies with CBOW. The draw depends on the seed and the bytes of the word, so a word starts the same in any
vocabulary.

With --start_from, words begin with the vectors that they have in another run, or in a file, instead. Which words were
found there is stored:

    start/KEY/found.parquet      found bool: a row for each word, by id
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from pipeline.kernels import philox
from pipeline.kernels.compile import kernel
from pipeline.kernels.float_mode import default_float_mode
from pipeline.storage.commits import Commits, Made
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Number, Records

START_STAGE = "start"
_SCHEMA = pa.schema([pa.field("found", pa.bool_(), nullable=False)])
u32 = np.uint32


@dataclasses.dataclass(frozen=True)
class StartNumbers:
    """What is recorded of the vectors of --start_from."""

    found: Number
    """words that have one there"""
    words: Number


def store_found(commits: Commits, found: np.ndarray) -> None:
    """Stores which words (bool [V]) were found, unless an earlier attempt has.

    Args:
      commits: of the stage "checkpoints", whose key this one shares.
    """
    beside = commits.beside(START_STAGE)

    def make() -> Made:
        table = pa.table([pa.array(found)], schema=_SCHEMA)
        return [beside.put("found.parquet", to_parquet(table))], StartNumbers(int(found.sum()), len(found))

    beside.once(START_STAGE, make)


def found_words(records: Records, key: str) -> np.ndarray | None:
    """bool [V]: which words were found; None in a run without --start_from.

    Args:
      key: of the checkpoints.
    """
    record = records.load(START_STAGE, START_STAGE, key)
    return None if record is None else from_parquet(records.read(record.artifact))["found"].to_numpy()


@default_float_mode()
def initial_vectors(words: Iterable[str], dims: int, seed: int) -> np.ndarray:
    """float32 [V, dims], a row for each word."""
    keys = [hashlib.blake2b(word.encode(), digest_size=8).digest() for word in words]
    hashes = np.frombuffer(b"".join(keys), "<u4").reshape(-1, 2).astype(u32)
    vectors = np.empty((len(hashes), dims), np.float32)
    _draw(vectors, hashes, *philox.key_of(seed))
    return vectors


@kernel
def _draw(vectors: np.ndarray, hashes: np.ndarray, k0: int, k1: int) -> None:
    """Dims 4b..4b+3 of a word are the top 24 bits of the four numbers of Philox for the counter (hash, purpose, b)."""
    dims = vectors.shape[1]
    divisor = np.float32(dims)
    unit = np.float32(2.0**-23)
    one = np.float32(1)
    for word in range(len(vectors)):
        for block in range((dims + 3) // 4):
            drawn = philox.philox(hashes[word, 0], hashes[word, 1], u32(philox.INITIAL_VECTORS), u32(block), k0, k1)
            for j in range(min(4, dims - 4 * block)):
                r = drawn[0] if j == 0 else drawn[1] if j == 1 else drawn[2] if j == 2 else drawn[3]
                vectors[word, 4 * block + j] = (np.float32(r >> u32(8)) * unit - one) / divisor
