"""The corpus side of another run -> its vocabulary and token shards, by reference."""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsSingleton, PBegin

from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.batches.tokens import TokenShard, shard_of
from pipeline.errors import InputError
from pipeline.runtime.process import each
from pipeline.storage.open_storage import is_remote
from pipeline.words.stored_vocabulary import tell_absent
from pipeline.words.vocabulary import STAGE, VocabularyRef
from transforms.job_context import JobContext

_TOGETHER = 256
"""Names of records in one element."""


@dataclasses.dataclass
class ReadVocabulary(beam.PTransform):
    """The start of a graph -> one VocabularyRef."""

    context: JobContext

    def expand(self, begin: PBegin) -> PCollection[VocabularyRef]:
        return begin | "Corpus" >> beam.Create([STAGE]) | "Refer" >> beam.Map(_vocabulary, self.context)


@dataclasses.dataclass
class ReadTokens(beam.PTransform):
    """VocabularyRef -> TokenShard, one for each shard that the other run has made of its corpus.

    One worker lists the names of the records, all of them read the records. Shards are
    passed on once it is sure that all are there.
    """

    context: JobContext

    def expand(self, vocabulary: PCollection[VocabularyRef]) -> PCollection[TokenShard]:
        shards = (
            vocabulary
            | "ListRecords" >> beam.FlatMap(_names, self.context)
            | "SpreadRecords" >> beam.Reshuffle()
            | "ReadRecords" >> beam.FlatMap(_shards, self.context)
        )
        tokens = shards | "Sizes" >> beam.Map(_tokens) | "Sum" >> beam.CombineGlobally(sum)
        whole = vocabulary | "CheckSum" >> beam.Map(_checked, AsSingleton(tokens), self.context)
        return shards | "AfterCheck" >> beam.Map(_after, AsSingleton(whole))


def _vocabulary(name: str, context: JobContext) -> VocabularyRef:
    with context.errors_recorded():
        record = context.commits(name).find(name)
        if record is None:
            raise InputError(f"the corpus of {context.records.storage.root} is gone: its {name} cannot be found")
        ref = VocabularyRef.of(record)
        if context.options.vocabulary:
            tell_absent(ref.open(context.records))
        return ref


def _names(vocabulary: VocabularyRef, context: JobContext) -> Iterator[list[str]]:
    names = context.records.names(TOKENS, context.keys[TOKENS])
    for start in range(0, len(names), _TOGETHER):
        yield names[start : start + _TOGETHER]


def _shards(names: list[str], context: JobContext) -> Iterator[TokenShard]:
    commits = context.commits(TOKENS)

    def read(name: str) -> TokenShard | None:
        record = commits.find(name)
        return shard_of(record) if record else None

    with context.errors_recorded():
        yield from filter(None, each(read, names, is_remote(context.records.storage.root)))


def _tokens(shard: TokenShard) -> int:
    return shard.tokens + shard.kept_back_tokens


def _checked(vocabulary: VocabularyRef, tokens: int, context: JobContext) -> bool:
    with context.errors_recorded():
        if tokens != vocabulary.tokens:
            root = vocabulary.artifact.root
            raise InputError(
                f"--corpus={root} is unfinished or damaged, it has {tokens:,} of {vocabulary.tokens:,} tokens: start"
                " the run there again, which goes on with it"
            )
    return True


def _after(shard: TokenShard, whole: bool) -> TokenShard:
    return shard
