"""Philox4x32-10 against the known answers published with Random123 (kat_vectors)."""

import numpy as np
import pytest

from pipeline.kernels import philox
from pipeline.kernels.negatives import _multiply_high
from tests.helpers.philox_words import philox_words

KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_published_answers(counter, key, answer):
    words = philox_words(*(np.array([c], np.uint32) for c in counter), *(np.uint32(k) for k in key))
    assert tuple(words[:, 0].tolist()) == answer


def test_seed_is_split_in_two_key_words():
    assert philox.key_of(0x0123456789ABCDEF) == (0x89ABCDEF, 0x01234567)


def test_high_half_of_a_product_of_64_bit_numbers():
    rng = np.random.default_rng(0)
    for a, b in rng.integers(0, 2**64, (200, 2), dtype=np.uint64):
        assert int(_multiply_high(a, b)) == int(a) * int(b) >> 64
