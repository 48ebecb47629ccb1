"""`jobs.preprocess`: the corpus side alone, and its batches for others."""

from __future__ import annotations

import pathlib
import re

import apache_beam as beam
import duckdb
import pytest

from beam2vec import Run
from pipeline.corpus import files as input_files
from pipeline.runs.verify import verify_run
from pipeline.runtime.shown_text import counted
from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import open_storage
from tests.helpers.commands import ROOT, digest_of, preprocess, train
from tests.helpers.corpora import CORPUS_SIDE, STORED, content, copied, files, from_corpus, made, rows, tables
from tests.helpers.crashing import Moment, kill, run_until, terminate

pytest_plugins = ("tests.helpers.corpus_fixtures",)


def test_stored_batches_are_the_streamed_ones_and_epochs_beyond_are_made(stream, stored):
    stream_run, stored_run = Run.open(stream), Run.open(stored)
    assert all(len(shard.stored) == 2 for shard in stored_run.shards())
    assert not any(shard.stored for shard in stream_run.shards())
    for epoch in range(3):
        found = rows(stored_run, epoch)
        assert found == rows(stream_run, epoch)
        assert len(found) > 1000
    assert rows(stored_run, 0) != rows(stored_run, 1)


def test_other_readers_find_the_same_rows(stored):
    ours = [row for epoch in range(2) for row in rows(Run.open(stored), epoch)]
    found = duckdb.sql(
        f"SELECT position, context, target, negatives FROM '{stored}/batches/*/*/*.parquet' ORDER BY epoch, position"
    ).fetchall()
    assert [list(map(plain, row)) for row in found] == [list(map(plain, row.values())) for row in ours]
    ((largest,),) = duckdb.sql(f"SELECT max(target) FROM '{stored}/batches/*/*/*.parquet'").fetchall()
    assert largest < Run.open(stored).vocabulary().num_rows


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
    monkeypatch.setattr(input_files, "_TOGETHER_BYTES", 1)  # each file an element
    corpus = made(text, tmp_path / "corpus", *STORED)
    assert from_corpus(corpus, tmp_path / "run").digest == whole.checkpoint().digest
    assert content(corpus) == content(stored)


MOMENTS = {
    "unpacking": Moment("put", "text/", 2, "inside"),
    "counting": Moment("put", "counts/", 3, "inside"),
    "vocabulary, before the record": Moment("put", "records/vocabulary/"),
    "unigram": Moment("put", "unigram/", when="inside"),
    "encoding, before a record": Moment("put", "records/tokens/", 2),
    "storing batches": Moment("put", "batches/", 5, "inside"),
}


def is_told_of_a_kill(problem: str) -> bool:
    """A file that was to get a record, or one of the records of batches that all tokens are there for."""
    return "that no record names" in problem or bool(re.search(r"/records/batches/.* is missing", problem))


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
    killed = verify_run(open_storage(output))
    assert [problem for problem in killed.problems if not is_told_of_a_kill(problem)] == []
    assert not killed.is_sound
    if moment.prefix != "batches/":
        refused = from_corpus(output, tmp_path / "run")
        assert refused.status == 2
        assert "has no vocabulary yet" in refused.error or "is unfinished" in refused.error
        assert f"start the run in {output} again" in refused.error
    made(text, output, *STORED)
    assert verify_run(open_storage(output), inputs=True).is_sound
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


def test_preprocessing_again_makes_nothing_twice_and_more_epochs_only_those(text, tmp_path):
    corpus = made(text, tmp_path / "corpus", "--batches=stored", "--epochs=1")
    before = files(corpus)
    outcome = preprocess(f"--input={text}", f"--output={corpus}", *CORPUS_SIDE, *STORED)
    assert "batches     2 epochs of" in outcome.stdout
    after = files(corpus)
    new = {path for path in after if before.get(path) != after[path] and (pathlib.Path(corpus) / path).is_file()}
    assert new
    assert all("epoch=00001" in path for path in new)


def test_the_summary_says_what_is_there_and_where(stored, text):
    said = preprocess(f"--input={text}", f"--output={stored}", *CORPUS_SIDE, *STORED).stdout
    vocabulary = Run.open(stored).vocabulary()
    tokens = Run.open(stored).vocabulary_tokens()
    assert f"vocabulary  {vocabulary.num_rows:,} words, " in said
    assert f"tokens      {tokens:,} in {counted(len(Run.open(stored).shards()), 'shard')}, " in said
    assert f"  {stored}/batches\n" in said
    assert f"beam2vec train --corpus={stored} " in said


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
    assert refused.status == 2
    assert refused.error == "--dims is not an option of beam2vec preprocess: give it to beam2vec train"
    config = tmp_path / "both.yaml"
    config.write_text("dims: 12\nmin_count: 2\nwindow: 3\nno_report: true\nbatch_size: 256\n")
    outcome = preprocess(f"--input={text}", f"--output={tmp_path / 'corpus'}", f"--config={config}")
    assert outcome.status == 0, outcome.stderr
    outcome = train(f"--corpus={tmp_path / 'corpus'}", f"--output={tmp_path / 'run'}", f"--config={config}")
    assert outcome.status == 0, outcome.stderr
    assert Run.open(str(tmp_path / "run")).options.dims == 12


def test_kinds_of_runs_are_not_mixed_up(text, stream, whole, tmp_path):
    refused = preprocess(f"--input={text}", f"--output={whole.uri}", *CORPUS_SIDE)
    assert (refused.status, "holds a training run: choose another --output" in refused.error) == (2, True)
    refused = train(f"--input={text}", f"--output={stream}", "--min_count=4")
    assert refused.status == 2
    assert "it is a preprocessed corpus, not a training run; --min_count is 4, the run has 2" in refused.error
    assert "--dims" not in refused.error
    corpus = copied(stream, tmp_path / "corpus")  # with the same options, training goes on where preprocessing was
    assert "a preprocessed corpus, " in repr(Run(corpus))
    assert digest_of(text, corpus, "--block_bytes=12000") == whole.checkpoint().digest


def test_a_corpus_whose_path_is_no_utf8_is_refused(stream, tmp_path):
    corpus = copied(stream, tmp_path / "x\udcff")
    refused = train(f"--corpus={corpus}", f"--output={tmp_path / 'run'}")
    assert (refused.status, "its path is not valid UTF-8" in refused.error) == (2, True)


def test_options_are_checked_together_with_those_of_the_corpus(text, tmp_path):
    corpus = str(tmp_path / "corpus")
    assert preprocess(f"--input={text}", f"--output={corpus}", *CORPUS_SIDE, "--phrases=1").status == 0
    refused = train(f"--corpus={corpus}", f"--output={tmp_path / 'run'}", "--window=all")
    assert (refused.status, "--phrases and --window=all do not go together" in refused.error) == (2, True)


@pytest.mark.parametrize("number", range(3), ids=["pyarrow", "duckdb", "Run"])
def test_the_documents_ways_to_read_rows_work(stored, tmp_path, monkeypatch, number, capsys):
    text = (ROOT / "docs" / "preprocessing.md").read_text()
    snippets = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(snippets) == 3
    word = Run.open(stored).vocabulary()["word"][0].as_py()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "rows").symlink_to(stored)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(snippets[number].replace("coffee", word), "preprocessing.md", "exec"), names)
    if number == 1:
        assert capsys.readouterr().out.count("\n") > 10
    else:
        assert names["batch"].num_rows > 0
