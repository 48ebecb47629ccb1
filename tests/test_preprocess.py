"""`jobs.preprocess`, and models trained from it: the same bytes as by one command."""

from __future__ import annotations

import gzip
import json
import pathlib
import random
import re

import apache_beam as beam
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import ROOT, digest_of, preprocess, run, train, write_corpus
from crashing import Moment, kill, run_until, terminate
from test_storage import use

from pipeline import Run
from pipeline.batches import read_batches, schema, write_batches
from pipeline.lock import Lock
from pipeline.records import canonical_json, sealed_json
from pipeline.run_directory import open_run
from pipeline.storage import open_storage
from pipeline.verify import verify_run
from tests.fake_s3 import serve
from transforms import work_units

CORPUS_SIDE = ("--min_count=2", "--window=3", "--seed=7", "--block_bytes=12000")
"""As in TINY, with several units."""
TRAINING = ("--dims=12", "--epochs=2", "--batch_size=256", "--threads=2", "--no_report")
STORED = ("--batches=stored", "--epochs=2")


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> pathlib.Path:
    """A plain and a compressed file."""
    folder = tmp_path_factory.mktemp("text")
    data = write_corpus(folder / "text", lines=250).read_bytes()
    (folder / "text").unlink()
    half = data.index(b"\n", len(data) // 2) + 1
    (folder / "a.txt").write_bytes(data[:half])
    (folder / "b.txt.gz").write_bytes(gzip.compress(data[half:]))
    return folder


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory) -> Run:
    """The run by one command."""
    output = tmp_path_factory.mktemp("whole") / "run"
    digest_of(text, output, "--block_bytes=12000")
    return Run.open(str(output))


def made(text: pathlib.Path, output: pathlib.Path | str, *arguments: str) -> str:
    outcome = preprocess(f"--input={text}", f"--output={output}", *CORPUS_SIDE, "--threads=2", *arguments)
    assert outcome.status == 0, outcome.stderr
    return str(output)


@pytest.fixture(scope="module")
def stream(text, tmp_path_factory) -> str:
    return made(text, tmp_path_factory.mktemp("stream") / "corpus")


@pytest.fixture(scope="module")
def stored(text, tmp_path_factory) -> str:
    return made(text, tmp_path_factory.mktemp("stored") / "corpus", *STORED)


def files(folder: str) -> dict[str, tuple[int, int]]:
    """Path -> (time of the last change, inode); folders too, and the folder itself."""
    found = ((p, p.stat()) for p in [pathlib.Path(folder), *pathlib.Path(folder).rglob("*")])
    return {str(p.relative_to(folder)): (s.st_mtime_ns, s.st_ino) for p, s in found}


def from_corpus(corpus: str, output: pathlib.Path | str, *arguments: str):
    return train(f"--corpus={corpus}", f"--output={output}", *TRAINING, *arguments)


@pytest.mark.parametrize("kind", ["stream", "stored"])
def test_preprocessing_then_training_is_training(whole, kind, tmp_path, request):
    corpus = request.getfixturevalue(kind)
    before = files(corpus)
    outcome = from_corpus(corpus, tmp_path / "run")
    assert outcome.digest == whole.checkpoint().digest
    assert files(corpus) == before  # not even a lock came and went: it would have changed the folder's time
    keys = open_run(str(tmp_path / "run")).keys
    assert keys == whole.directory.keys
    assert {k: v for k, v in open_run(corpus).keys.items() if k != "checkpoints"}.items() <= keys.items()
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"run.json", "records", "checkpoints", "metrics"}


def test_many_models_from_one_corpus_are_those_of_one_command_each(text, stored, tmp_path):
    """Other rows than those stored too: they are made from the same tokens."""
    choices = [
        ["--model=cbow", "--dims=7"], ["--replicas=2", "--rounds=2"], ["--window=5", "--seed=8", "--power=0.5"],
    ]  # fmt: skip
    for n, options in enumerate(choices):
        outcome = from_corpus(stored, tmp_path / f"from{n}", *options)
        assert outcome.digest == digest_of(text, tmp_path / f"plain{n}", *options)
        assert ("are of other options: they are not used" in outcome.stderr) == (n == 2)
        made_here = {p.name for p in (tmp_path / f"from{n}").iterdir()}
        assert "tokens" not in made_here
        assert "counts" not in made_here
        assert ("unigram" in made_here) == (n == 2)
        assert "batches" not in made_here


