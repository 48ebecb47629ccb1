"""The parent's reservoir and the vocabulary -> what each epoch of an update replays."""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from apache_beam import PCollection
from apache_beam.pvalue import AsIter, AsSingleton

from pipeline.batches.replay import STAGE, ReplayRef, candidates, stored_replay
from pipeline.batches.sampling import draws_key
from pipeline.batches.tokens import TokenShard
from pipeline.words.phrases import PhrasesRef
from pipeline.words.reservoir import empty_reservoir
from pipeline.words.vocabulary import VocabularyRef
from transforms.job_context import JobContext, StageDoFn
from transforms.phrase_reader import OpenPhrases


@dataclasses.dataclass
class ReplaySentences(beam.PTransform):
    """VocabularyRef -> ReplayRef, one. The sizes of all token shards come as a side input."""

    context: JobContext
    shards: PCollection[TokenShard]
    phrases: PCollection[PhrasesRef] | None = None

    def expand(self, vocabulary: PCollection[VocabularyRef]) -> PCollection[ReplayRef]:
        joined = () if self.phrases is None else (AsSingleton(self.phrases),)
        sizes = self.shards | "Sizes" >> beam.Map(_tokens)
        return vocabulary | "Choose" >> beam.ParDo(Choose(self.context), AsIter(sizes), *joined)


def _tokens(shard: TokenShard) -> int:
    return shard.tokens


class Choose(StageDoFn):
    """Encodes the reservoir, and stores what each epoch replays, unless an earlier attempt has."""

    def __init__(self, context: JobContext):
        super().__init__(context)
        self.commits = context.commits(STAGE)
        self.phrases = OpenPhrases(context)

    def process(
        self, vocabulary: VocabularyRef, sizes: Iterable[int], phrases: PhrasesRef | None = None
    ) -> Iterator[ReplayRef]:
        context, parent = self.context, self.context.parent
        assert parent is not None
        options = context.options

        def find() -> tuple[np.ndarray, np.ndarray]:
            reservoir = parent.open_reservoir(options.holdout) if parent.reservoir else empty_reservoir()
            words, seed = vocabulary.open(context.records), draws_key(options.seed, parent.model)
            return candidates(reservoir, words, self.phrases.joiners(phrases), seed)

        yield stored_replay(self.commits, sum(sizes), options.replay, options.epochs, find)
