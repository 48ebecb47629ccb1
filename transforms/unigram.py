"""The vocabulary -> the unigram distribution that negatives are drawn from: a side input."""

import dataclasses

import apache_beam as beam
from apache_beam import PCollection

from pipeline.words.stored_unigram import STAGE, UnigramRef, stored_unigram
from pipeline.words.vocabulary import VocabularyRef
from transforms.job_context import JobContext


@dataclasses.dataclass
class UnigramDistribution(beam.PTransform):
    """VocabularyRef -> UnigramRef: count^power, its alias table, and the thresholds of subsampling."""

    context: JobContext

    def expand(self, vocabulary: PCollection[VocabularyRef]) -> PCollection[UnigramRef]:
        power = beam.Map(_build, self.context)
        return vocabulary | "RaiseToPower" >> power


def _build(vocabulary: VocabularyRef, context: JobContext) -> UnigramRef:
    options = context.options
    with context.errors_recorded():
        return stored_unigram(context.commits(STAGE), vocabulary, options.power, options.subsample)
