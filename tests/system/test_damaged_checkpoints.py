"""Who reads a run never takes another checkpoint than the newest in silence: it fails, or says which it took."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
import re
import shutil
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from beam2vec import Run
from pipeline.errors import ArtifactError
from pipeline.model import checkpoints as checkpoints_module
from pipeline.model import model as model_digest
from pipeline.model.checkpoints import checkpoints, record_end
from pipeline.runtime import interruption
from pipeline.storage import object_store as object_storage
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from tests.helpers import fake_s3
from tests.helpers.commands import ALONE, Outcome, run, train, write_corpus

LAYOUT = ("--checkpoint_every=10", "--no_report", "--keep_checkpoints=3")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run in a folder, what trains it, and the step of each of its checkpoints."""

    folder: pathlib.Path
    command: tuple[str, ...]
    steps: tuple[int, ...]
    total: int

    @property
    def uri(self) -> str:
        return str(self.folder)

    @property
    def key(self) -> str:
        """Of the checkpoints, in paths."""
        return Run.open(self.uri).key("checkpoints")[:8]

    @property
    def record(self) -> pathlib.Path:
        return self.record_of(self.steps[-1])

    def record_of(self, step: int) -> pathlib.Path:
        return self.folder / f"records/checkpoints/{self.key}/step={step:012d}.json"

    @property
    def part(self) -> pathlib.Path:
        return self.part_of(self.steps[-1])

    def part_of(self, step: int) -> pathlib.Path:
        return self.folder / f"checkpoints/{self.key}/step={step:012d}/part-000000-of-000001.parquet"

    @property
    def end(self) -> pathlib.Path:
        """The record that training has ended."""
        return self.folder / f"records/training/{self.key}/end.json"

    def place(self, number: int = -1) -> str:
        return f"step {self.steps[number]} of {self.total}"

    def copied(self, to: pathlib.Path) -> Trained:
        shutil.copytree(self.folder, to)
        return dataclasses.replace(self, folder=to)

    def train(self) -> Outcome:
        return train(*self.command, f"--output={self.folder}")


def steps_of(folder: pathlib.Path) -> tuple[int, ...]:
    return tuple(int(path.stem.removeprefix("step=")) for path in sorted(folder.glob("records/checkpoints/*/*")))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt", lines=250)


def trained(corpus: pathlib.Path, folder: pathlib.Path, *more: str) -> Trained:
    """A run that has ended, with three checkpoints."""
    command = (f"--input={corpus}", *ALONE, *LAYOUT, *more)
    outcome = train(*command, f"--output={folder}")
    assert outcome.status == 0, outcome.stderr
    steps = steps_of(folder)
    assert len(steps) == 3
    assert f"trained     step {steps[-1]} of {steps[-1]}, mean loss at the end 0." in outcome.stdout
    return Trained(folder, command, steps, steps[-1])


@pytest.fixture(scope="module")
def ended(corpus, tmp_path_factory) -> Trained:
    return trained(corpus, tmp_path_factory.mktemp("ended") / "run")


@pytest.fixture(scope="module")
def replicated(corpus, tmp_path_factory) -> Trained:
    return trained(corpus, tmp_path_factory.mktemp("replicated") / "run", "--replicas=2", "--rounds=2")