def test_a_training_run_serves_as_a_corpus_too(whole, tmp_path):
    outcome = from_corpus(whole.uri, tmp_path / "run")
    assert outcome.digest == whole.checkpoint().digest
    again = from_corpus(str(tmp_path / "run"), tmp_path / "third")
    assert again.status == 2
    assert again.error.endswith(f"takes its corpus side from another run itself: use --corpus={whole.uri}")


def rows(run: Run, epoch: int) -> list[dict]:
    return pa.Table.from_batches(run.batches(epoch)).to_pylist()


def test_stored_batches_are_the_streamed_ones_and_epochs_beyond_are_made(stream, stored):
    stream_run, stored_run = Run.open(stream), Run.open(stored)
    assert all(len(shard.stored) == 2 for shard in stored_run.shards())
    assert not any(shard.stored for shard in stream_run.shards())
    for epoch in range(3):
        found = rows(stored_run, epoch)
        assert found == rows(stream_run, epoch)
        assert len(found) > 1000
    assert rows(stored_run, 0) != rows(stored_run, 1)


def test_more_epochs_than_are_stored_can_be_stored_by_the_training_run(stored, tmp_path, text):
    outcome = from_corpus(stored, tmp_path / "run", "--epochs=3", "--batches=stored")
    assert outcome.digest == digest_of(text, tmp_path / "plain", "--epochs=3")
    assert [p.name for p in (tmp_path / "run" / "batches").iterdir()] == ["epoch=2"]
    run = Run.open(str(tmp_path / "run"))
    assert all(len(shard.stored) == 3 for shard in run.shards())
    assert len(rows(run, 2)) > 1000


def test_other_readers_find_the_same_rows(stored):
    ours = [row for epoch in range(2) for row in rows(Run.open(stored), epoch)]
    found = duckdb.sql(
        f"SELECT position, context, target, negatives FROM '{stored}/batches/*/*.parquet' ORDER BY epoch, position"
    ).fetchall()
    assert [list(map(plain, row)) for row in found] == [list(map(plain, row.values())) for row in ours]
    ((largest,),) = duckdb.sql(f"SELECT max(target) FROM '{stored}/batches/*/*.parquet'").fetchall()
    assert largest < pq.read_table(f"{stored}/vocabulary/vocabulary.parquet").num_rows


@pytest.mark.parametrize(
    ("contexts", "rows", "groups"),
    [(2, 30_000, [90_000, 90_000, 20_000]), (40, 30_000, [90_000, 90_000, 20_000]), (1000, 4096, [8192, 8192, 3616])],
)
def test_row_groups_are_of_a_size_that_readers_like(contexts, rows, groups):
    total = sum(groups)
    batches = [batch_of(begin, min(total, begin + rows), contexts) for begin in range(0, total, rows)]
    data = write_batches(batches, 5)
    file = pq.ParquetFile(pa.BufferReader(data))
    found = [file.metadata.row_group(n) for n in range(file.num_row_groups)]
    assert [group.num_rows for group in found] == groups
    position = file.schema_arrow.get_field_index("position")
    limits = [group.column(position).statistics for group in found]
    assert [(limit.min, limit.max) for limit in limits][:2] == [(0, groups[0] - 1), (groups[0], sum(groups[:2]) - 1)]
    assert pa.Table.from_batches(read_batches(data)).equals(pa.Table.from_batches(batches))


def batch_of(begin: int, end: int, contexts: int) -> pa.RecordBatch:
    fields, rows = schema(5), end - begin
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * contexts)
    values = pa.array(np.zeros(rows * contexts, np.int32))
    negatives = pa.array(np.zeros(rows * 5, np.int32))
    columns = [
        pa.array(np.arange(begin, end)),
        pa.ListArray.from_arrays(offsets, values, type=fields.field("context").type),
        pa.array(np.zeros(rows, np.int32)),
        pa.FixedSizeListArray.from_arrays(negatives, type=fields.field("negatives").type),
    ]
    return pa.record_batch(columns, schema=fields)


def plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


class Shuffled(beam.PTransform):
    """In place of Reshuffle: elements in an order of its own, all through one worker."""

    def expand(self, elements):
        return (
            elements
            | "Key" >> beam.Map(lambda element: (0, element))
            | "Gather" >> beam.GroupByKey()
            | "Shuffle" >> beam.FlatMap(shuffled)
        )


