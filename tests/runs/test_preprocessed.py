"""`jobs.train --corpus`: many models from one preprocessing, with the bytes of one command each."""

from __future__ import annotations

import json
import pathlib
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam2vec import Run
from pipeline.errors import InputError
from pipeline.runs.directory import open_run
from pipeline.runs.verify import verify_run
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import canonical_json, sealed_json
from tests.helpers.commands import digest_of, run, train
from tests.helpers.corpora import STORED, TRAINING, copied, files, from_corpus, made, rows
from tests.helpers.crashing import Moment, kill, run_until
from tests.helpers.fake_s3 import serve
from tests.storage.test_storage import use

pytest_plugins = ("tests.helpers.corpus_fixtures",)


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
        ["--model=cbow", "--dims=7"],
        ["--replicas=2", "--rounds=2"],
        ["--window=5", "--seed=8", "--power=0.5"],
    ]
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


def test_more_epochs_than_are_stored_can_be_stored_by_the_training_run(stored, tmp_path, text):
    outcome = from_corpus(stored, tmp_path / "run", "--epochs=3", "--batches=stored")
    assert outcome.digest == digest_of(text, tmp_path / "plain", "--epochs=3")
    assert [p.name for p in (tmp_path / "run" / "batches").glob("*/*")] == ["epoch=00002"]
    run = Run.open(str(tmp_path / "run"))
    assert all(len(shard.stored) == 3 for shard in run.shards())
    assert len(rows(run, 2)) > 1000


def test_training_from_a_corpus_goes_on_after_a_kill(stored, whole, tmp_path):
    output = tmp_path / "run"
    command = [f"--corpus={stored}", f"--output={output}", *TRAINING, "--checkpoint_every=5"]
    moment = Moment("put", "records/checkpoints/", 2, "after")
    assert run_until(moment, kill, command, tmp_path / "log") == -9
    before = len(list((output / "checkpoints").glob("*/*")))
    assert before == 2
    assert train(*command).digest == whole.checkpoint().digest
    assert verify_run(open_storage(str(output))).problems == []


def test_other_options_of_the_corpus_are_refused_with_both_values(stream, tmp_path):
    refused = from_corpus(stream, tmp_path / "run", "--min_count=3", "--lowercase", "--block_bytes=5000")
    assert refused.status == 2
    for part in ("--min_count is 3, the corpus has 2", "--lowercase is True, the corpus has False"):
        assert part in refused.error
    assert "--block_bytes is 5000, the corpus has 12000" in refused.error
    assert not (tmp_path / "run").exists()
    assert from_corpus(stream, tmp_path / "run", "--min_count=2", "--dry_run").status == 0


def flip(path: pathlib.Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def one(run: pathlib.Path, pattern: str) -> pathlib.Path:
    (path,) = run.glob(pattern)
    return path


TOKENS, BATCHES = "records/tokens/*/unit-000000002.json", "batches/*/epoch=0000{}/shard-000000001.parquet"
SHARD, VOCABULARY = "tokens/*/unit-000000001.parquet", "vocabulary/*/vocabulary.parquet"
WRONG = {
    "nothing there": (lambda run: [p.unlink() for p in run.rglob("*") if p.is_file()], 2, "is not the output of a run"),
    "another format": (lambda run: reformat(run / "run.json"), 2, "has format 99, this version reads"),
    "no vocabulary": (lambda run: one(run, "records/vocabulary/*/*.json").unlink(), 2, "has no vocabulary yet"),
    "a unit not encoded": (lambda run: one(run, TOKENS).unlink(), 2, "units as tokens"),
    "a unit of another key": (lambda run: rekey(one(run, TOKENS)), 2, " tokens: start the run there"),
    "no tokens": (lambda run: [p.unlink() for p in run.glob("records/tokens/*/*")], 2, "is unfinished, it has 0 of"),
    "a lost shard": (lambda run: one(run, SHARD).unlink(), 1, "unit-000000001.parquet is missing: start the run in"),
    "a changed shard": (lambda run: flip(one(run, SHARD)), 1, "unit-000000001.parquet is damaged"),
    "a changed vocabulary": (lambda run: flip(one(run, VOCABULARY)), 1, "vocabulary.parquet is dam"),
    "changed batches": (lambda run: flip(one(run, BATCHES.format(1))), 1, "shard-000000001.parquet is dam"),
    "lost batches": (lambda run: one(run, BATCHES.format(0)).unlink(), 1, "01.parquet is missing"),
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
    assert (same.status, "which is only read: choose another" in same.error) == (2, True)
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


def test_verify_checks_what_a_run_refers_to(stored, tmp_path):
    corpus = copied(stored, tmp_path / "corpus")
    assert from_corpus(str(corpus), tmp_path / "run").status == 0
    sound = run("jobs.verify", f"--run={tmp_path / 'run'}", "--input")
    assert sound.status == 0, sound.stderr
    spoilt = [
        one(corpus, "batches/*/epoch=00001/shard-000000003.parquet"),
        one(corpus, "counts/*/unit-000000000.parquet"),
        one(corpus, "tokens/*/unit-000000002.parquet"),
    ]
    flip(spoilt[0])
    spoilt[1].unlink()
    flip(spoilt[2])
    damaged = run("jobs.verify", f"--run={tmp_path / 'run'}")
    assert damaged.status == 1
    problems = [line.split(" ")[0] for line in damaged.stderr.splitlines()]
    assert sorted(problems) == list(map(str, spoilt))
    assert damaged.digest == sound.digest
    one(corpus, "records/tokens/*/unit-000000002.json").unlink()
    assert f"{corpus} does not hold all tokens" in run("jobs.verify", f"--run={tmp_path / 'run'}").stderr
    one(corpus, "records/vocabulary/*/*.json").unlink()
    assert f"{corpus} does not hold the vocabulary" in run("jobs.verify", f"--run={tmp_path / 'run'}").stderr


def test_a_run_finds_its_corpus_and_can_be_reported(stored, whole, tmp_path):
    outcome = train(f"--corpus={stored}", f"--output={tmp_path / 'run'}", *TRAINING[:-1])
    assert outcome.status == 0, outcome.stderr
    assert "left out" not in outcome.stderr
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    found = Run.open(str(tmp_path / "run"))
    assert found.vocabulary().equals(whole.vocabulary())
    np.testing.assert_array_equal(found.unigram().keep, whole.unigram().keep)
    assert rows(found, 1) == rows(whole, 1)
    with pytest.raises(Exception, match=r"has no checkpoint yet: run beam2vec train with --corpus="):
        Run.open(stored).vectors()


def test_a_corpus_that_is_gone_is_named(text, tmp_path):
    made(text, tmp_path / "corpus", *STORED)
    assert from_corpus(tmp_path / "corpus", tmp_path / "run").status == 0
    (tmp_path / "corpus").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=f"takes its unigram from the run in {tmp_path / 'corpus'}, which is gone: "):
        Run(tmp_path / "run").shards()


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


def test_integers_stay_integers(tmp_path):
    draw = random.Random(1)
    table = pa.table({"items": [[draw.randrange(9) for _ in range(6)] for _ in range(300)]})
    pq.write_table(table, tmp_path / "items.parquet")
    asked = ["--input_format=parquet", "--field=items"]
    corpus = made(tmp_path / "items.parquet", tmp_path / "corpus", *asked)
    outcome = from_corpus(corpus, tmp_path / "run")
    assert outcome.status == 0, outcome.stderr
    part = next((tmp_path / "run" / "checkpoints").glob("*/*/part-*"))
    assert pq.read_schema(part).field("word").type == pa.int64()
