"""A run directory that others have written: whatever its JSON says, a command ends in one line, and soon.

Each value of each kind of JSON file is replaced by values of other types, by far too large ones and by names of other
places. The digest of the file is made anew, so nothing looks damaged. A thirteenth of the cases is tried by default.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.storage.records import sealed_json, unsealed_json
from tests.helpers.commands import TINY, run, train, write_corpus

VALUES: list[Any] = [None, 5, -1, 10**30, 1.5, "x", "", [], {}, [1], {"a": 1}, True, "../../elsewhere"]
PHRASES = ("--phrases=1", "--phrase_threshold=2", "--phrase_discount=1")
SECONDS = 30
"""In which a command must have ended."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("hostile")
    write_corpus(folder / "text.txt", lines=60)
    arguments = (f"--input={folder / 'text.txt'}", f"--output={folder / 'run'}", *TINY, "--no_report", *PHRASES)
    assert train(*arguments).status == 0
    return folder


def places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """Of each value in a JSON value, that of the first two items of a list."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, inner in items:
        yield from places(inner, (*at, name))


def with_value(body: Any, at: tuple, value: Any) -> Any:
    changed = json.loads(json.dumps(body))
    node = changed
    for name in at[:-1]:
        node = node[name]
    node[at[-1]] = value
    return changed


def cases(folder: pathlib.Path) -> Iterator[tuple[pathlib.Path, tuple, Any]]:
    """(file, place in it, value), for one file of each kind."""
    kinds = {path.relative_to(folder).parts[:2]: path for path in sorted(folder.rglob("*.json"))}
    for path in kinds.values():
        body = unsealed_json(path.read_bytes())
        for at in places(body):
            yield from ((path, at, value) for value in VALUES if at)


@pytest.fixture
def alarm() -> Iterator[None]:
    def hang(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, hang)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def one_line(command: str, *arguments: str) -> None:
    """The command ends soon, with a status of its own, and without a traceback."""
    signal.alarm(SECONDS)
    outcome = run(command, *arguments)
    signal.alarm(0)
    assert outcome.status in (0, 1, 2)
    assert "Traceback" not in outcome.stderr
    assert outcome.status == 0 or outcome.stderr or outcome.stdout  # where verify tells of an unfinished run


def check(folder: pathlib.Path, every: int) -> None:
    uri = f"--run={folder / 'run'}"
    for number, (path, at, value) in enumerate(cases(folder / "run")):
        if number % every:
            continue
        data = path.read_bytes()
        path.write_bytes(sealed_json(with_value(unsealed_json(data), at, value)))
        try:
            one_line("jobs.verify", uri)
            one_line("jobs.evaluate", uri, "--neighbors=x")
            one_line("jobs.export", uri, "--format=npy", f"--to={folder / 'v.npy'}")
        except BaseException as error:
            raise AssertionError(f"{path.relative_to(folder)} with {value!r} at {at}: {error!r}") from error
        finally:
            path.write_bytes(data)


def test_whatever_the_json_of_a_run_says_a_command_ends_in_one_line(folder, alarm):
    check(folder, 13)


@pytest.mark.slow
def test_every_value_of_the_json_of_a_run(folder, alarm):
    check(folder, 1)


@pytest.mark.parametrize("name", ["run.json", "records/vocabulary/*/vocabulary.json", "records/checkpoints/*/*.json"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_in_place_of_a_file_is_not_waited_for(folder, tmp_path, alarm, name, kind):
    """A pipe was waited for without end, and a link to /dev/zero filled the memory."""
    shutil.copytree(folder / "run", tmp_path / "run")
    (path,) = list((tmp_path / "run").glob(name))[-1:]
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for command in ("jobs.verify", "jobs.export"):
        more = ("--format=npy", f"--to={tmp_path / 'v.npy'}") if command == "jobs.export" else ()
        one_line(command, f"--run={tmp_path / 'run'}", *more)
    assert run("jobs.verify", f"--run={tmp_path / 'run'}").status != 0


def test_options_may_come_from_a_pipe(tmp_path):
    """Files that a user names, as by --stopwords=<(...), are read whatever they are."""
    text, pipe = write_corpus(tmp_path / "text.txt", lines=30), tmp_path / "words"
    (tmp_path / "list").write_text("\n".join(dict.fromkeys(text.read_text().split()[:40])))
    os.mkfifo(pipe)
    if os.fork() == 0:
        with open(pipe, "wb") as writer:
            writer.write((tmp_path / "list").read_bytes())
        os._exit(0)
    outcome = train(f"--input={text}", f"--output={tmp_path / 'run'}", *TINY, "--no_report", f"--stopwords={pipe}")
    os.wait()
    assert outcome.status == 0, outcome.stderr


@pytest.mark.parametrize("stage", ["vocabulary", "unigram", "tokens", "phrases-1"])
def test_a_record_that_names_no_artefact_is_one_line_for_those_that_read_it(folder, tmp_path, alarm, stage):
    shutil.copytree(folder / "run", tmp_path / "run")
    for path in (tmp_path / "run").glob(f"records/{stage}/*/*.json"):
        path.write_bytes(sealed_json({**unsealed_json(path.read_bytes()), "artifacts": []}))
    one_line("jobs.report", f"--run={tmp_path / 'run'}", f"--to={tmp_path / 'page.html'}")
    again = (f"--input={folder / 'text.txt'}", f"--output={tmp_path / 'run'}", *TINY, "--no_report", *PHRASES)
    outcome = train(*again, "--epochs=2")
    assert outcome.status in (0, 1)
    assert "Traceback" not in outcome.stderr


def test_partitions_that_a_checkpoint_should_have_are_missed(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    (path,) = (tmp_path / "run").glob("records/checkpoints/*/*.json")
    body = unsealed_json(path.read_bytes())
    path.write_bytes(sealed_json({**body, "artifacts": []}))
    outcome = run("jobs.export", f"--run={tmp_path / 'run'}", "--format=npy", f"--to={tmp_path / 'v.npy'}")
    assert outcome.status == 1
    assert "is damaged: it names 0 partitions for" in outcome.error
    assert not (tmp_path / "v.npy").exists()