def shuffled(element):
    """Backwards, which no runner does by itself."""
    return sorted(element[1], key=repr, reverse=True)


def test_the_order_of_elements_changes_nothing(text, stored, monkeypatch, tmp_path, whole):
    monkeypatch.setattr(beam, "Reshuffle", Shuffled)
    monkeypatch.setattr(work_units, "_TOGETHER_BYTES", 1)  # each file an element
    corpus = made(text, tmp_path / "corpus", *STORED)
    assert from_corpus(corpus, tmp_path / "run").digest == whole.checkpoint().digest
    assert content(corpus) == content(stored)


def content(folder: str) -> dict[str, bytes]:
    """Everything but run.json, and what a killed writer left half written."""
    paths = (p for p in pathlib.Path(folder).rglob("*") if p.is_file() and p.name != "run.json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if not p.name.startswith(".")}


def tables(folder: str) -> list[tuple[str, bytes]]:
    """What others read of a corpus."""
    wanted = ("batches/", "tokens/", "vocabulary/", "unigram/")
    return sorted(item for item in content(folder).items() if item[0].startswith(wanted))


MOMENTS = {
    "unpacking": Moment("put", "text/", 2, "inside"),
    "counting": Moment("put", "counts/", 3, "inside"),
    "vocabulary, before the record": Moment("put", "records/vocabulary/"),
    "unigram": Moment("put", "unigram/", when="inside"),
    "encoding, before a record": Moment("put", "records/tokens/", 2),
    "storing batches": Moment("put", "batches/", 5, "inside"),
}


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(moment, id=name, marks=[pytest.mark.slow] if name in ("unpacking", "unigram") else [])
        for name, moment in MOMENTS.items()
    ],
)
def test_preprocessing_goes_on_after_a_kill(text, stored, whole, tmp_path, moment):
    output = str(tmp_path / "corpus")
    command = [f"--input={text}", f"--output={output}", *CORPUS_SIDE, *STORED, "--threads=2"]
    assert run_until(moment, kill, command, tmp_path / "log", "jobs.preprocess") == -9
    assert verify_run(open_storage(output)).problems == []
    if moment.prefix != "batches/":
        refused = from_corpus(output, tmp_path / "run")
        assert refused.status == 2
        assert "has no vocabulary yet" in refused.error or "is unfinished" in refused.error
        assert f"run the command that filled {output} again" in refused.error
    made(text, output, *STORED)
    assert verify_run(open_storage(output), inputs=True).problems == []
    for ours, theirs in zip(*(tables(folder) for folder in (output, stored)), strict=True):
        assert ours == theirs


def test_preprocessing_stops_at_a_signal(text, stored, tmp_path):
    output = str(tmp_path / "corpus")
    command = [f"--input={text}", f"--output={output}", *CORPUS_SIDE, *STORED, "--threads=2"]
    assert run_until(MOMENTS["counting"], terminate, command, tmp_path / "log", "jobs.preprocess") == 143
    assert "run the same command again to go on" in (tmp_path / "log").read_text()
    assert not (tmp_path / "corpus" / "lock.json").exists()
    made(text, output, *STORED)
    assert tables(output) == tables(stored)


def test_training_from_a_corpus_goes_on_after_a_kill(stored, whole, tmp_path):
    output = tmp_path / "run"
    command = [f"--corpus={stored}", f"--output={output}", *TRAINING, "--checkpoint_every=5"]
    moment = Moment("put", "records/checkpoints/", 2, "after")
    assert run_until(moment, kill, command, tmp_path / "log") == -9
    before = len(list((output / "checkpoints").iterdir()))
    assert before == 2
    assert train(*command).digest == whole.checkpoint().digest
    assert verify_run(open_storage(str(output))).problems == []


def test_preprocessing_again_makes_nothing_twice_and_more_epochs_only_those(text, tmp_path):
    corpus = made(text, tmp_path / "corpus", "--batches=stored", "--epochs=1")
    before = files(corpus)
    outcome = preprocess(f"--input={text}", f"--output={corpus}", *CORPUS_SIDE, *STORED)
    assert "batches     2 epochs of" in outcome.stdout
    after = files(corpus)
    new = {path for path in after if before.get(path) != after[path] and (pathlib.Path(corpus) / path).is_file()}
    assert new
    assert all("epoch=1" in path for path in new)


