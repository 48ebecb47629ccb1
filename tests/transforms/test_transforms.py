"""Each transform against its twin in memory, and the types on the edges of the graph."""

from __future__ import annotations

import collections
import dataclasses
import gzip
import pathlib
import pickle
from collections.abc import Callable, Iterable

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that
from apache_beam.typehints import TypeCheckError
from apache_beam.typehints.typehints import AnyTypeConstraint
from hypothesis import given
from hypothesis import strategies as st

from jobs.graph import build
from pipeline.batches.rows import generate_rows, schema
from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.shards import BatchShard
from pipeline.batches.tokens import TokenShard, encode_unit, read_tokens, tokens_to_parquet
from pipeline.corpus.files import InputFile, match_inputs
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.work_units import TextRange, TextSource, WorkUnit, plan_work_units
from pipeline.errors import ArtifactError, InputError, find
from pipeline.model.loss_curve import read_metrics
from pipeline.options import Options
from pipeline.runs.directory import make_identity, open_or_create
from pipeline.storage.parquet import to_parquet
from pipeline.storage.records import Artifact
from pipeline.training.replicas.trainer import Replicas
from pipeline.training.trainer import Trainer
from pipeline.words import unigram
from pipeline.words.counts import count_unit
from pipeline.words.merging import BucketCounts, UnitSummary, check_complete, table_from_bytes, total
from pipeline.words.unigram import UnigramRef
from pipeline.words.vocabulary import Vocabulary, VocabularyRef, build_vocabulary
from tests.helpers.commands import write_corpus
from transforms import counts as counts_module
from transforms.batches import GenerateBatches
from transforms.counts import CountWords
from transforms.job_context import NAMESPACE, JobContext
from transforms.replicas import TrainReplicas
from transforms.tokens import EncodeTokens
from transforms.train import Train
from transforms.unigram import UnigramDistribution
from transforms.vocabulary import BuildVocabulary
from transforms.work_units import PlanWorkUnits, _plan, indexed

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
        made = self.context.make(
            "vocabulary",
            "vocabulary",
            "vocabulary/vocabulary.parquet",
            self.vocabulary.to_parquet(),
            {"words": len(self.vocabulary), "tokens": self.vocabulary.tokens},
        )
        return VocabularyRef(made.artifacts[0], len(self.vocabulary), self.vocabulary.tokens)

    def distribution(self) -> unigram.UnigramDistribution:
        return unigram.build(self.vocabulary.counts, OPTIONS.power, OPTIONS.subsample)

    def unigram_ref(self) -> UnigramRef:
        artifact = self.put("unigram/unigram.parquet", to_parquet(self.distribution().to_table()))
        return UnigramRef(artifact, len(self.vocabulary))

    def put(self, path: str, data: object) -> Artifact:
        return self.context.records.write_artifact(path, data)

    def token_shards(self) -> list[TokenShard]:
        shards = []
        for unit in self.units:
            encoded = encode_unit(unit, self.vocabulary, self.context.reader)
            artifact = self.put(f"tokens/{unit.name}.parquet", tokens_to_parquet(encoded.table))
            shards.append(TokenShard(unit.index, encoded.tokens, encoded.sentences, artifact))
        return shards

    def batch_shards(self) -> list[BatchShard]:
        position, ref, shards = 0, self.unigram_ref(), []
        for shard in self.token_shards():
            sampling = Sampling.of(OPTIONS)
            shards.append(BatchShard(shard.index, position, shard.tokens, sampling, shard.artifact, ref.artifact))
            position += shard.tokens
        return shards


def make_context(files: list[InputFile], output: pathlib.Path, options: Options = OPTIONS) -> JobContext:
    reader = open_reader(options, files)
    run = open_or_create(str(output), make_identity(options, files, reader.identity()))
    return JobContext(run.records, run.keys, options, reader)


@pytest.fixture
def world(tmp_path) -> World:
    corpus = write_corpus(tmp_path / "corpus.txt", lines=120, words=150)
    sentences = [line.split() for line in corpus.read_text().splitlines()]
    files = match_inputs([str(corpus)])
    counted = collections.Counter(word for sentence in sentences for word in sentence)
    kept = sorted((-n, word.encode(), word) for word, n in counted.items() if n >= OPTIONS.min_count)
    vocabulary = Vocabulary(pa.array([word for _, _, word in kept]), np.array([-n for n, _, _ in kept]))
    sources = [TextSource(file.uri, file.size, version=file.version) for file in files]
    units = plan_work_units(sources, OPTIONS.block_bytes)
    assert len(units) > 3
    return World(corpus, files, make_context(files, tmp_path / "run"), units, sentences, vocabulary)


Apply = Callable[[beam.PCollection], beam.PCollection]


