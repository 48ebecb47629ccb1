"""How rows are drawn: by --seed, and in a run with a parent by its digest too."""

from __future__ import annotations

import hashlib

from pipeline.batches.sampling import Sampling, draws_key
from pipeline.options import Options

PARENT, OTHER = "ab" * 32, "cd" * 32


def test_the_key_of_the_draws_is_the_seed_or_a_hash_of_it_and_the_parent():
    options = Options(seed=7)
    assert Sampling.of(options).seed == 7
    hashed = hashlib.blake2b(b"generation" + (7).to_bytes(8, "little") + b"\xab" * 32, digest_size=8).digest()
    assert Sampling.of(options, PARENT).seed == draws_key(7, PARENT) == int.from_bytes(hashed, "little")


def test_no_two_generations_and_no_two_seeds_draw_alike():
    keys = {draws_key(seed, parent) for seed in range(50) for parent in (PARENT, OTHER)}
    assert len(keys) == 100
