"""--update against its definition: the text of each epoch, the steps and the average, computed anew in plain Python."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest

import beam2vec
from pipeline.backends.oracles.definition import PlainBackend
from pipeline.batches.rows import generate_rows
from pipeline.batches.sampling import Sampling, Tables, draws_key
from pipeline.batches.schedule import Schedule
from pipeline.batches.steps import step_ranges
from pipeline.kernels import philox
from pipeline.model.initial_vectors import initial_vectors
from pipeline.training.update import averaged, shares
from tests.helpers.commands import write_corpus
from tests.helpers.philox_words import philox_words

OPTIONS = {"dims": 8, "epochs": 3, "batch_size": 128, "min_count": 2, "window": 3, "seed": 5, "threads": 1}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    write_corpus(folder / "old.txt", lines=80, words=60)
    write_corpus(folder / "new.txt", lines=50, words=70, seed=1)
    parent = beam2vec.train(folder / "old.txt", folder / "parent", **OPTIONS, replay_words=900)
    return folder, parent


def key_of(sentence):
    text = b"".join(len(word.encode()).to_bytes(4, "little") + word.encode() for word in sentence)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def lines_of(path):
    return [line.split() for line in path.read_text().splitlines() if line.split()]


def expected_text(folder, places, key, share, epochs):
    """The sentences of each epoch as ids, from the texts alone."""
    encode = lambda sentence: [places[word] for word in sentence if word in places]  # noqa: E731
    kept, before = [], 0
    for sentence in sorted({tuple(s) for s in lines_of(folder / "old.txt")}, key=key_of):
        if before < 900:
            kept.append(sentence)
        before += len(sentence)
    keys = np.array([key_of(sentence) for sentence in kept], np.uint64)
    low, high = (keys & np.uint64(2**32 - 1)).astype(np.uint32), (keys >> np.uint64(32)).astype(np.uint32)
    zero = np.zeros(len(keys), np.uint32)
    drawn = philox_words(low, high, zero + np.uint32(philox.REPLAY), zero, *philox.key_of(key))
    order = sorted(range(len(kept)), key=lambda i: (int(drawn[0][i]) | int(drawn[1][i]) << 32, int(keys[i])))
    old = [ids for i in order if (ids := encode(kept[i]))]
    new = [ids for sentence in lines_of(folder / "new.txt") if (ids := encode(sentence))]
    n_total, p_total = sum(map(len, new)), sum(map(len, old))
    w = min(Fraction(share) * n_total, Fraction(p_total, epochs))
    texts = []
    for epoch in range(epochs):
        chosen, r = [], 0
        for ids in old:
            if epoch * w <= r < (epoch + 1) * w:
                chosen.append((r, ids))
            r += len(ids)
        replayed, text, n = sum(len(ids) for _, ids in chosen), [], 0
        first = chosen[0][0] if chosen else 0
        for ids in new:
            while chosen and n * replayed >= (chosen[0][0] - first) * n_total:
                text.append(chosen.pop(0)[1])
            text.append(ids)
            n += len(ids)
        texts.append(text + [ids for _, ids in chosen])
    return texts


@pytest.mark.parametrize("share", [1, 0.5, 0])
def test_vectors_are_those_of_the_definition(chain, share):
    folder, parent = chain
    child = beam2vec.update(parent, folder / "new.txt", folder / f"child-{share}", epochs=3, replay=share)
    words, key = child.words(), draws_key(5, parent.checkpoint().digest)
    places = {word: row for row, word in enumerate(words)}
    texts = expected_text(folder, places, key, share, 3)
    rows_of = {word: row for row, word in enumerate(parent.words())}
    had = np.array([word in rows_of for word in words])
    before = [initial_vectors(words, 8, 5), np.zeros((len(words), 8), np.float32)]
    for matrix, side in zip(before, ("input", "output")):
        matrix[had] = parent.vectors(side)[[rows_of[word] for word in words if word in rows_of]]
    sampling, tables = Sampling(3, 5, "exclude_target", key), Tables.of(child.unigram())
    positions = [sum(map(len, text)) for text in texts]
    options = child.options
    assert options.learning_rate == 0.075
    schedule = Schedule.of(options, max(positions))
    backend = PlainBackend(*before, model="skipgram", tau=float(schedule.tau), zero_hits=True)
    for epoch, text in enumerate(texts):
        tokens = np.array([token for ids in text for token in ids], np.int32)
        offset = np.concatenate([[0], np.cumsum([len(ids) for ids in text])])
        batch = generate_rows(tokens, offset, 0, tables, sampling, epoch)
        for steps in step_ranges([batch], 128, 0, schedule.steps_per_epoch, 5):
            first = epoch * schedule.steps_per_epoch + steps.first
            backend.train(steps.rows, steps.bounds, schedule.learning_rates(first, steps.steps))
    c = np.zeros(len(words), np.int64)
    for sentence in lines_of(folder / "new.txt"):
        for word in sentence:
            if word in places:
                c[places[word]] += 1
    totals = child.vocabulary()["count"].to_numpy()
    f = np.where(had, np.minimum(1, np.sqrt(c / totals)).astype(np.float32), np.float32(1))
    for old, trained, side in zip(before, backend.weights(), ("input", "output")):
        wanted = old + f[:, None] * (trained - old)
        wanted[f == 1], wanted[f == 0] = trained[f == 1], old[f == 0]
        assert np.array_equal(child.vectors(side), wanted), side
    assert (c == 0).sum() > 0
    assert (~had).sum() > 0


def test_shares_are_rounded_once_and_new_words_take_what_was_trained():
    had = np.array([1, 1, 1, 1, 1, 0, 0], bool)  # the last one occurred before, but too seldom for a vector
    f = shares(np.array([0, 1, 3, 4, 0, 9, 2]), np.array([5, 3, 4, 4, 0, 8, 8]), had)
    assert f.dtype == np.float32
    assert f.tolist() == [0.0, float(np.float32(np.sqrt(1 / 3))), float(np.float32(np.sqrt(0.75))), 1.0, 0.0, 1.0, 1.0]


def test_rows_that_do_not_move_keep_their_bytes():
    before = np.array([[-0.0, 1e-40, 3.4e38]], np.float32)
    trained = np.array([[5.0, -3.4e38, np.nan]], np.float32)
    assert averaged(before, trained, np.float32([0])).tobytes() == before.tobytes()
    assert averaged(before, before, np.float32([1])).tobytes() == before.tobytes()


def test_it_begins_with_the_parents_bytes(chain):
    """At a rate of nearly nothing, with no step worth speaking of, the vectors are the parent's."""
    folder, parent = chain
    child = beam2vec.update(parent, folder / "new.txt", folder / "still", learning_rate=1e-30)
    mine = {word: row for row, word in enumerate(child.words())}
    for side in ("input", "output"):
        theirs, now = parent.vectors(side), child.vectors(side)
        for row, word in enumerate(parent.words()):
            np.testing.assert_allclose(now[mine[word]], theirs[row], rtol=1e-6, atol=1e-12)