def test_the_summary_says_what_is_there_and_where(stored, text):
    said = preprocess(f"--input={text}", f"--output={stored}", *CORPUS_SIDE, *STORED).stdout
    vocabulary = Run.open(stored).vocabulary()
    tokens = Run.open(stored).vocabulary_tokens()
    assert f"vocabulary  {vocabulary.num_rows:,} words, " in said
    assert f"tokens      {tokens:,} in {len(Run.open(stored).shards())} shards, " in said
    assert f"  {stored}/batches\n" in said
    assert f"jobs.train --corpus={stored} " in said


def test_a_dry_run_writes_nothing(text, stored, tmp_path):
    plan = preprocess(f"--input={text}", f"--output={tmp_path / 'corpus'}", *CORPUS_SIDE, "--dry_run")
    assert plan.status == 0
    assert "the first sentences become:" in plan.stdout
    assert "--dims" not in plan.stdout
    plan = from_corpus(stored, tmp_path / "run", "--dry_run")
    assert f"corpus: {stored}, {Run.open(stored).vocabulary_tokens():,} tokens, batches of 2 epochs" in plan.stdout
    assert "--window=3" in plan.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_output_in_use_is_refused_and_a_corpus_in_use_is_read(text, stream, whole, tmp_path):
    with Lock(open_storage(stream)):
        assert preprocess(f"--input={text}", f"--output={stream}", *CORPUS_SIDE).status == 3
        assert from_corpus(stream, tmp_path / "run").digest == whole.checkpoint().digest


def test_options_of_training_are_refused_unless_a_file_serves_both(text, tmp_path):
    refused = preprocess(f"--input={text}", f"--output={tmp_path / 'corpus'}", "--dims=5")
    assert (refused.status, refused.error) == (2, "--dims has no part in jobs.preprocess: give it to jobs.train")
    config = tmp_path / "both.yaml"
    config.write_text("dims: 12\nmin_count: 2\nwindow: 3\nno_report: true\nbatch_size: 256\n")
    outcome = preprocess(f"--input={text}", f"--output={tmp_path / 'corpus'}", f"--config={config}")
    assert outcome.status == 0, outcome.stderr
    outcome = train(f"--corpus={tmp_path / 'corpus'}", f"--output={tmp_path / 'run'}", f"--config={config}")
    assert outcome.status == 0, outcome.stderr
    assert Run.open(str(tmp_path / "run")).options.dims == 12


def test_other_options_of_the_corpus_are_refused_with_both_values(stream, tmp_path):
    refused = from_corpus(stream, tmp_path / "run", "--min_count=3", "--lowercase", "--block_bytes=5000")
    assert refused.status == 2
    for part in ("--min_count is 3, the corpus has 2", "--lowercase is True, the corpus has False"):
        assert part in refused.error
    assert "--block_bytes is 5000, the corpus has 12000" in refused.error
    assert not (tmp_path / "run").exists()
    assert from_corpus(stream, tmp_path / "run", "--min_count=2", "--dry_run").status == 0


def copied(corpus: str, target: pathlib.Path, but: str | tuple[str, ...] = "//") -> pathlib.Path:
    for path in pathlib.Path(corpus).rglob("*"):
        name = str(path.relative_to(corpus))
        if path.is_file() and not name.startswith(but):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(path.read_bytes())
    return target


