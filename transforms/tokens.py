"""Units of work and the vocabulary -> token shards, and the sentences that may be replayed."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsSingleton, TaggedOutput
from apache_beam.utils.shared import Shared

from pipeline.batches.tokens import STAGE, Keeping, TokenShard, stored_tokens
from pipeline.corpus.work_units import WorkUnit
from pipeline.runtime import progress
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.phrases import PhrasesRef
from pipeline.words.reservoir import STAGE as RESERVOIR
from pipeline.words.reservoir import ReservoirRef, group_of, key_limit
from pipeline.words.vocabulary import VocabularyRef
from transforms.job_context import JobContext, StageDoFn
from transforms.phrase_reader import OpenPhrases

PARTS = "parts"


@dataclasses.dataclass
class EncodeTokens(beam.PTransform):
    """WorkUnit -> (TokenShard: its sentences as word ids; (group, ReservoirRef): those that may be replayed).

    The vocabulary comes as a side input, by reference, and is opened once a process. Both are made of the text in one
    reading; there is nothing to replay with --replay_words=0.
    """

    context: JobContext
    vocabulary: PCollection[VocabularyRef]
    phrases: PCollection[PhrasesRef] | None = None
    """phrases to join before words are looked up"""

    def expand(
        self, units: PCollection[WorkUnit]
    ) -> "tuple[PCollection[TokenShard], PCollection[tuple[int, ReservoirRef]]]":
        joined = () if self.phrases is None else (AsSingleton(self.phrases),)
        encode = beam.ParDo(EncodeUnit(self.context), AsSingleton(self.vocabulary), *joined)
        encoded = units | "EncodeUnit" >> encode.with_outputs(PARTS, main="shards")
        return encoded["shards"] | "SpreadShards" >> beam.Reshuffle(), encoded[PARTS]


class EncodeUnit(StageDoFn):
    """Encodes a unit, unless an earlier attempt has."""

    def __init__(self, context: JobContext):
        super().__init__(context)
        self.commits, self.counts = context.commits(STAGE), context.commits(COUNTS)
        self.reservoir = context.commits(RESERVOIR) if context.has_reservoir else None
        self.shared = Shared()
        self.phrases = OpenPhrases(context)

    def start_bundle(self) -> None:
        self.wants_part = self.reservoir is not None and self.reservoir.earlier(RESERVOIR) is None

    def process(
        self, unit: WorkUnit, vocabulary: VocabularyRef, phrases: PhrasesRef | None = None
    ) -> Iterator[TokenShard | TaggedOutput[Literal["parts"], tuple[int, ReservoirRef]]]:
        words = self.shared.acquire(lambda: vocabulary.open(self.commits.records), tag=vocabulary.artifact.digest)
        options = self.context.options
        limit = key_limit(options.replay_words, vocabulary.text_words)
        keeping = Keeping(options.holdout, options.replay_words, limit)
        reservoir = self.reservoir if self.wants_part else None
        reader = self.phrases.reader(phrases)
        shard, part = stored_tokens(self.commits, self.counts, unit, words, reader, keeping, reservoir)
        yield shard
        if part is not None:
            yield TaggedOutput(PARTS, (group_of(unit.index), part))
        progress.stage("Encode tokens", None, "B").advance(unit.size)
