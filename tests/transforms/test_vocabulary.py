"""The vocabulary, and its unigram distribution, on Beam."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import apache_beam as beam
import pyarrow as pa
import pytest

from pipeline.errors import ArtifactError, InputError, find
from pipeline.words import merging
from pipeline.words.counts import count_unit
from pipeline.words.merging import (
    BucketCounts,
    UnitSummary,
    check_complete,
    merge_counts,
    table_bytes,
    table_from_bytes,
    total,
)
from pipeline.words.vocabulary import Vocabulary, build_vocabulary
from tests.helpers.world import OPTIONS, check
from transforms.counts import CountWords
from transforms.job_context import JobContext
from transforms.unigram import UnigramDistribution
from transforms.vocabulary import BuildVocabulary

pytest_plugins = ("tests.helpers.world_fixture",)


def summaries_of(pipeline: beam.PCollection, bad_lines: int = 0, tokens: int = 0) -> beam.PCollection:
    return pipeline | "Summaries" >> beam.Create([UnitSummary(0, 10, 100, bad_lines, tokens, 1, 1)])


def test_vocabulary_is_ordered_by_count_and_bytes(world):
    tables = [count_unit(unit, world.context.reader).table for unit in world.units]
    merged = table_bytes(merge_counts(tables))

    def expect(refs):
        (ref,) = refs
        found = Vocabulary.from_parquet(world.context.records.read(ref.artifact))
        twin = Vocabulary.from_table(build_vocabulary([table_from_bytes(merged)], OPTIONS.min_count))
        for wanted in (world.vocabulary, twin):
            assert found.words.to_pylist() == wanted.words.to_pylist()
            assert found.counts.tolist() == wanted.counts.tolist()
        assert (ref.words, ref.tokens) == (len(found), found.tokens)

    check([BucketCounts(merged)], built(world.context), expect)


def built(context: JobContext, bad_lines: int = 0, tokens: int = 0) -> Callable:
    return lambda counts: counts | BuildVocabulary(context, summaries_of(counts.pipeline, bad_lines, tokens))


def test_counts_that_a_runner_loses_are_noticed():
    units = [UnitSummary(n, 10, 5, 0, 20, 1, 3) for n in range(3)]
    counts = [BucketCounts(tokens=45), BucketCounts(tokens=15)]
    check_complete(units, counts)
    check_complete([total(units)], counts)
    for fewer in ((units[:2], counts), (units, counts[:1]), (units[:2], counts[:1])):
        with pytest.raises(ArtifactError, match="start the run again"):
            check_complete(*fewer)


def test_a_bucket_of_many_words_travels_by_reference_and_is_gone_afterwards(world, monkeypatch):
    monkeypatch.setattr(merging, "ELEMENT_BYTES", 0)
    storage, folder = world.context.records.storage, world.context.commits("counts").path("buckets")

    def expect_buckets(buckets):
        assert max(len(pickle.dumps(bucket)) for bucket in buckets) < 500
        assert {bucket.artifact.path for bucket in buckets} == {info.path for info in storage.list(folder)}

    def expect_vocabulary(refs):
        found = Vocabulary.from_parquet(world.context.records.read(refs[0].artifact))
        assert found.words.to_pylist() == world.vocabulary.words.to_pylist()
        assert found.counts.tolist() == world.vocabulary.counts.tolist()

    def counted(units):
        return (units | CountWords(world.context))[0]

    check(world.units, counted, expect_buckets)
    tokens = sum(count_unit(unit, world.context.reader).tokens for unit in world.units)
    check(world.units, lambda units: built(world.context, 0, tokens)(counted(units)), expect_vocabulary)
    assert storage.list(folder) == []
    storage.put(f"{folder}/0000-0123456789abcdef.arrow", b"of a command killed behind the vocabulary's record")
    check([BucketCounts()], built(world.context), expect_vocabulary)
    assert storage.list(folder) == []


def test_too_many_bad_lines_stop_before_the_vocabulary(world):
    merged = table_bytes(pa.table({"word": ["a"], "count": [9]}))
    with pytest.raises(Exception, match="while running") as caught:
        check([BucketCounts(merged)], built(world.context, 2), len)
    error = find(caught.value)
    assert isinstance(error, InputError)
    assert str(error).startswith("2 of 100 lines cannot be read, more than --max_bad_lines=1%: see")
    assert world.context.commits("vocabulary").all() == []


def test_unigram_distribution_is_that_of_the_counts(world):
    def expect(refs):
        (ref,) = refs
        assert ref == world.unigram_ref()  # the same bytes

    check([world.vocabulary_ref()], lambda vocabulary: vocabulary | UnigramDistribution(world.context), expect)
