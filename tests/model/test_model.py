"""The model and its digest."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pyarrow as pa
import pytest

from pipeline.model import model as model_digest
from pipeline.model.model import Model
from tests.helpers.models import make_model

GOLDEN = "1202bd911a415e8caad8eff8d71fa9f8c32aa9374796e559e6d711c0ec958a45"
"""Of the model in test_a_golden_digest; it must never change while FORMAT_VERSION is 1."""


def naive_digest(model: Model, rows: int) -> str:
    """The docstring of model_digest, word by word."""
    words = model.words.to_pylist()
    digest = hashlib.sha256(b"beam2vec model 1\n" + struct.pack("<QQ", len(words), model.dims))
    for start in range(0, len(words), rows):
        texts = [word.encode() for word in words[start : start + rows]]
        block = b"".join(struct.pack("<I", len(text)) for text in texts) + b"".join(texts)
        block += struct.pack(f"<{len(texts)}q", *model.counts[start : start + rows].tolist())
        for matrix in (model.input, model.output):
            numbers = matrix[start : start + rows].ravel().tolist()
            block += struct.pack(f"<{len(numbers)}f", *numbers)
        digest.update(hashlib.sha256(block).digest())
    return digest.hexdigest()


@pytest.mark.parametrize("words", [1, 7, 8, 9, 20])
def test_the_digest_is_what_its_docstring_says(small_blocks, words):
    model = make_model(words)
    assert model_digest.model_digest(model) == naive_digest(model, 8)


def test_a_golden_digest():
    model = Model(
        pa.array(["the", "of", "ä"]),
        np.array([3, 2, 1]),
        np.arange(6, dtype=np.float32).reshape(3, 2),
        -np.arange(6, dtype=np.float32).reshape(3, 2),
    )
    assert model_digest.model_digest(model) == naive_digest(model, 65_536)
    assert model_digest.model_digest(model) == GOLDEN


def test_the_digest_sees_every_part_of_the_model():
    base = make_model()
    digests = {model_digest.model_digest(base)}
    for change in ("words", "counts", "input", "output"):
        model = make_model()
        if change == "words":
            words = model.words.to_pylist()
            words[0:2] = [words[0] + words[1][0], words[1][1:]]  # the same text, cut elsewhere
            model = Model(pa.array(words), model.counts, model.input, model.output)
        else:
            array = getattr(model, change)
            array.flat[-1] = -array.flat[-1]
        digests.add(model_digest.model_digest(model))
    assert len(digests) == 5
    zero = Model(base.words, base.counts, base.input * 0, base.output)
    minus = Model(base.words, base.counts, base.input * 0 - 0.0, base.output)
    assert np.array_equal(zero.input, minus.input)
    assert model_digest.model_digest(zero) != model_digest.model_digest(
        Model(base.words, base.counts, np.full_like(zero.input, -0.0), base.output)
    )


def test_parts_that_do_not_belong_together_make_no_model():
    model = make_model()
    with pytest.raises(ValueError, match="do not make one model"):
        Model(model.words, model.counts, model.input, model.output[1:])
