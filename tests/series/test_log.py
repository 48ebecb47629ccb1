"""The log in its storage: entries are made once, whoever races."""

from __future__ import annotations

import contextlib
import json
import threading
import uuid

import pytest

from pipeline.errors import ArtifactError, InputError
from pipeline.series.entries import Policy, path_of
from pipeline.series.log import Log
from pipeline.storage import object_store
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import sealed_json
from tests.helpers import fake_s3

POLICY = Policy(root="/texts", by="dt=*")


@pytest.fixture(params=["folder", "memory", "s3"])
def uri(request, tmp_path, monkeypatch):
    with contextlib.ExitStack() as stack:
        if request.param == "folder":
            yield str(tmp_path / "series")
        elif request.param == "memory":
            yield f"memory://{uuid.uuid4().hex}/series"
        else:
            for name, value in stack.enter_context(fake_s3.serve()).items():
                monkeypatch.setenv(name, value)
            monkeypatch.setattr(object_store, "_stores", {})
            yield f"s3://{fake_s3.BUCKET}/{uuid.uuid4().hex}"


def test_entries_come_back_in_order(uri):
    log = Log(uri)
    for mode in ("update", "warm", "cold"):
        assert log.append(Policy(root="/texts", by="dt=*", mode=mode))
    read = Log.open(uri)
    assert read.entries == log.entries
    assert [entry.mode for entry in read.entries] == ["update", "warm", "cold"]
    assert [entry.number for entry in read.entries] == [0, 1, 2]
    assert read.state.policy.mode == "cold"


def test_of_racing_writers_each_number_has_one_winner(uri):
    logs = [Log(uri) for _ in range(4)]
    wins = []

    def write(log: Log) -> None:
        for _ in range(5):
            wins.append(log.append(POLICY))

    threads = [threading.Thread(target=write, args=[log]) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [entry.number for entry in wins if entry]
    assert len(wins) == 20
    assert sorted(won) == list(range(len(Log.open(uri).entries)))


def test_who_loses_has_read_what_the_winner_wrote(uri):
    first, second = Log(uri), Log(uri)
    first.append(POLICY)
    assert second.append(Policy(root="/elsewhere", by="dt=*")) is None
    assert second.state.policy.root == "/texts"


def test_an_answer_that_was_lost_is_no_lost_race(uri, monkeypatch):
    log = Log(uri)
    create = type(log.storage).create

    def lost(storage, path, data):
        create(storage, path, data)
        return False

    monkeypatch.setattr(type(log.storage), "create", lost)
    assert log.append(POLICY).number == 0


def test_a_store_without_conditional_create_is_refused(monkeypatch, uri):
    log = Log(uri)

    def put(storage, path, data):
        storage.put(path, data)
        return True

    monkeypatch.setattr(type(log.storage), "create", put)
    with pytest.raises(InputError, match="no conditional create"):
        log.append(POLICY)
    assert log.storage.list() == []


def test_damage_is_one_line(tmp_path):
    log = Log(str(tmp_path))
    for _ in range(3):
        log.append(POLICY)
    storage, data = open_storage(str(tmp_path)), log.storage.read(path_of(1))
    storage.delete(path_of(1))
    with pytest.raises(ArtifactError, match=r"1\.json is missing"):
        Log.open(str(tmp_path))
    storage.put(path_of(1), data.replace(b"texts", b"tests"))
    with pytest.raises(ArtifactError, match=r"1\.json is damaged"):
        Log.open(str(tmp_path))
    storage.put(path_of(1), log.storage.read(path_of(0)))
    with pytest.raises(ArtifactError, match=r"1\.json is entry 0"):
        Log.open(str(tmp_path))


def test_a_series_of_another_version_is_one_line(tmp_path):
    log = Log(str(tmp_path))
    log.append(POLICY)
    body = json.loads(log.storage.read(path_of(0)))
    del body["digest"]
    log.storage.put(path_of(0), sealed_json({**body, "version": 2}))
    with pytest.raises(InputError, match="version 2 of the log, this beam2vec reads 1"):
        Log.open(str(tmp_path))
    log.storage.put(path_of(0), sealed_json({**body, "entry": "prophecy"}))
    with pytest.raises(ArtifactError, match="is damaged"):
        Log.open(str(tmp_path))


def test_no_series_is_one_line(tmp_path):
    with pytest.raises(InputError, match="there is no series"):
        Log.open(str(tmp_path))
