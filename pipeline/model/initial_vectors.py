"""Initial input vectors: uniform in [-1, 1) / dims, as in gensim 4.

Half of that range, as in word2vec.c, gave slightly worse results in every pair of runs that was measured, most of all
in analogies with CBOW. The draw depends on the seed and the bytes of the word, so a word starts the same in any
vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from pipeline.kernels import philox
from pipeline.kernels.compile import kernel
from pipeline.kernels.float_mode import default_float_mode

u32 = np.uint32


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
