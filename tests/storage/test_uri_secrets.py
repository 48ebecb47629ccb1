"""No uri brings a password, a key or a signature into a run, an error or a report."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from pipeline import Run
from pipeline.analysis.export import Export
from pipeline.corpus.files import match_inputs
from pipeline.errors import InputError
from pipeline.storage.open_storage import open_storage, split_uri
from pipeline.storage.records import sealed_json, unsealed_json
from tests.helpers.commands import TINY, run, train, write_corpus
from tests.runtime.test_shown_text import NONE, SECRET

URI = "s3://KEYID:HIDDEN/x@bucket/run"
SIGNED = "https://account.blob.core.windows.net/c/x?sv=1&sig=HIDDEN"
READING = ["jobs.evaluate", "jobs.export", "jobs.report", "jobs.verify"]
TRAIN, PREPROCESS, EVALUATE, EXPORT, REPORT = (
    f"jobs.{name}" for name in ("train", "preprocess", "evaluate", "export", "report")
)


def refused(job: str, *arguments: str) -> str:
    """The one line of a command that refuses a secret before it has done anything, and repeats nothing of it."""
    outcome = run(job, *arguments)
    assert outcome.status == 2, outcome
    assert outcome.stdout == ""
    assert "HIDDEN" not in outcome.stderr
    assert "KEYID" not in outcome.stderr
    assert "AWS_SECRET_ACCESS_KEY" in outcome.error
    assert "AZURE_STORAGE_SAS_TOKEN" in outcome.error
    return outcome.error


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt")


@pytest.fixture(scope="module")
def trained(corpus) -> pathlib.Path:
    assert train(f"--input={corpus}", f"--output={corpus.parent / 'run'}", *TINY).status == 0
    return corpus.parent / "run"


@pytest.mark.parametrize("uri", [URI, SIGNED])
@pytest.mark.parametrize(
    ("job", "option"),
    [
        *((job, option) for job in (TRAIN, PREPROCESS) for option in ("--input", "--output", "--stopwords")),
        *((TRAIN, option) for option in ("--corpus", "--vocabulary", "--config", "--temp_location", "--no_such")),
        *((job, "--run") for job in READING),
        *((EVALUATE, option) for option in ("--pairs", "--analogies", "--json")),
        *((REPORT, option) for option in ("--against", "--to", "--pairs")),
        (EXPORT, "--to"),
        (EXPORT, "--hdfs_host"),
    ],
)
def test_an_option_with_a_secret_is_refused(job, option, uri):
    for arguments in ([f"{option}={uri}"], [option, uri], [f"{option}=a.txt,@{uri}"], ["--seed=3", f"{option}={uri}"]):
        assert refused(job, *arguments).startswith(f"{option} holds a password, a key or a signature")
    assert refused(job, uri).startswith("the command line holds a password")


def test_a_configuration_with_a_secret_is_refused(corpus, tmp_path):
    config = tmp_path / "config.yaml"
    for text, name in [
        (f"output: {URI}", "output"),
        (f"input: [a.txt, '{SIGNED}']", "input"),
        (f"temp_location: {URI}", "temp_location"),
    ]:
        config.write_text(f"# no {URI} here\nseed: 3\n{text}\n")
        error = refused("jobs.train", f"--config={config}", f"--input={corpus}", f"--output={tmp_path / 'run'}")
        assert error.startswith(f"--config={config}: {name} holds a password")


def test_a_list_with_a_secret_is_refused(corpus, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{corpus}\n{URI}\n")
    error = refused("jobs.train", f"--input=@{listed}", f"--output={tmp_path / 'run'}")
    assert error.startswith(f"--input=@{listed}: line 2 holds a password")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("uri", SECRET)
def test_python_refuses_what_the_commands_refuse(uri):
    for take in (Run.open, open_storage, split_uri, lambda one: match_inputs([one])):
        with pytest.raises(InputError, match="holds a password, a key or a signature") as raised:
            take(uri)
        assert "SECRET" not in str(raised.value).replace("AWS_SECRET_ACCESS_KEY", "")


@pytest.mark.parametrize("uri", NONE[:-1])
def test_an_account_a_port_and_a_pattern_are_taken(uri):
    if "://" in uri and not uri.startswith("s3://bucket:"):
        split_uri(uri)
    elif "://" not in uri:
        with pytest.raises(InputError, match="matches no file"):
            match_inputs([uri])


def test_a_local_name_and_a_pattern_with_a_question_mark_are_taken(corpus, tmp_path):
    text = corpus.read_bytes()
    (tmp_path / "a?token=1.txt").write_bytes(text)
    (tmp_path / "b1.txt").write_bytes(text)
    found = match_inputs([f"{tmp_path}/a?token=1.txt", f"file://{tmp_path}/b?.txt"])
    assert [pathlib.Path(file.uri).name for file in found] == ["a?token=1.txt", "b1.txt"]


def test_a_run_of_a_version_that_kept_secrets_shows_none(corpus, trained, tmp_path):
    """Versions are in no stage key, so that what is recorded still holds."""
    old = shutil.copytree(trained, tmp_path / "run")
    saved = unsealed_json((old / "run.json").read_bytes())
    saved["versions"] |= {"signed": SIGNED, "keyed": URI}
    (old / "run.json").write_bytes(sealed_json(saved))
    page = tmp_path / "page.html"
    said = [
        run("jobs.train", f"--input={corpus}", f"--output={old}", *TINY),
        run("jobs.report", f"--run={old}", f"--to={page}"),
    ]
    saved["inputs"].insert(0, {**saved["inputs"][0], "uri": URI})
    (old / "run.json").write_bytes(sealed_json(saved))
    said += [
        run("jobs.verify", f"--run={old}", "--input"),
        run("jobs.train", f"--input={corpus}", f"--output={old}", *TINY),
    ]
    assert [outcome.status for outcome in said] == [0, 0, 1, 0]
    assert "keyed was s3://***@bucket/run when the run began" in said[0].stderr
    assert "s3://***@bucket/run" in page.read_text()
    assert "https://account.blob.core.windows.net/c/x?***" in page.read_text()
    assert "s3://***@bucket/run has no content digest" in said[2].stderr
    assert "input gone: s3://***@bucket/run" in said[3].stderr
    texts = [page.read_text(), *(text for outcome in said for text in (outcome.stdout, outcome.stderr))]
    assert not any("HIDDEN" in text for text in texts)


def test_an_export_of_such_a_run_has_no_secret_in_its_metadata(trained):
    opened = Run.open(str(trained))
    model = opened.identity["options"]["model"]
    ref = opened.checkpoint()
    before = Export(opened, ref).provenance()["options"]
    model["vocabulary"] = URI
    after = Export(opened, ref).provenance()["options"]
    assert before == {**model, "vocabulary": None}
    assert after == {**model, "vocabulary": "s3://***@bucket/run"}
