"""Counts on Beam."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from pipeline.words.counts import count_unit
from pipeline.words.merging import UnitSummary
from pipeline.words.totals import STAGE as TOTALS
from tests.helpers.world import OPTIONS, check
from transforms import counts as counts_module
from transforms.counts import CountWords

pytest_plugins = ("tests.helpers.world_fixture",)


@pytest.mark.parametrize("bundle_words", [1, 10**9], ids=["each unit sent on", "each bundle sent on"])
def test_counts_are_those_of_a_counter(world, monkeypatch, bundle_words):
    monkeypatch.setattr(counts_module, "BUNDLE_WORDS", bundle_words)

    def expect(buckets):
        found = [row for bucket in buckets for row in bucket.open(world.context.records).to_pylist()]
        kept = Counter(word for sentence in world.sentences for word in sentence)
        assert {row["word"]: row["count"] for row in found} == kept
        assert len(found) == len(kept)

    check(world.units, lambda units: (units | CountWords(world.context))[0], expect)


def test_summaries_are_those_of_the_units_and_artefacts_are_committed(world):
    wanted = []
    for unit in world.units:
        counts = count_unit(unit, world.context.reader)
        wanted.append(UnitSummary(unit.index, counts.bytes, counts.lines, counts.bad_lines, counts.tokens, 1, unit.of))

    def expect(summaries):
        assert sorted(summaries, key=lambda unit: unit.index) == wanted

    check(world.units, lambda units: (units | CountWords(world.context))[1], expect)
    assert [record.name for record in world.context.commits("counts").all()] == [unit.name for unit in world.units]


def test_no_words_travel_once_there_is_a_vocabulary(world):
    world.vocabulary_ref()
    world.context.commits(TOTALS).commit(TOTALS)

    def expect(buckets):
        assert buckets == []

    check(world.units, lambda units: (units | CountWords(world.context))[0], expect)


def test_where_no_totals_are_kept_rare_words_do_not_travel(world):
    context = dataclasses.replace(world.context, options=dataclasses.replace(OPTIONS, totals=0))

    def expect(buckets):
        found = {row["word"] for bucket in buckets for row in bucket.open(context.records).to_pylist()}
        assert found == set(world.vocabulary.words.to_pylist())

    check(world.units, lambda units: (units | CountWords(context))[0], expect)
