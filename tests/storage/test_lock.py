from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import pickle
import secrets
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipeline.errors import ArtifactError, OutputInUseError
from pipeline.storage import lock as lock_module
from pipeline.storage import process_identity
from pipeline.storage.local import LocalStorage
from pipeline.storage.lock import Lock, is_held
from pipeline.storage.open_storage import open_storage
from pipeline.storage.storage import Storage


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path) -> Storage:
    return open_storage(str(tmp_path / "a run") if request.param == "folder" else f"memory://{secrets.token_hex(8)}")


def content(storage: Storage) -> dict:
    return json.loads(storage.read("lock.json"))


def change(storage: Storage, **members) -> None:
    storage.put("lock.json", json.dumps(content(storage) | members).encode())


def test_one_holds_it_and_the_other_is_told_who_and_what_to_do(storage):
    with Lock(storage):
        with pytest.raises(OutputInUseError) as raised:
            Lock(storage).acquire()
        for part in (storage.root, f"process {os.getpid()}", "expires", "another --output", "lock.json"):
            assert part in str(raised.value)
        assert raised.value.exit_status == 3
    assert storage.list() == []
    with Lock(storage):
        pass


def test_of_many_one_gets_it(storage):
    for _ in range(5):
        won, barrier = [], threading.Barrier(8)

        def race(barrier=barrier, won=won) -> None:
            lock = Lock(storage)
            barrier.wait()
            with contextlib.suppress(OutputInUseError):
                won.append(lock.acquire())

        threads = [threading.Thread(target=race) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(won) == 1
        won[0].release()


def test_of_many_one_takes_over_an_expired_lock(storage):
    for _ in range(5):
        old = Lock(storage).acquire()
        change(storage, expires=time.time() - 1)
        won, barrier = [], threading.Barrier(8)

        def race(barrier=barrier, won=won) -> None:
            lock = Lock(storage)
            barrier.wait()
            with contextlib.suppress(OutputInUseError):
                won.append(lock.acquire())

        threads = [threading.Thread(target=race) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(won) == 1
        won[0].renew()
        with pytest.raises(OutputInUseError, match=r"no longer held .*: process \d+ on .* took it over"):
            old.renew()
        old.release()
        assert content(storage)["token"] == won[0].token
        won[0].release()


def test_renew_puts_the_expiry_off_and_writes_no_more_than_needed(storage):
    lock = Lock(storage).acquire()
    before = content(storage)
    lock.renew()
    assert content(storage) == before
    change(storage, expires=time.time() + 100)
    lock.renew()
    assert content(storage)["expires"] > time.time() + 500
    change(storage, expires=time.time() - 100)  # expired, but nobody took it
    lock.renew()
    assert content(storage)["expires"] > time.time() + 500


def test_a_removed_lock_stops_the_run(storage):
    lock = Lock(storage).acquire()
    storage.delete("lock.json")
    with pytest.raises(OutputInUseError, match="its lock was removed"):
        lock.renew()
    lock.release()


def test_a_worker_that_renews_meanwhile_does_not_bring_a_released_lock_back(tmp_path, monkeypatch):
    """It has read the lock, and is about to write it, when the run ends."""
    storage = open_storage(str(tmp_path / "run"))
    lock = Lock(storage).acquire()
    change(storage, expires=time.time() + 100)
    about_to_write, released, put = threading.Event(), threading.Event(), LocalStorage.put

    def slow(storage, *arguments):
        if threading.current_thread() is renewing:
            about_to_write.set()
            released.wait(0.3)
        put(storage, *arguments)

    monkeypatch.setattr(LocalStorage, "put", slow)
    renewing = threading.Thread(target=Lock.attach(storage, lock.token).renew)
    renewing.start()
    assert about_to_write.wait(10)
    lock.release()
    released.set()
    renewing.join()
    assert storage.list() == []


def test_release_leaves_a_lock_that_was_taken_over_meanwhile(storage, monkeypatch):
    lock, other = Lock(storage).acquire(), Lock(storage)
    find = type(storage).find

    def taken_over(storage, path):
        found = find(storage, path)
        monkeypatch.undo()
        change(storage, expires=time.time() - 1)
        other.acquire()
        return found

    monkeypatch.setattr(type(storage), "find", taken_over)
    lock.release()
    assert content(storage)["token"] == other.token
    other.release()
    assert storage.list() == []


def test_nobody_gets_a_lock_that_is_being_released(storage, monkeypatch):
    lock = Lock(storage).acquire()
    delete = type(storage).delete

    def last_moment(storage, path):
        with pytest.raises(OutputInUseError):
            Lock(storage).acquire()
        with pytest.raises(OutputInUseError):
            Lock.attach(storage, lock.token).renew()
        delete(storage, path)

    monkeypatch.setattr(type(storage), "delete", last_moment)
    lock.release()
    assert storage.list() == []


def test_a_release_whose_answer_was_lost_is_finished(storage, monkeypatch):
    lock = Lock(storage).acquire()
    swap = type(storage).swap
    monkeypatch.setattr(type(storage), "swap", lambda *args: swap(*args) and False)
    lock.release()
    assert storage.list() == []


def test_a_full_disk_lets_the_lock_go(storage, monkeypatch):
    def full(*_):
        raise ArtifactError("No space left on device")

    lock = Lock(storage).acquire()
    monkeypatch.setattr(type(storage), "swap", full)
    lock.release()
    assert storage.list() == []


def test_a_worker_renews_by_the_token(storage):
    lock = Lock(storage).acquire()
    change(storage, expires=time.time() + 100)
    Lock.attach(storage, lock.token).renew()
    assert content(storage)["expires"] > time.time() + 500
    pickle.loads(pickle.dumps(lock)).renew()
    with pytest.raises(OutputInUseError):
        Lock.attach(storage, "another").renew()


def test_acquire_waits(storage, monkeypatch):
    monkeypatch.setattr(lock_module, "_POLL", 0.02)
    first = Lock(storage).acquire()
    start = time.monotonic()
    with pytest.raises(OutputInUseError):
        Lock(storage).acquire(wait=0.1)
    assert time.monotonic() - start >= 0.1
    timer = threading.Timer(0.1, first.release)
    timer.start()
    Lock(storage).acquire(wait=30).release()
    timer.join()


def test_an_answer_that_was_lost_is_no_other_run(storage, monkeypatch):
    create = type(storage).create
    monkeypatch.setattr(type(storage), "create", lambda *args: create(*args) and False)
    Lock(storage).acquire().release()


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b'{"token": 1}', b"\xff", b"[" * 100_000])
def test_a_lock_that_cannot_be_read_is_never_taken(storage, data):
    storage.put("lock.json", data)
    with pytest.raises(OutputInUseError, match=r"is not a valid lock: .* delete it"):
        Lock(storage).acquire()
    assert storage.read("lock.json") == data


