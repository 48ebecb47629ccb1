"""The vocabulary -> the unigram distribution that negatives are drawn from: a side input."""

import dataclasses

import apache_beam as beam
from apache_beam import PCollection

from pipeline.storage.parquet import to_parquet
from pipeline.words import unigram
from pipeline.words.unigram import UnigramRef
from pipeline.words.vocabulary import Vocabulary, VocabularyRef
from transforms.job_context import JobContext

STAGE = "unigram"


@dataclasses.dataclass
class UnigramDistribution(beam.PTransform):
    """VocabularyRef -> UnigramRef: count^power, its alias table, and the thresholds of subsampling."""

    context: JobContext

    def expand(self, vocabulary: PCollection[VocabularyRef]) -> PCollection[UnigramRef]:
        return vocabulary | "RaiseToPower" >> beam.Map(_build, self.context)


def _build(vocabulary: VocabularyRef, context: JobContext) -> UnigramRef:
    record = context.made(STAGE, STAGE)
    if record is None:
        counts = Vocabulary.from_parquet(context.records.read(vocabulary.artifact)).counts
        distribution = unigram.build(counts, context.options.power, context.options.subsample)
        table = to_parquet(distribution.to_table())
        record = context.make(STAGE, STAGE, "unigram/unigram.parquet", table, {"words": len(counts)})
    return UnigramRef(record.artifacts[0], record.numbers["words"])
