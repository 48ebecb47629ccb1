from __future__ import annotations

import pytest

from pipeline.errors import InputError, OutputInUseError
from pipeline.runtime import messages
from pipeline.storage.exclusion import has_sure_swap
from pipeline.storage.lock import Lock, is_held
from pipeline.storage.open_storage import open_storage
from tools.histories.bucket import Abilities, Bucket
from tools.histories.disk import Disk
from tools.histories.history import BUCKET, simulated
from tools.histories.machine import Machine, Rates


def in_bucket(abilities: Abilities, *programs) -> tuple[Bucket, list]:
    """What becomes of programs, one after the other, each in a process of its own."""
    machine = Machine(0, Rates(switch=0.0, seconds=0.0))
    bucket = Bucket(machine, abilities)
    threads = []
    with simulated(machine, Disk(machine), bucket):
        for program in programs:
            threads.append(machine.start("a command", "a host", program))
            machine.run()
    return bucket, threads


@pytest.mark.parametrize("create", ["no", "ignored", "racy"])
def test_a_store_whose_creates_do_not_exclude_each_other_holds_no_lock(create):
    bucket, (thread,) = in_bucket(Abilities(create=create), lambda: Lock(open_storage(BUCKET)).acquire())
    assert isinstance(thread.error, InputError)
    assert "s3://histories/run/lock.json: this store has no conditional create" in str(thread.error)
    assert bucket.objects == {}


@pytest.mark.parametrize("replace", ["yes", "no", "racy", "ignored"])
def test_a_swap_is_sure_only_where_one_of_several_wins(replace):
    bucket, (thread,) = in_bucket(Abilities(replace=replace), lambda: has_sure_swap(open_storage(BUCKET)))
    assert thread.result is (replace == "yes")
    assert bucket.objects == {}


@pytest.mark.parametrize("replace", ["no", "racy"])
def test_where_a_swap_is_not_sure_an_old_lock_is_taken_over_only_on_request(replace):
    def acquire(take_over: bool) -> Lock:
        return Lock(open_storage(BUCKET), take_over=take_over).acquire()

    messages.take_warnings()
    _, threads = in_bucket(
        Abilities(replace=replace), lambda: acquire(False), lambda: acquire(False), lambda: acquire(True)
    )
    assert [type(thread.error) for thread in threads] == [type(None), OutputInUseError, type(None)]
    assert "repeat this one with --take_over" in str(threads[1].error)


def test_an_unsure_swap_is_told(monkeypatch):
    told = []
    monkeypatch.setattr("pipeline.storage.lock.warn", told.append)
    in_bucket(Abilities(replace="no"), lambda: Lock(open_storage(BUCKET)).acquire())
    assert len(told) == 1
    assert "no conditional replacement" in told[0]


def test_a_folder_is_not_asked(tmp_path):
    with Lock(open_storage(str(tmp_path))) as lock:
        assert is_held(lock.storage)
        assert has_sure_swap(lock.storage)
        assert [path.name for path in tmp_path.iterdir()] == ["lock.json"]
