"""No uri brings a password, a key or a signature into a run, an error or a report."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import shutil

import pytest

from beam2vec import Run
from pipeline.analysis.export import Export
from pipeline.corpus.files import match_inputs
from pipeline.errors import InputError
from pipeline.options import Options
from pipeline.runtime.uri_secrets import is_secret
from pipeline.storage.open_storage import open_storage, split_uri
from pipeline.storage.records import sealed_json, unsealed_json
from tests.helpers.commands import ALONE, run, train, write_corpus
from tests.runtime.test_uri_secrets import NONE, SECRET, WITHOUT_SCHEME

URI = "s3://KEYID:HIDDEN/x@bucket/run"
SIGNED = "https://account.blob.core.windows.net/c/x?sv=1&sig=HIDDEN"
ODD = [
    "hdfs://KEYID:HID'DEN@b/HIDDEN",
    "hdfs://KEYID:a HIDDEN@h/p",
    "hdfs://KEYID:1234/HIDDEN@host",
    "s3://b/x%253Fsig%253DHIDDEN",
    "KEYID:HIDDEN@host:8081",
    "s3:/KEYID:HIDDEN@b",
    "file://KEYID:HIDDEN@h/x",
]
READING = ["jobs.evaluate", "jobs.export", "jobs.report", "jobs.verify"]
TRAIN, PREPROCESS, EVALUATE, EXPORT, REPORT = (
    f"jobs.{name}" for name in ("train", "preprocess", "evaluate", "export", "report")
)


def refused(job: str, *arguments: str) -> str:
    """The one line of a command that refuses a secret before it has done anything, and repeats nothing of it."""
    outcome = run(job, *arguments)
    assert outcome.status == 2, outcome
    assert outcome.stdout == ""
    assert not re.search("HIDDEN|KEYID|DEN@", outcome.stderr)
    assert outcome.stderr.count("\n") == 1
    assert "AWS_SECRET_ACCESS_KEY" in outcome.error
    assert "AZURE_STORAGE_SAS_TOKEN" in outcome.error
    return outcome.error


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt")


@pytest.fixture(scope="module")
def trained(corpus) -> pathlib.Path:
    assert train(f"--input={corpus}", f"--output={corpus.parent / 'run'}", *ALONE).status == 0
    return corpus.parent / "run"


@pytest.mark.parametrize("uri", [URI, SIGNED, *ODD])
@pytest.mark.parametrize(
    ("job", "option"),
    [
        *((job, option) for job in (TRAIN, PREPROCESS) for option in ("--input", "--output", "--stopwords")),
        *((TRAIN, option) for option in ("--corpus", "--vocabulary", "--config", "--temp_location", "--no_such")),
        *((job, "--run") for job in READING),
        *((EVALUATE, option) for option in ("--pairs", "--analogies", "--json", "--neighbors")),
        *((TRAIN, option) for option in ("--flink_master", "--job_endpoint", "--environment_config", "--log")),
        *((REPORT, option) for option in ("--against", "--to", "--pairs")),
        (EXPORT, "--to"),
        (EXPORT, "--hdfs_host"),
    ],
)
def test_an_option_with_a_secret_is_refused(job, option, uri, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    for arguments in ([f"{option}={uri}"], [option, uri], [f"{option}=a.txt,@{uri}"], ["--seed=3", f"{option}={uri}"]):
        assert refused(job, *arguments).startswith(f"{option} holds a password, a key or a signature")
    assert refused(job, uri).startswith("the command line holds a password")
    assert refused(job, f"--{uri}").startswith("the command line holds a password")
    assert caplog.messages == []
    assert list(tmp_path.iterdir()) == []


def test_a_secret_for_workers_is_refused(tmp_path):
    """Beam's boot program logs all options."""
    value = {"command": "boot", "env": {"AWS_SECRET_ACCESS_KEY": "HIDDEN"}}
    name = "environment_config"
    assert refused("jobs.train", f"--{name}={json.dumps(value)}").startswith(f"--{name} holds")
    config = tmp_path / "config.yaml"
    config.write_text(f"{name}: {json.dumps(value)}\n")
    assert refused("jobs.train", f"--config={config}").startswith(f"--config={config}: {name} holds")
    config.write_text(f"{name}: '{json.dumps(value)}'\n")
    assert refused("jobs.train", f"--config={config}").startswith(f"--config={config}: {name} holds")


@pytest.mark.parametrize("option", ["--s3_secret_access_key", "--s3_session_token", "--azure_connection_string"])
def test_an_option_for_a_secret_is_refused(option, corpus, tmp_path):
    """Beam has such. Our storage would not use them, and runners keep them with the job."""
    for arguments in ([f"{option}=HIDDEN"], [option, "HIDDEN"], [f"{option.replace('_', '-')}=HIDDEN"]):
        assert refused("jobs.train", f"--input={corpus}", *arguments).startswith(option[:4])
        assert refused("jobs.export", *arguments).startswith(option[:4])
    config = tmp_path / "config.yaml"
    config.write_text(f"{option[2:]}: HIDDEN\n")
    assert refused("jobs.train", f"--config={config}").startswith(f"--config={config}: {option[2:]} holds a password")


