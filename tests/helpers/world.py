"""A small corpus, and what each stage should make of it: `world` in world_fixture.py."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that

from pipeline.batches.sampling import Sampling
from pipeline.batches.shards import BatchShard
from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.batches.tokens import TokenShard, encode_unit, tokens_to_parquet
from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.work_units import WorkUnit
from pipeline.options import Options
from pipeline.runs.directory import make_identity, open_or_create
from pipeline.storage.parquet import to_parquet
from pipeline.words import unigram
from pipeline.words.stored_unigram import STAGE as UNIGRAM
from pipeline.words.stored_unigram import UnigramRef
from pipeline.words.vocabulary import STAGE as VOCABULARY
from pipeline.words.vocabulary import Vocabulary, VocabularyNumbers, VocabularyRef
from transforms.job_context import JobContext

OPTIONS = Options(
    dims=8, epochs=2, min_count=2, block_bytes=4000, batch_size=128, window=3, seed=5, subsample=0.01, threads=2
)


@dataclasses.dataclass(frozen=True)
class World:
    """A small corpus, and what every stage makes of it in memory."""

    corpus: pathlib.Path
    files: list[InputFile]
    context: JobContext
    units: list[WorkUnit]
    sentences: list[list[str]]
    vocabulary: Vocabulary

    def ids(self) -> list[list[int]]:
        """The corpus as word ids, by plain Python."""
        number = {word: i for i, word in enumerate(self.vocabulary.words.to_pylist())}
        found = ([number[word] for word in sentence if word in number] for sentence in self.sentences)
        return [sentence for sentence in found if sentence]

    def vocabulary_ref(self) -> VocabularyRef:
        commits = self.context.commits(VOCABULARY)
        numbers = VocabularyNumbers(len(self.vocabulary), self.vocabulary.tokens, len(self.units))
        artifact = commits.put("vocabulary.parquet", self.vocabulary.to_parquet())
        return VocabularyRef.of(commits.commit(VOCABULARY, [artifact], numbers))

    def distribution(self) -> unigram.UnigramDistribution:
        return unigram.build(self.vocabulary.counts, OPTIONS.power, OPTIONS.subsample)

    def unigram_ref(self) -> UnigramRef:
        artifact = self.context.commits(UNIGRAM).put("unigram.parquet", to_parquet(self.distribution().to_table()))
        return UnigramRef(artifact, len(self.vocabulary), self.vocabulary.tokens)

    def token_shards(self) -> list[TokenShard]:
        shards = []
        for unit in self.units:
            encoded = encode_unit(unit, self.vocabulary, self.context.reader)
            artifact = self.context.commits(TOKENS).put(f"{unit.name}.parquet", tokens_to_parquet(encoded.table))
            shards.append(TokenShard(unit.index, encoded.tokens, encoded.sentences, artifact))
        return shards

    def batch_shards(self) -> list[BatchShard]:
        position, ref, shards, sampling = 0, self.unigram_ref(), [], Sampling.of(OPTIONS)
        for shard in self.token_shards():
            place, artifacts = (shard.index, position, shard.tokens), (shard.artifact, ref.artifact)
            shards.append(BatchShard(*place, sampling, *artifacts, of=self.vocabulary.tokens))
            position += shard.tokens
        return shards


def make_context(files: list[InputFile], output: pathlib.Path, options: Options = OPTIONS) -> JobContext:
    reader = open_reader(options, files)
    run = open_or_create(str(output), make_identity(options, files, reader.identity()))
    return JobContext(run.records, run.keys, options, reader)


Apply = Callable[[beam.PCollection], beam.PCollection]


def check(source: Iterable, apply: Apply, expect: Callable[[list], object]) -> None:
    """Run a transform on its own, on two workers, and hand all its elements to `expect`."""
    options = PipelineOptions(["--direct_num_workers=2", "--direct_running_mode=multi_threading"])
    with test_pipeline.TestPipeline(runner="FnApiRunner", options=options) as pipeline:
        assert_that(apply(pipeline | "Source" >> beam.Create(list(source))), expect)