@pytest.fixture(params=["ended", "replicated"])
def either(request) -> Trained:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def stopped(corpus, tmp_path_factory) -> Trained:
    """A run that was stopped, with two checkpoints or more."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    command = (f"--input={corpus}", *ALONE, *LAYOUT)
    asked = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interruption, "requested", lambda: next(asked) == 2)
        outcome = train(*command, f"--output={folder}")
    assert outcome.status == 130
    step, total = map(int, re.search(r"stopped after step (\d+) of (\d+);", outcome.error).groups())
    steps = steps_of(folder)
    assert steps[-1] == step < total
    assert len(steps) > 1
    return Trained(folder, command, steps, total)


def change_a_byte(path: pathlib.Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, tuple[Callable[[Trained], None], str]] = {
    "a byte of the checkpoint": (lambda one: change_a_byte(one.part), "{part} is damaged: its SHA-256 is "),
    "its file": (lambda one: one.part.unlink(), "{part} is missing: "),
    "a byte of its record": (lambda one: change_a_byte(one.record), "{record} is damaged: "),
    "its record": (lambda one: one.record.unlink(), "{record} is missing, and training ended with this checkpoint: "),
}
WORD = "--neighbors={word}"
COMMANDS: dict[str, tuple[str, ...]] = {
    "evaluate": ("jobs.evaluate", "--run={run}", WORD),
    "evaluate, printing JSON": ("jobs.evaluate", "--run={run}", WORD, "--json=-"),
    "evaluate, writing JSON": ("jobs.evaluate", "--run={run}", WORD, "--json={to}"),
    "export": ("jobs.export", "--run={run}", "--format=parquet", "--to={to}"),
    "report": ("jobs.report", "--run={run}", "--to={to}"),
    "report against": ("jobs.report", "--run={sound}", "--against={run}", "--to={to}"),
}
CALLS: dict[str, Callable[[Run], object]] = {
    "vectors": lambda run: run.vectors(),
    "a few vectors": lambda run: run.vectors(top=2),
    "words": lambda run: run.words(),
    "blocks": lambda run: list(run.blocks()),
    "nearest": lambda run: run.nearest("unheard of"),
    "keyed_vectors": lambda run: run.keyed_vectors(),
}


def asked(reader: str, one: Trained, sound: Trained, to: pathlib.Path, *more: str) -> Outcome:
    """How a reading command ends."""
    word = Run.open(sound.uri).words()[3]
    names = {"run": one.uri, "sound": sound.uri, "to": to, "word": word}
    return run(*(argument.format(**names) for argument in COMMANDS[reader]), *more)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_newest_checkpoint_that_is_damaged_or_gone_fails_every_reader(either, tmp_path, damage):
    one, to = either.copied(tmp_path / "run"), tmp_path / "written"
    do, wrong = DAMAGES[damage]
    do(one)
    wanted = wrong.format(part=one.part, record=one.record)
    older, newer = one.steps[:2]
    for reader in COMMANDS:
        outcome = asked(reader, one, either, to)
        option = "--against_step" if reader == "report against" else "--step"
        remedy = f"start the training again, or take another checkpoint by {option}"
        assert outcome.status == 1, reader
        assert outcome.error.startswith(wanted), reader
        assert outcome.error.endswith(f"{remedy} (there are: {older}, {newer})"), reader
        assert (outcome.stdout, to.exists()) == ("", False), reader
    opened = Run.open(one.uri)
    for name, call in CALLS.items():
        with pytest.raises(ArtifactError, match=re.escape(wanted)):
            assert not call(opened), name
    assert f"step {one.total} of {one.total}" in repr(opened) or wanted in repr(opened)
    assert run("jobs.verify", f"--run={one.uri}").status == 1


def test_a_byte_of_any_part_is_found(corpus, tmp_path, monkeypatch):
    for module in (checkpoints_module, model_digest):
        monkeypatch.setattr(module, "BLOCK_ROWS", 100)
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *ALONE, "--no_report")
    assert outcome.status == 0, outcome.stderr
    word = Run.open(str(tmp_path / "run")).words()[3]
    parts = sorted(tmp_path.glob("run/checkpoints/*/*/*"))
    assert len(parts) == 5
    for part in parts:
        change_a_byte(part)
        outcome = run("jobs.evaluate", f"--run={tmp_path / 'run'}", f"--neighbors={word}")
        assert outcome.status == 1
        assert outcome.error.startswith(f"{part} is damaged: ")
        assert outcome.error.endswith(": start the training again")  # there is no other checkpoint
        change_a_byte(part)


@pytest.mark.parametrize("damage", DAMAGES)
def test_another_step_that_is_asked_for_is_taken_and_told(ended, tmp_path, damage):
    one, to = ended.copied(tmp_path / "run"), tmp_path / "written"
    DAMAGES[damage][0](one)
    step = one.steps[1]
    for reader in COMMANDS:
        option = "--against_step" if reader == "report against" else "--step"
        outcome = asked(reader, one, ended, to, f"{option}={step}")
        assert outcome.status == 0, outcome.stderr
        if "printing" not in reader:
            assert one.place(1) in outcome.stdout
    assert len(Run.open(one.uri).words(step)) == len(Run.open(ended.uri).words())
    outcome = asked("evaluate", one, ended, to, f"--step={one.steps[-1]}")
    assert (outcome.status, outcome.stdout) == (1, "")


@pytest.mark.parametrize("damage", DAMAGES)
def test_training_again_passes_over_the_damage_says_so_and_mends_it(either, tmp_path, damage):
    wanted = checkpoints(Run.open(either.uri).records, Run.open(either.uri).key("checkpoints"))[-1]
    one = either.copied(tmp_path / "run")
    DAMAGES[damage][0](one)
    again = one.train()
    assert again.status == 0, again.stderr
    assert re.search(rf"step={one.steps[-1]:012d}.*: this checkpoint is skipped", again.stderr)
    assert again.digest == wanted.digest
    told = asked("evaluate", one, either, tmp_path / "x")
    assert (told.status, told.stdout.splitlines()[0]) == (0, f"{one.uri}: {one.place()}, input vectors")
    assert run("jobs.verify", f"--run={one.uri}").status == 0


@pytest.mark.parametrize("damage", ["a byte of the checkpoint", "its file", "a byte of its record"])
def test_a_damaged_checkpoint_of_a_run_that_was_stopped_fails_too(stopped, tmp_path, damage):
    one = stopped.copied(tmp_path / "run")
    do, wrong = DAMAGES[damage]
    do(one)
    for reader in COMMANDS:
        outcome = asked(reader, one, stopped, tmp_path / "written")
        assert outcome.status == 1, reader
        assert outcome.error.startswith(wrong.format(part=one.part, record=one.record)), reader
        assert outcome.stdout == ""
    again = one.train()
    assert (again.status, "this checkpoint is skipped" in again.stderr) == (0, True)
    assert run("jobs.verify", f"--run={one.uri}").status == 0


@pytest.mark.parametrize("lost", [False, True], ids=["whole", "its newest record lost"])
def test_a_run_that_has_not_ended_gives_its_newest_recorded_checkpoint_and_tells_of_how_many(stopped, tmp_path, lost):
    one = stopped.copied(tmp_path / "run")
    if lost:  # nothing tells this from a checkpoint that was never recorded
        one.record.unlink()
    step, place = one.steps[-2 if lost else -1], one.place(-2 if lost else -1)
    for number, reader in enumerate(COMMANDS):
        to = tmp_path / f"written {number}"
        outcome = asked(reader, one, stopped, to)
        assert outcome.status == 0, outcome.stderr
        if "JSON" in reader:
            result = json.loads(to.read_text() if to.exists() else outcome.stdout)
            assert (result["step"], result["steps"]) == (step, one.total)
        if "printing" not in reader:
            assert place in outcome.stdout
        if reader.startswith("report"):
            data = re.search(r'type="application/json">(.*?)</script>', to.read_text("utf-8"), re.DOTALL)[1]
            facts = json.loads(data)["runs"][-1]["facts"]
            assert (facts["place"], facts["step"], facts["steps"]) == (place, step, one.total)
        if reader == "export":
            made = json.loads(pq.read_schema(to).metadata[b"beam2vec"])
            assert (made["step"], made["steps"]) == (step, one.total)
    assert repr(Run.open(one.uri)) == f"<Run {one.uri}: {place}>"


def test_every_place_for_it_in_an_export_names_the_step(stopped, tmp_path):
    def exported(format: str) -> pathlib.Path:
        outcome = run("jobs.export", f"--run={stopped.uri}", f"--format={format}", f"--to={tmp_path / format}")
        assert outcome.status == 0, outcome.stderr
        assert f" dims, {stopped.place()}, input vectors\n" in outcome.stdout
        return tmp_path / format

    for format in ("word2vec", "word2vec-binary", "npy"):  # which have no place for it
        exported(format)
    header = (exported("safetensors") / "model.safetensors").read_bytes()
    metadata = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]
    made = json.loads(metadata["beam2vec"])
    assert (made["step"], made["steps"]) == (stopped.steps[-1], stopped.total)
    assert (
        (exported("projector") / "projector_config.pbtxt")
        .read_text()
        .startswith(f"# {stopped.place()}, input vectors, digest ")
    )
    keyed = Run.open(stopped.uri).keyed_vectors()
    (event,) = (event for event in keyed.lifecycle_events if event["event"] == "created")
    assert (event["step"], event["steps"]) == (stopped.steps[-1], stopped.total)


def test_damage_of_an_older_checkpoint_concerns_nobody_but_who_asks_for_it(ended, tmp_path):
    one = ended.copied(tmp_path / "run")
    step = one.steps[0]
    change_a_byte(one.part_of(step))
    change_a_byte(one.record_of(one.steps[1]))
    assert one.place() in asked("evaluate", one, ended, tmp_path).stdout
    outcome = asked("evaluate", one, ended, tmp_path, f"--step={step}")
    assert outcome.status == 1
    assert outcome.error.endswith(f": take another checkpoint by --step (there are: {one.steps[-1]})")


def test_a_damaged_record_above_the_step_that_training_goes_on_from_does_not_outlive_it(stopped, tmp_path):
    one = stopped.copied(tmp_path / "run")
    one.record.rename(above := one.record_of(one.total - 1))
    change_a_byte(above)
    assert asked("evaluate", one, stopped, tmp_path).status == 1
    again = one.train()
    assert again.status == 0, again.stderr
    assert not above.exists()


def test_the_end_is_recorded_with_the_last_checkpoint_alone(either, stopped):
    for one, end in ((either, either.total), (stopped, None)):
        record = Run.open(one.uri).records.load("training", "end", Run.open(one.uri).key("checkpoints"))
        assert (record.numbers["step"] if record else None) == end


def test_a_run_killed_before_its_end_was_recorded_records_it_when_it_goes_on(ended, tmp_path):
    one = ended.copied(tmp_path / "run")
    one.end.unlink()
    assert one.train().status == 0
    assert one.end.exists()


def test_a_last_checkpoint_is_missed_where_the_record_of_the_end_is_damaged_too(ended, tmp_path):
    one = ended.copied(tmp_path / "run")
    one.record.unlink()
    one.end.write_bytes(b"")
    outcome = asked("evaluate", one, ended, tmp_path / "written")
    assert outcome.status == 1
    assert "is missing, and training ended with this checkpoint" in outcome.error


def test_recording_an_end_twice_writes_once(ended, tmp_path):
    one = ended.copied(tmp_path / "run")
    opened, path = Run.open(one.uri), one.end
    before = path.stat().st_mtime_ns
    record_end(Commits(opened.records, "checkpoints", opened.key("checkpoints")), opened.checkpoint(), 3)
    assert path.stat().st_mtime_ns == before


def test_a_damaged_record_of_counts_fails_the_report_whose_sums_it_is_in(ended, tmp_path):
    one, to = ended.copied(tmp_path / "run"), tmp_path / "page.html"
    record = next(one.folder.glob("records/counts/*/*.json"))
    change_a_byte(record)
    outcome = asked("report", one, ended, to)
    assert (outcome.status, to.exists()) == (1, False)
    assert outcome.error.startswith(f"{record} is damaged: delete it and start the run in {one.uri} again")


@pytest.mark.parametrize("damage", ["a byte of the checkpoint", "its record"])
def test_in_a_bucket_it_is_the_same(ended, tmp_path, monkeypatch, damage):
    one = ended.copied(tmp_path / "run")
    DAMAGES[damage][0](one)
    with fake_s3.serve() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(object_storage, "_stores", {})
        uri = f"s3://{fake_s3.BUCKET}/run"
        storage = open_storage(uri)
        for path in one.folder.rglob("*"):
            if path.is_file():
                storage.put(str(path.relative_to(one.folder)), path.read_bytes())
        command = ("jobs.evaluate", f"--run={uri}", f"--neighbors={Run.open(ended.uri).words()[3]}")
        newest, older = run(*command), run(*command, f"--step={one.steps[1]}")
    wrong = DAMAGES[damage][1].format(
        part=f"{uri}/{one.part.relative_to(one.folder)}", record=f"{uri}/{one.record.relative_to(one.folder)}"
    )
    assert (newest.status, newest.stdout) == (1, "")
    assert newest.error.startswith(wrong)
    assert (older.status, older.stdout.splitlines()[0]) == (0, f"{uri}: {one.place(1)}, input vectors")
