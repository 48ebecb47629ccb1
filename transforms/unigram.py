"""The vocabulary -> the unigram distribution that negatives are drawn from: a side input."""

import dataclasses

import apache_beam as beam
from apache_beam import PCollection

from pipeline.storage.commits import Commits
from pipeline.words.unigram import STAGE, UnigramRef, stored_unigram
from pipeline.words.vocabulary import VocabularyRef
from transforms.job_context import JobContext


@dataclasses.dataclass
class UnigramDistribution(beam.PTransform):
    """VocabularyRef -> UnigramRef: count^power, its alias table, and the thresholds of subsampling."""

    context: JobContext

    def expand(self, vocabulary: PCollection[VocabularyRef]) -> PCollection[UnigramRef]:
        options = self.context.options
        power = beam.Map(_build, self.context.commits(STAGE), options.power, options.subsample)
        return vocabulary | "RaiseToPower" >> power


def _build(vocabulary: VocabularyRef, commits: Commits, power: float, subsample: float) -> UnigramRef:
    return stored_unigram(commits, vocabulary, power, subsample)
