"""Text kept back: never trained on, the same whatever the cuts, the seed and the other text, and a loss that falls."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from beam2vec import Run
from pipeline.batches.tokens import is_kept_back, read_tokens
from tests.helpers.commands import TINY, train, write_corpus

SHARE = "--holdout=0.2"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    return finished(corpus, tmp_path_factory.mktemp("runs") / "held", SHARE)


def finished(corpus, output, *arguments):
    outcome = train(f"--input={corpus}", f"--output={output}", *TINY, "--no_report", *arguments)
    assert outcome.status == 0, outcome.stderr
    return Run.open(str(output)), outcome.digest


def sentences_of(run, side):
    """The sentences of one side ("tokens" or "kept_back"), as words."""
    words, sentences = run.vocabulary()["word"].to_pylist(), []
    for shard in run.shards():
        tokens, offset = read_tokens(run.records.read(getattr(shard, side)))
        sentences += [tuple(words[token] for token in tokens[a:b]) for a, b in zip(offset[:-1], offset[1:])]
    return sentences


def key_of(line):
    text = b"".join(len(word.encode()).to_bytes(4, "little") + word.encode() for word in line.split())
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def finaliser(key):
    """Of SplitMix64, as its authors give it."""
    mask = 2**64 - 1
    x = (key + 0x9E3779B97F4A7C15) & mask
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
    return x ^ x >> 31


def is_held(line, share=0.2):
    return finaliser(key_of(line)) < int(share * 2**64)


def test_sentences_are_kept_back_by_their_keys(trained, corpus):
    run, _ = trained
    lines = [line for line in corpus.read_text().splitlines() if line.split()]
    known = set(run.vocabulary()["word"].to_pylist())
    held, others = [], []
    for line in lines:
        words = tuple(word for word in line.split() if word in known)
        if words:
            (held if is_held(line) else others).append(words)
    assert sentences_of(run, "kept_back") == held
    assert sentences_of(run, "tokens") == others
    assert 0.1 < sum(map(len, held)) / run.vocabulary_tokens() < 0.3


def test_rows_are_of_the_other_sentences_alone(trained):
    run, _ = trained
    trained_tokens = sum(map(len, sentences_of(run, "tokens")))
    for epoch in range(2):
        positions = np.concatenate([batch["position"].to_numpy() for batch in run.batches(epoch)])
        assert positions.max() < trained_tokens < run.vocabulary_tokens()


def test_digest_holds_for_any_cut_and_for_stored_batches(trained, corpus, tmp_path):
    _, digest = trained
    for name, more in [("cut", ["--block_bytes=3000"]), ("stored", ["--batches=stored", "--threads=1"])]:
        assert finished(corpus, tmp_path / name, SHARE, *more)[1] == digest
    assert finished(corpus, tmp_path / "plain")[1] != digest


def test_other_seeds_keep_back_the_same_text_and_so_does_text_in_another_order(trained, corpus, tmp_path):
    held = sentences_of(trained[0], "kept_back")
    assert sentences_of(finished(corpus, tmp_path / "seed", SHARE, "--seed=8")[0], "kept_back") == held
    turned = tmp_path / "turned.txt"
    turned.write_text("".join(reversed(corpus.read_text().splitlines(keepends=True))))
    assert sentences_of(finished(turned, tmp_path / "other", SHARE)[0], "kept_back") == held[::-1]


def test_with_phrases_the_key_is_that_of_the_words(corpus, tmp_path):
    options = ["--phrases=1", "--phrase_threshold=0.5", "--phrase_discount=1"]
    run, _ = finished(corpus, tmp_path / "phrases", SHARE, *options)
    kept = {" ".join(words).replace("_", " ") for words in sentences_of(run, "kept_back")}
    assert any("_" in word for words in sentences_of(run, "kept_back") for word in words)
    assert all(map(is_held, kept & set(corpus.read_text().splitlines())))
    assert kept & set(corpus.read_text().splitlines())


def test_kept_back_is_a_fair_share():
    keys = np.random.default_rng(0).integers(0, 2**64, 200_000, np.uint64)
    for share in (0.0, 0.01, 0.5):
        assert is_kept_back(keys, share).mean() == pytest.approx(share, abs=0.003)
        low = keys[keys < 2**60]  # what is in a reservoir is kept back no more often than the rest
        assert is_kept_back(low, share).mean() == pytest.approx(share, abs=0.015)
