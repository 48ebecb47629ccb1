"""Units of work and the vocabulary -> token shards."""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsSingleton
from apache_beam.utils.shared import Shared

from pipeline.batches.tokens import STAGE, TokenShard, stored_tokens
from pipeline.corpus.work_units import WorkUnit
from pipeline.runtime import progress
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.phrases import PhrasesRef
from pipeline.words.vocabulary import VocabularyRef
from transforms.job_context import JobContext, StageDoFn
from transforms.phrase_reader import OpenPhrases


@dataclasses.dataclass
class EncodeTokens(beam.PTransform):
    """WorkUnit -> TokenShard: the unit's sentences as word ids, stored as Parquet.

    The vocabulary comes as a side input, by reference, and is opened once a process.
    """

    context: JobContext
    vocabulary: PCollection[VocabularyRef]
    phrases: PCollection[PhrasesRef] | None = None
    """phrases to join before words are looked up"""

    def expand(self, units: PCollection[WorkUnit]) -> PCollection[TokenShard]:
        joined = () if self.phrases is None else (AsSingleton(self.phrases),)
        return (
            units
            | "EncodeUnit" >> beam.ParDo(EncodeUnit(self.context), AsSingleton(self.vocabulary), *joined)
            | "SpreadShards" >> beam.Reshuffle()
        )


class EncodeUnit(StageDoFn):
    """Encodes a unit, unless an earlier attempt has."""

    def __init__(self, context: JobContext):
        super().__init__(context)
        self.commits, self.counts = context.commits(STAGE), context.commits(COUNTS)
        self.shared = Shared()
        self.phrases = OpenPhrases(context)

    def process(
        self, unit: WorkUnit, vocabulary: VocabularyRef, phrases: PhrasesRef | None = None
    ) -> Iterator[TokenShard]:
        words = self.shared.acquire(lambda: vocabulary.open(self.commits.records), tag=vocabulary.artifact.digest)
        yield stored_tokens(self.commits, self.counts, unit, words, self.phrases.reader(phrases))
        progress.stage("Encode tokens", None, "B").advance(unit.size)
