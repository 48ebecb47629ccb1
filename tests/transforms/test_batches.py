"""Batches on Beam."""

from __future__ import annotations

import dataclasses

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from pipeline.batches.rows import generate_rows, schema
from pipeline.batches.sampling import Sampling, Tables
from pipeline.storage.records import Artifact
from tests.helpers.commands import TINY, train
from tests.helpers.world import OPTIONS, check
from transforms.batches import GenerateBatches, _together

pytest_plugins = ("tests.helpers.world_fixture",)


@pytest.mark.parametrize("batches", ["stream", "stored"])
def test_batches_are_those_of_the_whole_corpus_at_once(world, batches):
    context = dataclasses.replace(world.context, options=dataclasses.replace(OPTIONS, batches=batches))
    ref, sentences = world.unigram_ref(), world.ids()
    tokens = np.concatenate(sentences).astype(np.int32)
    offsets = np.cumsum([0, *map(len, sentences)])
    tables, sampling = Tables.of(world.distribution()), Sampling.of(OPTIONS)

    def apply(shards):
        return shards | GenerateBatches(context, shards.pipeline | "Unigram" >> beam.Create([ref]))

    def expect(shards):
        ordered = sorted(shards, key=lambda shard: shard.index)
        assert all(len(shard.stored) == (2 if batches == "stored" else 0) for shard in ordered)
        for epoch in range(OPTIONS.epochs):
            made = [batch for shard in ordered for batch in shard.batches(context.records, epoch)]
            found = pa.Table.from_batches(made, schema(OPTIONS.negatives)).combine_chunks()
            wanted = generate_rows(tokens, offsets, 0, tables, sampling, epoch)
            assert found.to_pylist() == pa.Table.from_batches([wanted]).to_pylist()
            assert found.num_rows > len(tokens) // 2

    check(world.token_shards()[::-1], apply, expect)


def test_stored_epochs_are_in_order_whatever_the_runner_delivers_first(world):
    shard, stored = world.batch_shards()[0], [Artifact(f"epoch={epoch}", "", 0) for epoch in range(3)]
    delivered = [(epoch, stored[epoch], shard) for epoch in (2, 0, 1)]
    assert _together((0, delivered)).stored == tuple(stored)


@pytest.mark.parametrize(
    "options", [["--min_count=1"], ["--min_count=1", "--replicas=2"], ["--min_count=1", "--batches=stored"]]
)
def test_words_without_any_context_are_refused_before_training(tmp_path, options):
    """Random vectors came out, with status 0."""
    text = tmp_path / "one.txt"
    text.write_text("".join(f"w{number}\n" for number in range(1000)))
    command = (f"--input={text}", f"--output={tmp_path / 'run'}", *TINY, "--no_report", *options)
    outcome = train(*command)
    assert outcome.status == 2
    assert "none of the 1,000 sentences has two words of the vocabulary" in outcome.error
    assert not list(tmp_path.glob("run/checkpoints/*/*"))
    assert list(tmp_path.glob("run/tokens/*/*")), "the preprocessing is kept"


@pytest.mark.parametrize("option", ["--max_sentence=1", "--min_count=30"])
def test_what_leaves_a_word_a_sentence_is_refused_too(tmp_path, option):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"the w{number}\n" for number in range(50)))
    outcome = train(f"--input={text}", f"--output={tmp_path / 'run'}", *TINY, "--min_count=1", option, "--no_report")
    assert outcome.status == 2
    assert "so no word has a context to learn from" in outcome.error


@pytest.mark.parametrize("options", [[], ["--replicas=2", "--rounds=2"], ["--batches=stored"]])
def test_an_epoch_without_a_row_ends_without_a_checkpoint(tmp_path, options):
    """Random vectors came out, with status 0 and "loss unknown"."""
    text = tmp_path / "text.txt"
    text.write_text("a b c d e f g h\n" * 200)
    command = (f"--input={text}", f"--output={tmp_path / 'run'}", *TINY, "--no_report", "--subsample=1e-12", *options)
    for _ in range(2):
        outcome = train(*command)
        assert outcome.status == 2
        assert "there is nothing to train on: of 1,600 words of the text, --subsample=1e-12 keeps about 0" in (
            outcome.error
        )
        assert not list(tmp_path.glob("run/checkpoints/*/*"))
        assert list(tmp_path.glob("run/tokens/*/*")), "the preprocessing is kept"