def flip(path: pathlib.Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


WRONG = {
    "nothing there": (lambda run: [p.unlink() for p in run.rglob("*") if p.is_file()], 2, "is not the output of a run"),
    "another format": (lambda run: reformat(run / "run.json"), 2, "has format 99, this version reads"),
    "no vocabulary": (lambda run: (run / "records/vocabulary/vocabulary.json").unlink(), 2, "has no vocabulary yet"),
    "a unit not encoded": (lambda run: (run / "records/tokens/unit-00002.json").unlink(), 2, "units as tokens"),
    "a unit of another key": (lambda run: rekey(run / "records/tokens/unit-00002.json"), 2, " tokens: run the command"),
    "no tokens": (lambda run: [p.unlink() for p in run.glob("records/tokens/*")], 2, "is unfinished, it has 0 of"),
    "a lost shard": (lambda run: (run / "tokens/unit-00001.parquet").unlink(), 1, "unit-00001.parquet is missing: run"),
    "a changed shard": (lambda run: flip(run / "tokens/unit-00001.parquet"), 1, "unit-00001.parquet is damaged"),
    "a changed vocabulary": (lambda run: flip(run / "vocabulary/vocabulary.parquet"), 1, "vocabulary.parquet is dam"),
    "changed batches": (lambda run: flip(run / "batches/epoch=1/shard-00001.parquet"), 1, "shard-00001.parquet is dam"),
    "lost batches": (lambda run: (run / "batches/epoch=0/shard-00001.parquet").unlink(), 1, "01.parquet is missing"),
}


def reformat(path: pathlib.Path) -> None:
    body = json.loads(path.read_bytes())
    del body["digest"]
    path.write_bytes(sealed_json(body | {"format_version": 99}))


def rekey(path: pathlib.Path) -> None:
    body = json.loads(path.read_bytes())
    del body["digest"]
    assert canonical_json(body)
    path.write_bytes(sealed_json(body | {"key": "0" * 32}))


@pytest.mark.parametrize("wrong", WRONG)
def test_a_corpus_that_cannot_serve_is_an_error_that_says_why(stored, tmp_path, wrong):
    corpus = copied(stored, tmp_path / "corpus")
    spoil, status, message = WRONG[wrong]
    spoil(corpus)
    outcome = from_corpus(str(corpus), tmp_path / "run", "--epochs=3")
    assert outcome.status == status, outcome.stderr
    assert str(corpus) in outcome.error
    assert message in outcome.error
    assert not (tmp_path / "run" / "lock.json").exists()


def test_a_corpus_without_its_counts_is_enough(stored, whole, tmp_path):
    """The intermediate results may be deleted."""
    for folder in ("counts", "records/counts", "text", "records/text"):
        assert (pathlib.Path(stored) / folder).exists()
    slim = copied(stored, tmp_path / "corpus", but=("counts", "records/counts", "text", "records/text"))
    assert from_corpus(str(slim), tmp_path / "run").digest == whole.checkpoint().digest


def test_a_corpus_is_neither_the_output_nor_beside_input(stream, text, tmp_path):
    same = from_corpus(stream, stream)
    assert (same.status, "is the --corpus itself" in same.error) == (2, True)
    both = from_corpus(stream, tmp_path / "run", f"--input={text}")
    assert (both.status, "leave --input out" in both.error) == (2, True)


def test_a_run_is_not_gone_on_with_from_another_corpus(stream, stored, text, tmp_path, whole):
    output = tmp_path / "run"
    corpus = copied(stream, tmp_path / "corpus")
    assert from_corpus(str(corpus), output).status == 0
    moved = from_corpus(stored, output)  # of the same keys: nothing differs but the place
    assert moved.digest == whole.checkpoint().digest
    assert Run.open(str(output)).identity["corpus"] == stored
    made(text, corpus, "--overwrite", "--min_count=4")
    refused = from_corpus(str(corpus), output)
    assert refused.status == 2
    assert "--min_count is 4, the run has 2" in refused.error


def test_kinds_of_runs_are_not_mixed_up(text, stream, whole, tmp_path):
    refused = preprocess(f"--input={text}", f"--output={whole.uri}", *CORPUS_SIDE)
    assert (refused.status, "holds a training run: choose another --output" in refused.error) == (2, True)
    refused = train(f"--input={text}", f"--output={stream}", "--min_count=4")
    assert refused.status == 2
    assert "it holds a corpus, and is no training run; --min_count is 4, the run has 2" in refused.error
    assert "--dims" not in refused.error
    corpus = copied(stream, tmp_path / "corpus")  # with the same options, training goes on where preprocessing was
    assert digest_of(text, corpus, "--block_bytes=12000") == whole.checkpoint().digest


def test_verify_checks_what_a_run_refers_to(stored, tmp_path):
    corpus = copied(stored, tmp_path / "corpus")
    assert from_corpus(str(corpus), tmp_path / "run").status == 0
    sound = run("jobs.verify", f"--run={tmp_path / 'run'}", "--input")
    assert sound.status == 0, sound.stderr
    flip(corpus / "tokens/unit-00002.parquet")
    flip(corpus / "batches/epoch=1/shard-00003.parquet")
    (corpus / "counts/unit-00000.parquet").unlink()
    damaged = run("jobs.verify", f"--run={tmp_path / 'run'}")
    assert damaged.status == 1
    problems = [line.split(" ")[0] for line in damaged.stderr.splitlines()]
    assert sorted(problem.removeprefix(f"{corpus}/") for problem in problems) == [
        "batches/epoch=1/shard-00003.parquet", "counts/unit-00000.parquet", "tokens/unit-00002.parquet",
    ]  # fmt: skip
    assert damaged.digest == sound.digest
    (corpus / "records/tokens/unit-00002.json").unlink()
    assert f"{corpus} does not hold all tokens" in run("jobs.verify", f"--run={tmp_path / 'run'}").stderr


def test_a_run_finds_its_corpus_and_can_be_reported(stored, whole, tmp_path):
    outcome = train(f"--corpus={stored}", f"--output={tmp_path / 'run'}", *TRAINING[:-1])
    assert outcome.status == 0, outcome.stderr
    assert "left out" not in outcome.stderr
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    found = Run.open(str(tmp_path / "run"))
    assert found.vocabulary().equals(whole.vocabulary())
    np.testing.assert_array_equal(found.unigram().keep, whole.unigram().keep)
    assert rows(found, 1) == rows(whole, 1)
    with pytest.raises(Exception, match=r"has no checkpoint yet: run jobs\.train with --corpus="):
        Run.open(stored).vectors()


def test_corpus_and_run_may_lie_on_different_storages(text, stream, whole, tmp_path, monkeypatch):
    with serve() as server:
        use(monkeypatch, server)
        made(text, "s3://bucket/corpus", *STORED)
        folder = from_corpus("s3://bucket/corpus", tmp_path / "run")
        assert folder.digest == whole.checkpoint().digest
        bucket = from_corpus(stream, "s3://bucket/run")
        assert bucket.digest == whole.checkpoint().digest
        assert run("jobs.verify", "--run=s3://bucket/run").status == 0
        assert run("jobs.verify", f"--run={tmp_path / 'run'}").status == 0
        missing = from_corpus("s3://bucket/nowhere", tmp_path / "other")
        assert (missing.status, "is not the output of a run" in missing.error) == (2, True)


def test_the_users_tokenizer_is_not_needed_again(text, tmp_path, monkeypatch):
    module = tmp_path / "words_of_mine.py"
    module.write_text("def split(line):\n    return line.lower().split()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    corpus = made(text, tmp_path / "corpus", "--tokenizer=words_of_mine:split")
    module.unlink()
    outcome = from_corpus(corpus, tmp_path / "run")
    assert outcome.status == 0, outcome.stderr
    assert Run.open(str(tmp_path / "run")).identity["tokenizer"]["name"] == "words_of_mine:split"


def test_phrases_are_those_of_the_corpus(text, tmp_path):
    phrases = ["--phrases=1", "--phrase_threshold=1", "--phrase_discount=1"]
    corpus = made(text, tmp_path / "corpus", *phrases)
    outcome = from_corpus(corpus, tmp_path / "run")
    assert outcome.digest == digest_of(text, tmp_path / "plain", "--block_bytes=12000", *phrases)
    assert any("_" in word for word in Run.open(str(tmp_path / "run")).words())
    refused = from_corpus(corpus, tmp_path / "other", "--phrases=2")
    assert "--phrases is 2, the corpus has 1" in refused.error


@pytest.mark.parametrize("number", range(3), ids=["pyarrow", "duckdb", "Run"])
def test_the_documents_ways_to_read_rows_work(stored, tmp_path, monkeypatch, number, capsys):
    text = (ROOT / "docs" / "preprocessing.md").read_text()
    snippets = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(snippets) == 3
    word = Run.open(stored).vocabulary()["word"][0].as_py()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "corpus").symlink_to(stored)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(snippets[number].replace("coffee", word), "preprocessing.md", "exec"), names)
    if number == 1:
        assert capsys.readouterr().out.count("\n") > 10
    else:
        assert names["batch"].num_rows > 0


def test_integers_stay_integers(tmp_path):
    draw = random.Random(1)
    table = pa.table({"items": [[draw.randrange(9) for _ in range(6)] for _ in range(300)]})
    pq.write_table(table, tmp_path / "items.parquet")
    asked = ["--input_format=parquet", "--field=items"]
    corpus = made(tmp_path / "items.parquet", tmp_path / "corpus", *asked)
    outcome = from_corpus(corpus, tmp_path / "run")
    assert outcome.status == 0, outcome.stderr
    part = next((tmp_path / "run" / "checkpoints").glob("*/part-*"))
    assert pq.read_schema(part).field("word").type == pa.int64()
