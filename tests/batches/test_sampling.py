"""Text kept back: never trained on, the same whatever the cuts and seeds, and a loss that falls on it."""

from __future__ import annotations

import numpy as np
import pytest

from beam2vec import Run
from pipeline.batches.rows import to_numpy
from pipeline.batches.sampling import kept_back
from pipeline.batches.tokens import read_tokens
from tests.helpers.commands import TINY, train, write_corpus

SHARE = "--holdout=0.2"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "held"
    return finished(corpus, output, SHARE)


def finished(corpus, output, *arguments):
    outcome = train(f"--input={corpus}", f"--output={output}", *TINY, "--no_report", *arguments)
    assert outcome.status == 0, outcome.stderr
    return Run.open(str(output)), outcome.digest


def positions(run, epoch=0):
    return np.concatenate([to_numpy(batch)[0] for batch in run.batches(epoch)])


def held_positions(run):
    """Every position of a sentence kept back, by the definition."""
    found = []
    for shard in run.shards():
        _, sentences = read_tokens(run.records.read(shard.tokens))
        begins = sentences[:-1] + shard.first_position
        for begin, length, held in zip(begins, np.diff(sentences), kept_back(begins, 0.2)):
            if held:
                found += range(begin, begin + length)
    return set(found)


def test_no_row_is_of_a_sentence_kept_back_and_all_others_are_as_before(trained, corpus, tmp_path):
    run, _ = trained
    plain, _ = finished(corpus, tmp_path / "plain")
    held = held_positions(run)
    assert 0.1 < len(held) / run.vocabulary_tokens() < 0.3
    for epoch in range(2):
        left = [position for position in positions(plain, epoch).tolist() if position not in held]
        assert positions(run, epoch).tolist() == left
    rows = [to_numpy(batch)[1] for batch in run.batches(1)]
    others = [to_numpy(batch) for batch in plain.batches(1)]
    of_plain = np.concatenate([batch.negatives[[p not in held for p in where.tolist()]] for where, batch in others])
    np.testing.assert_array_equal(np.concatenate([batch.negatives for batch in rows]), of_plain)


def test_digest_holds_for_any_cut_and_for_stored_batches(trained, corpus, tmp_path):
    _, digest = trained
    for name, more in [("cut", ["--block_bytes=3000"]), ("stored", ["--batches=stored", "--threads=1"])]:
        assert finished(corpus, tmp_path / name, SHARE, *more)[1] == digest
    assert finished(corpus, tmp_path / "plain")[1] != digest


def test_other_seeds_keep_back_the_same_text(trained, corpus, tmp_path):
    run, _ = trained
    assert held_positions(finished(corpus, tmp_path / "seed", SHARE, "--seed=8")[0]) == held_positions(run)


def test_kept_back_is_a_fair_share():
    positions = np.arange(200_000)
    for share in (0.0, 0.01, 0.5):
        assert kept_back(positions, share).mean() == pytest.approx(share, abs=0.003)
