"""Whole jobs with text and output in a bucket, through nothing but options and environment variables."""

from __future__ import annotations

import gzip
import itertools
import pathlib
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.storage import object_store as object_storage
from pipeline.storage.open_storage import open_storage
from tests.helpers import fake_s3, real_s3
from tests.helpers.commands import TINY, digest_of, run, train, write_corpus

LAYOUT = ("--block_bytes=6000", "--batches=stored", "--checkpoint_every=20", "--keep_checkpoints=2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder / "a.txt", lines=100)
    (folder / "b.gz").write_bytes(gzip.compress(write_corpus(folder / "b", lines=100, seed=1).read_bytes()))
    (folder / "b").unlink()
    return folder


@pytest.fixture(scope="module")
def digest(corpus, tmp_path_factory) -> str:
    return digest_of(corpus, tmp_path_factory.mktemp("here") / "run")


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(object_storage, "_stores", {})


def upload(corpus: pathlib.Path, to: str) -> None:
    storage = open_storage(to)
    for file in corpus.iterdir():
        storage.put(file.name, file.read_bytes())


@pytest.fixture(params=["fake", pytest.param("versitygw", marks=pytest.mark.s3)])
def bucket(request, monkeypatch, tmp_path) -> Iterator[str]:
    """The uri of a bucket on a server of either kind."""
    if request.param == "fake":
        with fake_s3.serve() as environment:
            use(monkeypatch, environment)
            yield f"s3://{fake_s3.BUCKET}"
    else:
        (tmp_path / "s3").mkdir()
        with real_s3.serve(tmp_path / "s3") as server:
            use(monkeypatch, server.environment)
            yield f"s3://{real_s3.BUCKET}"


def test_text_and_output_in_a_bucket_have_the_digest_of_a_folder(bucket, corpus, digest):
    upload(corpus, f"{bucket}/texts")
    arguments = [f"--input={bucket}/texts/*", f"--output={bucket}/runs/first", *TINY, *LAYOUT]
    first = train(*arguments)
    assert first.status == 0, first.stderr
    assert first.digest == digest
    storage = open_storage(f"{bucket}/runs/first")
    before = {info.path: info.version for info in storage.list()}
    assert "report.html" in before
    assert "lock.json" not in before
    again = train(*arguments, "--no_report")
    assert again.digest == digest
    after = {info.path: info.version for info in storage.list()}
    changed = {path for path in after if after[path] != before.get(path)}
    assert {path.split("/")[1] for path in changed} <= {"timings"}, "a run that is done makes nothing anew"
    checked = run("jobs.verify", f"--run={bucket}/runs/first", "--input")
    assert checked.status == 0, checked.stdout


def test_a_bucket_that_fails_now_and_then_changes_no_bit(monkeypatch, corpus, digest):
    trouble = [*itertools.repeat("", 6), "503", *itertools.repeat("", 7), "drop"]
    with fake_s3.serve(trouble) as environment:
        use(monkeypatch, environment)
        upload(corpus, "s3://bucket/texts")
        assert digest_of("s3://bucket/texts", "s3://bucket/run", *LAYOUT) == digest


@pytest.mark.parametrize(
    ("variables", "uri", "status", "told"),
    [
        ({"AWS_ACCESS_KEY_ID": "another"}, "s3://bucket", 2, "s3://bucket: the credentials are not valid"),
        ({}, "s3://no-such-bucket", 2, "s3://no-such-bucket: there is no such bucket"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://bucket", 1, "check the network, AWS_REGION, and AWS_ENDPO"),
    ],
    ids=["credentials", "bucket", "endpoint"],
)
@pytest.mark.parametrize("what", ["input", "output"])
def test_what_is_wrong_with_a_bucket_ends_the_command_in_seconds(
    bucket, monkeypatch, corpus, tmp_path, variables, uri, status, told, what
):
    use(monkeypatch, variables)
    files = {"input": str(corpus), "output": str(tmp_path / "run"), what: f"{uri}/some/place"}
    outcome = train(f"--input={files['input']}", f"--output={files['output']}", *TINY)
    assert outcome.status == status
    assert told in outcome.error


@pytest.mark.parametrize(
    "files", [("s3://bucket/texts/*", "run"), ("s3://bucket/texts", "run"), ("text.txt", "s3://bucket/run")]
)
def test_an_address_at_which_no_store_answers_is_told(monkeypatch, tmp_path, files):
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "text.txt", lines=30)
    with fake_s3.serve(itertools.repeat("404")) as environment:
        use(monkeypatch, environment)
        outcome = train(f"--input={files[0]}", f"--output={files[1]}", *TINY)
    assert outcome.status == 2
    assert outcome.error.startswith("s3://bucket: there is no such bucket, or the server is no object store; check")


@pytest.mark.parametrize("conditions", ["refused", "ignored"])
def test_a_store_without_conditional_create_ends_the_command_with_status_2(monkeypatch, corpus, conditions):
    with fake_s3.serve(conditions=conditions) as environment:
        use(monkeypatch, environment)
        outcome = train(f"--input={corpus}", "--output=s3://bucket/run", *TINY)
    assert outcome.status == 2
    assert outcome.error.startswith("s3://bucket/run/lock.json: this store has no conditional create")


@pytest.mark.s3
def test_a_store_that_is_away_for_seconds_ends_no_run(monkeypatch, corpus, digest, tmp_path):
    with real_s3.serve(tmp_path) as server:
        use(monkeypatch, server.environment)
        upload(corpus, "s3://bucket/texts")
        started = threading.Event()

        def away() -> None:
            while not list((tmp_path / "bucket" / "run").glob("records/tokens/*/*")):
                time.sleep(0.01)
            server.kill()
            started.set()
            time.sleep(6)
            server.start()

        disturbing = threading.Thread(target=away)
        disturbing.start()
        found = digest_of("s3://bucket/texts", "s3://bucket/run", *LAYOUT)
        disturbing.join()
    assert started.is_set()
    assert found == digest