@pytest.mark.parametrize(
    "option",
    [
        "--environment_options=process_variables=AWS_SECRET_ACCESS_KEY=HIDDEN",
        "--environment_option=process_variables=x=1,AWS_SECRET_ACCESS_KEY=HIDDEN",
        '--environment_config={"command":"env AWS_SECRET_ACCESS_KEY=HIDDEN /boot"}',
        '--environment_config=[{"AWS_SECRET_ACCESS_KEY":"HIDDEN"}]',
        "--environment_config={'env':{'AWS_SECRET_ACCESS_KEY':'HIDDEN'}}",
        "--experiments=a,auth_token=HIDDEN",
        "--labels=password=HIDDEN",
        "--dataflow_service_options=secret=HIDDEN",
    ],
)
def test_a_secret_behind_a_name_in_an_option_of_beams_is_refused(option, corpus, tmp_path):
    refused(TRAIN, f"--input={corpus}", f"--output={tmp_path / 'run'}", "--dry_run", option)
    name, _, value = option.lstrip("-").partition("=")
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps({name: value}))
    refused(TRAIN, f"--input={corpus}", f"--output={tmp_path / 'run'}", "--dry_run", f"--config={config}")


@pytest.mark.parametrize(
    "text", ["s3_secret_access_key: *HIDDENabc\n", "s3_secret_access_key: !HIDDENabc\n", "password: [HIDDEN\n"]
)
def test_a_file_that_is_not_yaml_is_not_quoted(text, corpus, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(text)
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", f"--config={config}")
    assert outcome.status == 2
    assert "HIDDEN" not in outcome.stderr
    said = f"--config={config} is not YAML of names and values at line ", f"--config={config}: line 1 has an alias"
    assert any(text in outcome.error for text in said)


def test_a_name_with_a_secret_in_it_is_not_repeated(corpus, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text('"password=HIDDEN": 1\n')
    refused(TRAIN, f"--input={corpus}", f"--output={tmp_path / 'run'}", f"--config={config}")


def test_no_option_of_ours_has_the_name_of_a_secret():
    names = [field.name for field in dataclasses.fields(Options)]
    assert not any(map(is_secret, names))


def test_a_configuration_with_a_secret_is_refused(corpus, tmp_path):
    config = tmp_path / "config.yaml"
    for text, name in [
        (f"output: {URI}", "output"),
        (f"input: [a.txt, '{SIGNED}']", "input"),
        (f"temp_location: {URI}", "temp_location"),
        *((f"vocabulary: {json.dumps(odd)}", "vocabulary") for odd in ODD),
        (f"environment_config: {{env: {{place: '{ODD[4]}'}}}}", "environment_config"),
        (f"'{ODD[4]}': 3", "the name of an option"),
    ]:
        config.write_text(f"# no {URI} here\nseed: 3\n{text}\n")
        error = refused("jobs.train", f"--config={config}", f"--input={corpus}", f"--output={tmp_path / 'run'}")
        assert error.startswith(f"--config={config}: {name} holds a password")


def test_a_list_with_a_secret_is_refused(corpus, tmp_path):
    listed = tmp_path / "list.txt"
    for uri in (URI, *ODD):
        listed.write_text(f"{corpus}\n{uri}\n")
        error = refused("jobs.train", f"--input=@{listed}", f"--output={tmp_path / 'run'}")
        assert error.startswith(f"--input=@{listed}: line 2 holds a password")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("uri", [*SECRET, *WITHOUT_SCHEME])
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


def test_a_run_in_and_of_paths_with_a_colon_and_an_at(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    for name in ("texts/a:b@c.txt", "texts/mail@home:1.txt", "a:b@c.txt", "texts/what?.txt"):
        (tmp_path / name).write_bytes(corpus.read_bytes())
    given = "texts/a:b@c.txt,texts/mail@home:1.txt,./a:b@c.txt,texts/what?.txt"
    outcome = train(f"--input={given}", "--output=runs/a:b@c", "--no_report", *ALONE)
    assert outcome.status == 0, outcome.stderr
    assert len(Run.open("runs/a:b@c").identity["inputs"]) == 4
    told = refused("jobs.train", "--input=a:b@c.txt", "--output=runs/x")
    assert told.endswith("If it is a local path with a colon and an @, write it with ./ before it")


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
        run("jobs.train", f"--input={corpus}", f"--output={old}", *ALONE),
        run("jobs.report", f"--run={old}", f"--to={page}"),
    ]
    saved["inputs"].insert(0, {**saved["inputs"][0], "uri": URI})
    (old / "run.json").write_bytes(sealed_json(saved))
    said += [
        run("jobs.verify", f"--run={old}", "--input"),
        run("jobs.train", f"--input={corpus}", f"--output={old}", *ALONE),
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
    assert after == {**model, "vocabulary": "run"}
