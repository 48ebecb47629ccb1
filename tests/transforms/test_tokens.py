"""Token shards on Beam."""

from __future__ import annotations

import apache_beam as beam
import numpy as np

from pipeline.batches.tokens import read_tokens
from tests.helpers.world import check
from transforms.tokens import EncodeTokens

pytest_plugins = ("tests.helpers.world_fixture",)


def test_tokens_are_the_ids_of_the_sentences_in_order(world):
    ref = world.vocabulary_ref()

    def apply(units):
        encode = EncodeTokens(world.context, units.pipeline | "Vocabulary" >> beam.Create([ref]))
        return (units | encode)[0]

    def expect(shards):
        found = []
        for shard in sorted(shards, key=lambda shard: shard.index):
            tokens, offsets = read_tokens(world.context.records.read(shard.artifact))
            assert (shard.tokens, shard.sentences) == (len(tokens), len(offsets) - 1)
            found += [part.tolist() for part in np.split(tokens, offsets[1:-1])]
        assert found == world.ids()

    check(world.units, apply, expect)
