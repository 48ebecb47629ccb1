from __future__ import annotations

import json
import os
import pickle
import secrets

import numpy as np
import pytest

from pipeline.errors import ArtifactError
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Artifact, Record, Records


@pytest.fixture(params=["folder", "memory"])
def records(request: pytest.FixtureRequest, tmp_path) -> Records:
    root = str(tmp_path / "run") if request.param == "folder" else f"memory://{secrets.token_hex(8)}"
    return Records(open_storage(root))


def make(records: Records, name: str = "unit-00000", key: str = "k", data: bytes = b"counts") -> Record:
    artifact = records.write_artifact(f"counts/{name}.bin", data)
    record = Record("counts", name, key, (artifact,), {"tokens": 12, "loss": 0.5, "tokenizer": "whitespace"})
    records.commit(record)
    return record


def test_a_record_comes_back_as_it_was(records):
    record = make(records)
    assert records.load("counts", "unit-00000", "k") == record
    assert records.valid("counts", "unit-00000", "k") == record
    assert records.valid("counts", "unit-00000", "k", check="digest") == record
    assert records.read(record.artifacts[0]) == b"counts"
    assert pickle.loads(pickle.dumps(records)).all() == [record]


def test_another_stage_key_is_no_record(records):
    make(records, key="old")
    assert records.load("counts", "unit-00000", "new") is None
    assert records.valid("counts", "unit-00000", "new") is None


def test_an_artefact_without_record_does_not_count(records):
    records.write_artifact("counts/unit-00000.bin", b"crashed before the record")
    assert records.valid("counts", "unit-00000", "k") is None
    assert records.all() == []
    record = make(records)
    assert records.valid("counts", "unit-00000", "k", check="digest") == record


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: b"\0" * len(text),
        lambda text: b"[]",
        lambda text: b"null",
        lambda text: b'"text"',
        lambda text: b"[" * 100_000,
        lambda text: text.replace(b'"tokens": 12', b'"tokens": 13'),
        lambda text: text.replace(b'"name": "unit-00000"', b'"name": "unit-00001"'),
    ],
)
def test_a_damaged_record_is_as_good_as_none(records, damage):
    record = make(records)
    text = records.storage.read(record.path)
    assert damage(text) != text
    records.storage.put(record.path, damage(text))
    assert records.load("counts", "unit-00000", "k") is None
    assert records.all() == []
    assert list(records.scan()) == [(record.path, None)]


def test_a_record_under_another_name_is_none(records):
    record = make(records)
    records.storage.put("records/counts/unit-00001.json", records.storage.read(record.path))
    assert records.load("counts", "unit-00001", "k") is None
    assert records.all() == [record]


@pytest.mark.parametrize(
    ("data", "size_sees_it", "message"),
    [(b"counts, more", True, "has 12 bytes"), (b"tnuocs", False, "is damaged"), (None, True, "is missing")],
)
def test_a_damaged_artefact_is_seen_and_named_with_the_remedy(records, data, size_sees_it, message):
    record = make(records)
    artifact = record.artifacts[0]
    records.storage.delete(artifact.path) if data is None else records.storage.put(artifact.path, data)
    assert (records.valid("counts", "unit-00000", "k") is None) == size_sees_it
    assert records.valid("counts", "unit-00000", "k", check="digest") is None
    assert message in records.damage(artifact)
    with pytest.raises(ArtifactError, match=rf"counts/unit-00000\.bin {message}.*run the same command again"):
        records.read(artifact)


def test_all_lists_by_stage_and_in_order(records):
    for name in ("unit-00010", "unit-00002"):
        make(records, name)
    records.commit(Record("vocabulary", "vocabulary", "k"))
    assert [record.name for record in records.all("counts")] == ["unit-00002", "unit-00010"]
    assert [record.name for record in records.all()] == ["unit-00002", "unit-00010", "vocabulary"]
    assert records.all("nothing") == []


def test_remove_takes_the_record_first(records, monkeypatch):
    record, other = make(records), make(records, "unit-00001")
    deleted = []
    delete = type(records.storage).delete
    monkeypatch.setattr(
        type(records.storage), "delete", lambda self, path: (deleted.append(path), delete(self, path))[1]
    )
    records.remove(record)
    assert deleted == [record.path, record.artifacts[0].path]
    assert records.all() == [other]
    records.remove(record)


def test_numpy_numbers_are_plain_and_nan_is_refused(records):
    record = Record("counts", "a", "k", (), {"tokens": np.int64(3), "loss": np.float32(0.5), "list": [1]})
    records.commit(record)
    assert records.load("counts", "a", "k").numbers == {"tokens": 3, "loss": 0.5, "list": [1]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.commit(Record("counts", "a", "k", (), {"loss": float("nan")}))
    with pytest.raises(TypeError, match="no place in JSON"):
        records.commit(Record("counts", "a", "k", (), {"array": np.zeros(2)}))


@pytest.mark.parametrize(("stage", "name"), [("", "a"), ("a", ""), ("a/b", "c"), ("a", "b/c")])
def test_a_name_that_is_a_path_is_a_mistake(records, stage, name):
    with pytest.raises(ValueError, match="single parts of a path"):
        records.commit(Record(stage, name, "k"))


def test_a_record_cannot_make_remove_leave_the_output(records, tmp_path):
    outside = tmp_path / "precious"
    outside.write_bytes(b"1")
    with pytest.raises(ArtifactError, match="not the path of an object"):
        records.remove(Record("counts", "a", "k", (Artifact("../precious", "", 1),)))
    assert os.path.exists(outside)


def test_a_record_is_readable_json(records):
    body = json.loads(records.storage.read(make(records).path))
    assert body["artifacts"][0]["path"] == "counts/unit-00000.bin"
    assert body["numbers"]["tokens"] == 12
