"""A piece of work is done once, recorded under its key, and never by a command that has lost its lock."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import pickle
import secrets
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pytest

from pipeline.batches.sampling import Sampling
from pipeline.batches.schedule import step_name
from pipeline.batches.shard_lists import shard_list
from pipeline.batches.shards import BatchShard
from pipeline.batches.stored import stored_name, stored_path, stored_place
from pipeline.corpus.unpacking import unpacked_name
from pipeline.corpus.work_units import WorkUnit
from pipeline.errors import ArtifactError, InputError, OutputInUseError
from pipeline.model.checkpoints import write_partition
from pipeline.model.model import BLOCK_ROWS
from pipeline.options import MAX_EPOCHS, MAX_STEPS, MOST_ROUNDS, Options
from pipeline.storage import object_store
from pipeline.storage.commits import Commits
from pipeline.storage.local import LocalStorage
from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Artifact, Number, Records
from pipeline.storage.storage import Storage
from pipeline.training.replicas.trainer import merge_name, slice_folder, slice_name
from pipeline.words.vocabulary import MAX_WORDS
from tests.helpers.fake_s3 import BUCKET, serve
from tests.helpers.keys import KEY, OTHER_KEY
from tests.helpers.models import make_model

_DIGEST = "0" * 64
SHARD = BatchShard(
    0, 0, 9, Sampling(5, 5, "any", 1), Artifact("tokens/x", _DIGEST, 9), Artifact("unigram/x", _DIGEST, 9)
)


@dataclasses.dataclass(frozen=True)
class Length:
    bytes: Number


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path) -> Storage:
    return open_storage(str(tmp_path / "a run") if request.param == "folder" else f"memory://{secrets.token_hex(8)}")


def commits_of(storage: Storage, key: str = KEY, lock: Lock | None = None) -> Commits:
    """Those of an attempt of its own."""
    return Commits(Records(storage), "counts", key, lock_token=lock.token if lock else "")


class Work:
    """A piece of work that notes how often it is done."""

    def __init__(self, commits: Commits, name: str = "unit-000000000", data: bytes = b"words"):
        self.commits, self.name, self.data, self.times = commits, name, data, 0

    def make(self):
        self.times += 1
        return [self.commits.put(f"{self.name}.parquet", self.data)], Length(len(self.data))

    def once(self):
        return self.commits.once(self.name, self.make)


# Once


def test_what_an_earlier_attempt_has_recorded_is_not_done_again(storage):
    first, again = Work(commits_of(storage)), Work(commits_of(storage))
    made = first.once()
    assert made.read(Length) == Length(5)
    assert storage.read(made.artifacts[0].path) == b"words"
    assert again.once() == made
    assert (first.times, again.times) == (1, 0)
    assert commits_of(storage).find(first.name) == commits_of(storage).load(first.name) == made
    assert commits_of(storage).all() == [made]


@pytest.mark.parametrize("damage", ["gone", "cut", "changed", "record torn", "record gone"])
def test_a_piece_that_is_damaged_is_done_again(storage, damage):
    made = Work(commits_of(storage)).once()
    path = made.path if damage.startswith("record") else made.artifacts[0].path
    whole = storage.read(path)
    if damage.endswith("gone"):
        storage.delete(path)
    else:
        storage.put(path, b"wordz" if damage == "changed" else whole[:-3])
    again = Work(commits_of(storage))
    assert again.once() == made
    assert again.times == 1
    assert storage.read(path) == whole


def test_only_what_was_there_to_begin_with_is_an_earlier_attempts(storage):
    """A bundle that is tried again does its work again: it costs less than to look for each record of a fresh run."""
    commits = commits_of(storage)
    assert commits.earlier("unit-000000000") is None
    work = Work(commits)
    assert work.once() == work.once()
    assert work.times == 2
    assert commits.find(work.name) is not None
    assert commits_of(storage).earlier(work.name) == commits.find(work.name)


def test_commits_travel_to_workers(storage):
    commits = commits_of(storage)
    Work(commits).once()
    assert Work(pickle.loads(pickle.dumps(commits))).commits.find("unit-000000000") == commits.all()[0]


def test_a_piece_may_have_no_artefact_and_no_numbers(storage):
    record = commits_of(storage).commit("end")
    assert (record.artifacts, record.numbers) == ((), {})
    assert commits_of(storage).earlier("end") == record


# Requests


@pytest.fixture
def bucket(monkeypatch) -> Iterator[tuple[str, Callable[[], int]]]:
    """(root, requests since the last call)"""
    served = itertools.count()
    with serve("" for _ in iter(served.__next__, -1)) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(object_store, "_stores", {})
        root, before = f"s3://{BUCKET}/run", -1
        open_storage(root).find("run.json")  # the first request of a process asks for the bucket too

        def requests() -> int:
            nonlocal before
            now = next(served)
            since, before = now - before - 1, now
            return since

        requests()
        yield root, requests


def test_a_fresh_run_looks_for_no_record_and_a_resumed_one_for_each(bucket):
    root, requests = bucket
    commits = commits_of(open_storage(root))
    Work(commits).once()
    assert requests() == 3  # whether anything is there; artefact, record
    for number in range(1, 5):
        Work(commits, f"unit-{number:09d}").once()
    assert requests() == 4 * 2
    resumed = commits_of(open_storage(root))
    work = Work(resumed)
    work.once()
    first = requests()
    for number in range(1, 5):
        Work(resumed, f"unit-{number:09d}").once()
    assert work.times == 0
    assert requests() == 4 * (first - 1)  # whether anything is there was asked once


def test_the_lock_costs_two_requests_a_piece(bucket):
    root, requests = bucket
    storage = open_storage(root)
    lock = Lock(storage).acquire()
    commits = commits_of(storage, lock=lock)
    Work(commits).once()
    requests()
    for number in range(1, 5):
        Work(commits, f"unit-{number:09d}").once()
    assert requests() == 4 * (2 + 2)


# The lock


def take_over(storage: Storage) -> Lock:
    storage.delete("lock.json")
    return Lock(storage).acquire()


def test_a_lock_lost_before_the_record_leaves_none(storage):
    commits = commits_of(storage, lock=Lock(storage).acquire())
    Work(commits).once()
    late = Work(commits, "unit-000000001")

    def make():
        take_over(storage)
        return late.make()

    with pytest.raises(OutputInUseError, match=r"no longer held by this run: process .* took it over") as raised:
        commits.once(late.name, make)
    assert raised.value.exit_status == 3
    assert commits.load(late.name) is None
    assert [record.name for record in commits.all()] == ["unit-000000000"]


def test_a_lock_lost_between_the_record_and_the_second_look_stops_the_command(storage, monkeypatch):
    commits = commits_of(storage, lock=Lock(storage).acquire())
    commit = Records.commit

    def commit_late(self, record):
        take_over(storage)
        commit(self, record)

    monkeypatch.setattr(Records, "commit", commit_late)
    work = Work(commits)
    with pytest.raises(OutputInUseError, match="no longer held by this run"):
        work.once()
    assert work.times == 1


def test_a_command_that_lost_the_lock_writes_nothing_over_anothers(storage):
    loser = commits_of(storage, OTHER_KEY, Lock(storage).acquire())
    winner = commits_of(storage, KEY, take_over(storage))
    made = Work(winner, data=b"the winner's").once()
    with pytest.raises(OutputInUseError):
        Work(loser, data=b"the loser's").once()
    assert winner.records.damage(made.artifacts[0]) is None
    assert winner.find("unit-000000000") == made


def test_without_a_lock_none_is_asked_for(storage):
    take_over(storage)
    assert Work(commits_of(storage)).once()


# Places


def test_the_key_is_in_every_path(storage):
    mine, others = commits_of(storage), commits_of(storage, OTHER_KEY)
    records = [Work(mine, data=b"mine").once(), Work(others, data=b"others").once()]
    assert [record.artifacts[0].path for record in records] == [
        "counts/01234567/unit-000000000.parquet",
        "counts/fedcba98/unit-000000000.parquet",
    ]
    assert [record.path for record in records] == [
        "records/counts/01234567/unit-000000000.json",
        "records/counts/fedcba98/unit-000000000.json",
    ]
    assert [storage.read(record.artifacts[0].path) for record in records] == [b"mine", b"others"]
    assert ([record.key for record in mine.all()], mine.earlier("unit-000000001")) == ([KEY], None)


def test_a_record_of_another_key_with_the_same_first_digits_is_not_taken(storage):
    Work(commits_of(storage, KEY[:8] + "f" * 24)).once()
    assert commits_of(storage).earlier("unit-000000000") is None
    assert commits_of(storage).all() == []


def test_a_stage_beside_another_has_its_key_and_its_lock(storage):
    commits = commits_of(storage, lock=Lock(storage).acquire())
    beside = commits.beside("metrics")
    assert beside.path("x") == "metrics/01234567/x"
    assert (beside.key, beside.lock_token) == (KEY, commits.lock_token)
    assert commits.beside("words-1", "phrases/pass=1/counts").path("x") == "phrases/pass=1/counts/01234567/x"


# Temporary files


def written_while_swept(folder: pathlib.Path, times: int) -> Artifact:
    """What is stored while the next holder of the lock sweeps the temporary file away, so many times."""
    root = str(folder)
    storage, next_holder = (LocalStorage(root).written_by(writer) for writer in ("aaaaaaaa", "bbbbbbbb"))
    attempts = itertools.count(1)

    def write(file: BinaryIO) -> None:
        file.write(b"words")
        assert len(left_behind(folder)) == 1
        if next(attempts) <= times:
            next_holder.sweep(["counts"], "bbbbbbbb")
            assert left_behind(folder) == []

    return commits_of(storage).stream("unit-000000000.parquet", write)


def left_behind(folder: pathlib.Path) -> list[pathlib.Path]:
    return list(folder.rglob(".beam2vec-tmp-*"))


@pytest.mark.parametrize("times", [1, 2])
def test_a_write_whose_temporary_file_is_swept_is_done_again(tmp_path, times):
    artifact = written_while_swept(tmp_path, times)
    assert (tmp_path / artifact.path).read_bytes() == b"words"
    assert artifact.size == 5
    assert Records(LocalStorage(str(tmp_path))).damage(artifact) is None
    assert left_behind(tmp_path) == []


def test_a_write_that_is_swept_every_time_names_its_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"unit-000000000\.parquet does not exist"):
        written_while_swept(tmp_path, 100)
    assert left_behind(tmp_path) == []


def test_a_holder_does_not_sweep_its_own(tmp_path):
    storage = LocalStorage(str(tmp_path)).written_by("aaaaaaaa")

    def write(file: BinaryIO) -> None:
        storage.sweep(["counts"], "aaaaaaaa")
        assert len(left_behind(tmp_path)) == 1

    commits_of(storage).stream("unit-000000000.parquet", write)


# Names


def list_path(number: int) -> str:
    commits = Commits(Records(open_storage("memory://names")), "shards", KEY)
    return shard_list(commits, number + 1, [SHARD]).artifact.path


def part_path(index: int) -> str:
    commits = Commits(Records(open_storage("memory://names")), "checkpoints", KEY)
    return write_partition(commits, 1, (index, -(-MAX_WORDS // BLOCK_ROWS)), make_model(1), {}).path


MOST_PARTS, MOST_REPLICAS = -(-MAX_WORDS // BLOCK_ROWS), 1024
NUMBERED: dict[str, tuple[Callable[[int], str], int]] = {
    "checkpoint": (step_name, MAX_STEPS),
    "points of the loss curve": (step_name, MAX_STEPS),
    "unit": (lambda index: WorkUnit(index, ()).name, 10**9 - 1),
    "compressed file": (unpacked_name, 10**9 - 1),
    "list": (list_path, 10**9 - 2),
    "part": (part_path, MOST_PARTS - 1),
    "epoch": (lambda epoch: stored_name(epoch, 10**9 - 1), MAX_EPOCHS - 1),
    "folder of an epoch": (lambda epoch: stored_path(epoch, 10**9 - 1), MAX_EPOCHS - 1),
    "shard": (lambda index: stored_name(MAX_EPOCHS - 1, index), 10**9 - 1),
    "file of a shard": (lambda index: stored_path(MAX_EPOCHS - 1, index), 10**9 - 1),
    "round": (lambda number: slice_name(number, MOST_REPLICAS - 1), MOST_ROUNDS - 1),
    "folder of a round": (lambda number: slice_folder(number, MOST_REPLICAS - 1), MOST_ROUNDS - 1),
    "replica": (lambda replica: slice_name(MOST_ROUNDS - 1, replica), MOST_REPLICAS - 1),
    "folder of a replica": (lambda replica: slice_folder(MOST_ROUNDS - 1, replica), MOST_REPLICAS - 1),
    "merge of a round": (lambda number: merge_name(number, MOST_PARTS - 1), MOST_ROUNDS - 1),
    "merge of a part": (lambda index: merge_name(MOST_ROUNDS - 1, index), MOST_PARTS - 1),
}


@pytest.mark.parametrize("what", NUMBERED)
def test_names_sort_as_text_up_to_the_most_that_the_options_allow(what):
    name, most = NUMBERED[what]
    numbers = sorted({0, 1, 9, 10, 99, 100, most // 10, most - 1, most})
    names = [name(number) for number in numbers]
    assert names == sorted(set(names))
    assert len({len(text) for text in names}) == 1


def test_the_limits_are_those_of_the_options():
    Options.checked({"epochs": MAX_EPOCHS, "replicas": 1})
    Options.checked({"epochs": 1, "rounds": MOST_ROUNDS, "replicas": MOST_REPLICAS})
    for values in ({"epochs": MAX_EPOCHS + 1}, {"replicas": MOST_REPLICAS + 1}):
        with pytest.raises(InputError, match="allowed is"):
            Options.checked(values)
    assert stored_place(stored_name(MAX_EPOCHS - 1, 10**9 - 1)) == (MAX_EPOCHS - 1, 10**9 - 1)


def test_what_is_forgotten_is_gone_also_where_a_record_is_damaged_or_a_file_has_none(storage):
    commits = commits_of(storage)
    for name in ("kept", "whole", "damaged"):
        commits.commit(name, [commits.put(f"{name}.parquet", b"data")])
    storage.put(commits.load("damaged").path, b"{")
    commits.put("killed before its record.parquet", b"data")
    other = commits_of(storage, OTHER_KEY)
    other.commit("whole", [other.put("whole.parquet", b"data")])
    commits.forget(but="kept")
    kept = commits.load("kept")
    theirs = other.load("whole")
    paths = [kept.path, kept.artifact.path, theirs.path, theirs.artifact.path]
    assert sorted(info.path for info in storage.list()) == sorted(paths)
    commits.forget()
    assert sorted(info.path for info in storage.list()) == sorted(paths[2:])