def check(source: Iterable, apply: Apply, expect: Callable[[list], object]) -> None:
    """Run a transform on its own, on two workers, and hand all its elements to `expect`."""
    options = PipelineOptions(["--direct_num_workers=2", "--direct_running_mode=multi_threading"])
    with test_pipeline.TestPipeline(runner="FnApiRunner", options=options) as pipeline:
        assert_that(apply(pipeline | "Source" >> beam.Create(list(source))), expect)


def test_work_units_are_those_of_the_plan(world):
    def expect(units):
        assert sorted(units, key=lambda unit: unit.index) == world.units

    check(indexed(world.files), lambda files: (files | PlanWorkUnits(world.context, len(world.files)))[0], expect)


def test_work_units_of_compressed_files_hold_their_text_in_order(world, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    text = world.corpus.read_bytes().splitlines(keepends=True)
    (folder / "a.txt").write_bytes(b"".join(text[:50]))
    (folder / "b.gz").write_bytes(gzip.compress(b"".join(text[50:90])))
    (folder / "c.txt").write_bytes(b"".join(text[90:]))
    files = match_inputs([str(folder)])
    context = make_context(files, tmp_path / "other")

    def expect(units):
        parts = [part for unit in sorted(units, key=lambda unit: unit.index) for part in unit.ranges]
        assert b"".join(content(part) for part in parts) == world.corpus.read_bytes()
        assert {part.name() for part in parts} == {file.uri for file in files}

    check(indexed(files), lambda elements: (elements | PlanWorkUnits(context, len(files)))[0], expect)


@pytest.mark.parametrize("delivered", [[0, 1], [0, 2], [1, 2], [0, 1, 1, 2], []])
def test_files_that_a_runner_loses_or_doubles_are_noticed(delivered):
    sources = [(3 * n, 3, (TextSource(f"{n}.txt", 10),)) for n in range(3)]
    with pytest.raises(ArtifactError, match="run the same command again"):
        list(_plan((0, [sources[n] for n in delivered]), 100, 9))
    assert list(_plan((0, sources[::-1]), 100, 9)) == plan_work_units([s for *_, some in sources for s in some], 100)


def content(part: TextRange) -> bytes:
    return pathlib.Path(part.uri).read_bytes()[part.start : part.end]


@pytest.mark.parametrize("bundle_words", [1, 10**9], ids=["each unit sent on", "each bundle sent on"])
def test_counts_are_those_of_a_counter(world, monkeypatch, bundle_words):
    monkeypatch.setattr(counts_module, "BUNDLE_WORDS", bundle_words)

    def expect(buckets):
        found = [row for bucket in buckets for row in bucket.open(world.context.records).to_pylist()]
        kept = dict(zip(world.vocabulary.words.to_pylist(), world.vocabulary.counts.tolist()))
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
    assert [record.name for record in world.context.records.all("counts")] == [unit.name for unit in world.units]


def test_no_words_travel_once_there_is_a_vocabulary(world):
    world.vocabulary_ref()

    def expect(buckets):
        assert buckets == []

    check(world.units, lambda units: (units | CountWords(world.context))[0], expect)


def summaries_of(pipeline: beam.PCollection, bad_lines: int = 0, tokens: int = 0) -> beam.PCollection:
    return pipeline | "Summaries" >> beam.Create([UnitSummary(0, 10, 100, bad_lines, tokens, 1, 1)])


def test_vocabulary_is_ordered_by_count_and_bytes(world):
    tables = [count_unit(unit, world.context.reader).table for unit in world.units]
    merged = counts_module.table_bytes(counts_module.merge_counts(tables))

    def expect(refs):
        (ref,) = refs
        found = Vocabulary.from_parquet(world.context.records.read(ref.artifact))
        twin = Vocabulary.from_table(build_vocabulary([table_from_bytes(merged)], OPTIONS.min_count))
        for wanted in (world.vocabulary, twin):
            assert found.words.to_pylist() == wanted.words.to_pylist()
            assert found.counts.tolist() == wanted.counts.tolist()
        assert (ref.words, ref.tokens) == (len(found), found.tokens)

    check([BucketCounts(merged)], built(world.context), expect)


def built(context: JobContext, bad_lines: int = 0, tokens: int = 0) -> Callable:
    return lambda counts: counts | BuildVocabulary(context, summaries_of(counts.pipeline, bad_lines, tokens))


def test_counts_that_a_runner_loses_are_noticed():
    units = [UnitSummary(n, 10, 5, 0, 20, 1, 3) for n in range(3)]
    counts = [BucketCounts(tokens=45), BucketCounts(tokens=15)]
    check_complete(units, counts)
    check_complete([total(units)], counts)
    for fewer in ((units[:2], counts), (units, counts[:1]), (units[:2], counts[:1])):
        with pytest.raises(ArtifactError, match="run the same command again"):
            check_complete(*fewer)


def test_a_bucket_of_many_words_travels_by_reference_and_is_gone_afterwards(world, monkeypatch):
    monkeypatch.setattr(counts_module, "ELEMENT_BYTES", 0)
    storage = world.context.records.storage

    def expect_buckets(buckets):
        assert max(len(pickle.dumps(bucket)) for bucket in buckets) < 500
        assert {bucket.artifact.path for bucket in buckets} == {info.path for info in storage.list("counts/buckets")}

    def expect_vocabulary(refs):
        found = Vocabulary.from_parquet(world.context.records.read(refs[0].artifact))
        assert found.words.to_pylist() == world.vocabulary.words.to_pylist()
        assert found.counts.tolist() == world.vocabulary.counts.tolist()

    def counted(units):
        return (units | CountWords(world.context))[0]

    check(world.units, counted, expect_buckets)
    tokens = sum(count_unit(unit, world.context.reader).tokens for unit in world.units)
    check(world.units, lambda units: built(world.context, 0, tokens)(counted(units)), expect_vocabulary)
    assert storage.list("counts/buckets") == []


def test_too_many_bad_lines_stop_before_the_vocabulary(world):
    merged = counts_module.table_bytes(pa.table({"word": ["a"], "count": [9]}))
    with pytest.raises(Exception, match="while running") as caught:
        check([BucketCounts(merged)], built(world.context, 2), len)
    error = find(caught.value)
    assert isinstance(error, InputError)
    assert str(error).startswith("2 of 100 lines cannot be read, more than --max_bad_lines=1%: see")
    assert world.context.records.all("vocabulary") == []


def test_unigram_distribution_is_that_of_the_counts(world):
    def expect(refs):
        (ref,) = refs
        assert ref == world.unigram_ref()  # the same bytes

    check([world.vocabulary_ref()], lambda vocabulary: vocabulary | UnigramDistribution(world.context), expect)


def test_tokens_are_the_ids_of_the_sentences_in_order(world):
    ref = world.vocabulary_ref()

    def apply(units):
        return units | EncodeTokens(world.context, units.pipeline | "Vocabulary" >> beam.Create([ref]))

    def expect(shards):
        found = []
        for shard in sorted(shards, key=lambda shard: shard.index):
            tokens, offsets = read_tokens(world.context.records.read(shard.artifact))
            assert (shard.tokens, shard.sentences) == (len(tokens), len(offsets) - 1)
            found += [part.tolist() for part in np.split(tokens, offsets[1:-1])]
        assert found == world.ids()

    check(world.units, apply, expect)


@pytest.mark.parametrize("batches", ["stream", "stored"])
def test_batches_are_those_of_the_whole_corpus_at_once(world, batches):
    context = dataclasses.replace(world.context, options=dataclasses.replace(OPTIONS, batches=batches))
    ref, sentences = world.unigram_ref(), world.ids()
    tokens = np.concatenate(sentences).astype(np.int32)
    offsets = np.cumsum([0, *map(len, sentences)])
    tables, sampling = Tables.of(world.distribution()), Sampling.of(OPTIONS)

    def apply(shards):
        return shards | GenerateBatches(context, shards.pipeline | "Unigram" >> beam.Create([ref]))

    def expect(shards):
        ordered = sorted(shards, key=lambda shard: shard.index)
        assert all(len(shard.stored) == (2 if batches == "stored" else 0) for shard in ordered)
        for epoch in range(OPTIONS.epochs):
            made = [batch for shard in ordered for batch in shard.batches(context.records, epoch)]
            found = pa.Table.from_batches(made, schema(OPTIONS.negatives)).combine_chunks()
            wanted = generate_rows(tokens, offsets, 0, tables, sampling, epoch)
            assert found.to_pylist() == pa.Table.from_batches([wanted]).to_pylist()
            assert found.num_rows > len(tokens) // 2

    check(world.token_shards(), apply, expect)


def test_training_is_that_of_the_plain_trainer(world, tmp_path):
    ref, shards = world.vocabulary_ref(), world.batch_shards()
    alone = World(**{**vars(world), "context": make_context(world.files, tmp_path / "alone")})
    trainer = Trainer(OPTIONS, alone.context.records, alone.context.keys["checkpoints"])
    wanted = trainer.train(world.vocabulary.words, world.vocabulary.counts, alone.batch_shards())

    def apply(elements):
        return elements | Train(world.context, elements.pipeline | "Vocabulary" >> beam.Create([ref]), {})

    def expect(refs):
        (found,) = refs
        assert (found.step, found.digest, found.words) == (wanted.step, wanted.digest, wanted.words)

    check(shards[::-1], apply, expect)


def test_training_without_the_last_shard_is_refused(world):
    ref, shards = world.vocabulary_ref(), world.batch_shards()
    with pytest.raises(Exception, match=r"of the .* tokens that were counted: a shard was lost") as raised:
        check(
            shards[:-1],
            lambda elements: elements | Train(world.context, elements.pipeline | "V" >> beam.Create([ref]), {}),
            lambda refs: None,
        )
    assert isinstance(find(raised.value), ArtifactError)


@pytest.mark.parametrize("holdout", [0.0, 0.2])
def test_replicas_are_those_of_the_plain_functions(world, tmp_path, holdout):
    options = dataclasses.replace(OPTIONS, replicas=3, rounds=2, holdout=holdout)
    made = [make_context(world.files, tmp_path / name, options) for name in ("alone", "beam")]
    worlds = [World(**{**vars(world), "context": context}) for context in made]
    sampling = Sampling.of(options)
    shards = [[dataclasses.replace(shard, sampling=sampling) for shard in one.batch_shards()] for one in worlds]
    alone = Replicas(options, made[0].records, made[0].keys["checkpoints"])
    wanted = alone.train(world.vocabulary.words, world.vocabulary.counts, shards[0])
    ref = worlds[1].vocabulary_ref()

    def apply(elements):
        return elements | TrainReplicas(made[1], elements.pipeline | "Vocabulary" >> beam.Create([ref]), {}, threads=1)

    def expect(refs):
        (found,) = refs
        assert (found.step, found.digest) == (wanted.step, wanted.digest)

    check(shards[1][::-1], apply, expect)
    curves = [read_metrics(context.records, context.keys["checkpoints"]).drop(["seconds"]) for context in made]
    assert curves[0].equals(curves[1])
    assert ("holdout_loss" in curves[0].column_names) == (holdout > 0)


def graph(world: World, options: Options = OPTIONS) -> beam.Pipeline:
    made = beam.Pipeline("FnApiRunner")
    build(made, world.files, dataclasses.replace(world.context, options=options), {})
    return made


@pytest.mark.parametrize(
    "options", [{}, {"batches": "stored"}, {"replicas": 2, "rounds": 2, "holdout": 0.1}], ids=["", "stored", "replicas"]
)
def test_every_edge_of_the_graph_has_a_type(world, options, caplog):
    untyped = []

    class Edges(PipelineVisitor):
        def visit_transform(self, node):
            if "/" in node.full_label and not node.full_label.startswith("Inputs"):
                outputs = node.outputs.values()
                untyped.extend(node.full_label for out in outputs if isinstance(out.element_type, AnyTypeConstraint))

    graph(world, dataclasses.replace(OPTIONS, **options)).visit(Edges())
    # Inside Reshuffle and ToList, Beam itself has steps without types.
    assert [label for label in untyped if not any(part in label for part in ("Spread", "All"))] == []
    assert "type hint will be ignored" not in caplog.text


def test_elements_of_another_type_are_refused_when_the_graph_is_built(world):
    pipeline = beam.Pipeline("FnApiRunner")
    numbers = pipeline | beam.Create([1])
    for transform in (CountWords(world.context), UnigramDistribution(world.context), Train(world.context, numbers, {})):
        with pytest.raises(TypeCheckError, match=r"expected|requires"):
            numbers | transform


def test_stages_carry_the_names_of_the_design(world):
    stages = [part.full_label for part in graph(world).transforms_stack[0].parts]
    assert stages == [
        "Inputs",
        "WorkUnits",
        "CountWords",
        "BuildVocabulary",
        "UnigramDistribution",
        "EncodeTokens",
        "GenerateBatches",
        "Train",
    ]


def test_beam_metrics_count_the_work(world):
    result = graph(world).run()
    result.wait_until_finish()
    found = result.metrics().query()
    ours = [one for one in found["counters"] if one.key.metric.namespace == NAMESPACE]
    counters = {one.key.metric.name: one.committed for one in ours}
    size = world.corpus.stat().st_size
    assert counters["bytes"] == size
    assert counters["lines"] == len(world.sentences)
    assert counters["tokens"] == sum(map(len, world.sentences))
    assert counters["bad_lines"] == 0
    assert 0 < counters["targets"] <= OPTIONS.epochs * world.vocabulary.tokens
    (times,) = (one for one in found["distributions"] if one.key.metric.name == "step_microseconds")
    assert times.committed.count > 0


@given(st.lists(st.integers(0, 2 << 20), max_size=600))
def test_files_come_together_in_order_and_large_ones_alone(sizes):
    files = [InputFile(f"f{i:05d}", size, "1") for i, size in enumerate(sizes)]
    elements = list(indexed(files))
    assert [file for _, together in elements for file in together] == files
    assert all(files[first] == together[0] for first, together in elements)
    assert all(len(t) == 1 or (len(t) <= 256 and sum(f.size for f in t) <= 1 << 20) for _, t in elements)