def test_a_lock_that_was_cut_off_blocks_no_longer_than_a_whole_one(tmp_path):
    """On a file system without hard links a crash can leave half a lock."""
    storage = open_storage(str(tmp_path))
    storage.put("lock.json", b'{"token": "01')
    with pytest.raises(OutputInUseError, match="is not a valid lock"):
        Lock(storage).acquire()
    os.utime(tmp_path / "lock.json", (time.time() - lock_module.LIFETIME - 1,) * 2)
    lock = Lock(storage).acquire()
    assert content(storage)["token"] == lock.token


def test_an_output_is_held_while_its_lock_may_not_be_taken_over(storage):
    assert not is_held(storage)
    with Lock(storage):
        assert is_held(storage)
        change(storage, expires=time.time() - 1)
        assert not is_held(storage)
    storage.put("lock.json", b"{}")
    assert not is_held(storage)


def test_kept_alive_renews_beside_the_work(storage):
    lock = Lock(storage, lifetime=2.0).acquire()
    before = content(storage)["expires"]
    with lock.kept_alive():
        wait_for_renewal(storage, before)
        with pytest.raises(OutputInUseError):
            Lock(storage).acquire()


def wait_for_renewal(storage: Storage, expires: float) -> None:
    until = time.monotonic() + 30
    while content(storage)["expires"] <= expires:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_storage_that_fails_once_does_not_end_the_renewing(storage, monkeypatch, caplog):
    lock = Lock(storage, lifetime=2.0).acquire()
    before, failed, find = content(storage)["expires"], threading.Event(), type(storage).find

    def fails_once(self, path):
        if threading.current_thread().name == "renew-lock" and not failed.is_set():
            failed.set()
            raise ArtifactError("the network is down")
        return find(self, path)

    monkeypatch.setattr(type(storage), "find", fails_once)
    with lock.kept_alive():
        wait_for_renewal(storage, before)
    assert failed.is_set()
    assert "the lock was not renewed, trying again: the network is down" in caplog.text


HOLD = """
import sys, time
from pipeline.storage.lock import Lock, is_held
from pipeline.storage.open_storage import open_storage
lock = Lock(open_storage(sys.argv[1])).acquire()
print(lock.token, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="only Linux tells when a process began")
def test_the_lock_of_a_killed_process_is_taken_over_at_once_unless_workers_go_on(tmp_path):
    storage = open_storage(str(tmp_path))
    commands = [[sys.executable, "-c", HOLD, str(tmp_path / name)] for name in ("a", "b")]
    here = pathlib.Path(__file__).parents[2]
    holders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=here) for command in commands]
    tokens = [holder.stdout.readline().strip() for holder in holders]
    first, second = (open_storage(str(tmp_path / name)) for name in ("a", "b"))
    with pytest.raises(OutputInUseError, match=f"process {holders[0].pid} "):
        Lock(first).acquire()
    change(second, expires=time.time() + 100)
    Lock.attach(second, tokens[1]).renew()
    for holder in holders:
        os.kill(holder.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while process_identity.process_of(holders[0].pid).split()[-1] != "dead" and time.monotonic() < deadline:
        time.sleep(0.01)
    Lock(first).acquire()  # before it is reaped: a zombie is dead
    for holder in holders:
        holder.wait()
        holder.stdout.close()
    with pytest.raises(OutputInUseError):
        Lock(second).acquire()
    assert storage.info("a/lock.json")


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="only Linux tells when a process began")
@pytest.mark.parametrize(
    ("members", "taken"),
    [
        ({"pid": 2**22 + 1}, True),
        ({"pid": 1}, True),  # the pid is used by another process, begun at another time
        ({"host": "elsewhere", "pid": 2**22 + 1}, False),
        ({"process": "another-boot pid:[1] 5", "pid": 2**22 + 1}, False),
        ({"process": "", "pid": 2**22 + 1}, False),
        ({"pid": 0}, False),
        ({"pid": -1}, False),
        ({}, False),
    ],
)
def test_a_process_counts_as_dead_only_where_that_is_certain(storage, members, taken):
    Lock(storage).acquire()
    change(storage, **members)
    if taken:
        assert not is_held(storage)
        Lock(storage).acquire()
    else:
        assert is_held(storage)
        with pytest.raises(OutputInUseError):
            Lock(storage).acquire()


def test_what_the_lock_says_survives_json():
    holder = lock_module._Holder("t", "h", 1, "p", 1.5, 2.5)
    assert lock_module._Holder.from_json(holder.to_json()) == holder
    assert lock_module._Holder.from_json(dataclasses.replace(holder, expires=1e300).to_json()) is None
