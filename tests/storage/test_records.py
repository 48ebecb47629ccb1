from __future__ import annotations

import dataclasses
import json
import os
import pickle
import secrets

import numpy as np
import pytest

from pipeline.errors import ArtifactError
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Artifact, Digest, Number, Record, Records, sealed_json, stage_folder

KEY, OTHER_KEY = "0123456789abcdef" * 2, "f" * 32


@pytest.fixture(params=["folder", "memory"])
def records(request: pytest.FixtureRequest, tmp_path) -> Records:
    root = str(tmp_path / "run") if request.param == "folder" else f"memory://{secrets.token_hex(8)}"
    return Records(open_storage(root))


def make(records: Records, name: str = "unit-000000000", key: str = KEY, data: bytes = b"counts") -> Record:
    artifact = records.write_artifact(f"counts/{name}.bin", data)
    record = Record("counts", name, key, (artifact,), {"tokens": 12, "loss": 0.5, "tokenizer": "whitespace"})
    records.commit(record)
    return record


def test_a_record_comes_back_as_it_was(records):
    record = make(records)
    assert records.load("counts", "unit-000000000", KEY) == record
    assert records.valid("counts", "unit-000000000", KEY) == record
    assert records.valid("counts", "unit-000000000", KEY, check="digest") == record
    assert records.read(record.artifacts[0]) == b"counts"
    assert pickle.loads(pickle.dumps(records)).all("counts", KEY) == [record]


def test_another_stage_key_is_no_record(records):
    make(records, key=OTHER_KEY)
    assert records.load("counts", "unit-000000000", KEY) is None
    assert records.valid("counts", "unit-000000000", KEY) is None
    assert records.all("counts", KEY) == []
    assert not records.has_any("counts", KEY)
    assert records.has_any("counts", OTHER_KEY)


def test_a_stage_key_that_differs_only_behind_the_digits_in_paths_is_no_record(records):
    record = make(records)
    near = KEY[:8] + "0" * 24
    assert stage_folder("counts", near) == stage_folder("counts", KEY)
    assert records.load("counts", record.name, near) is None
    assert records.all("counts", near) == []


def test_an_artefact_without_record_does_not_count(records):
    records.write_artifact("counts/unit-000000000.bin", b"crashed before the record")
    assert records.valid("counts", "unit-000000000", KEY) is None
    assert records.all("counts", KEY) == []
    record = make(records)
    assert records.valid("counts", "unit-000000000", KEY, check="digest") == record


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
        lambda text: text.replace(b'"name": "unit-000000000"', b'"name": "unit-000000001"'),
    ],
)
def test_a_damaged_record_is_as_good_as_none(records, damage):
    record = make(records)
    text = records.storage.read(record.path)
    assert damage(text) != text
    records.storage.put(record.path, damage(text))
    assert records.load("counts", "unit-000000000", KEY) is None
    assert records.all("counts", KEY) == []
    assert list(records.scan()) == [(record.path, None)]


def test_a_record_under_another_name_is_none(records):
    record = make(records)
    records.storage.put(f"{stage_folder('counts', KEY)}/unit-000000001.json", records.storage.read(record.path))
    assert records.load("counts", "unit-000000001", KEY) is None
    assert records.all("counts", KEY) == [record]


@pytest.mark.parametrize(
    ("data", "size_sees_it", "message"),
    [(b"counts, more", True, "has 12 bytes"), (b"tnuocs", False, "is damaged"), (None, True, "is missing")],
)
def test_a_damaged_artefact_is_seen_and_named_with_the_remedy(records, data, size_sees_it, message):
    record = make(records)
    artifact = record.artifacts[0]
    records.storage.delete(artifact.path) if data is None else records.storage.put(artifact.path, data)
    assert (records.valid("counts", "unit-000000000", KEY) is None) == size_sees_it
    assert records.valid("counts", "unit-000000000", KEY, check="digest") is None
    assert message in records.damage(artifact)
    with pytest.raises(ArtifactError, match=rf"counts/unit-000000000\.bin {message}.*start the run again"):
        records.read(artifact)


def test_all_lists_by_stage_and_in_order(records):
    for name in ("unit-000000010", "unit-000000002"):
        make(records, name)
    records.commit(Record("vocabulary", "vocabulary", KEY))
    make(records, "unit-000000003", OTHER_KEY)
    assert [record.name for record in records.all("counts", KEY)] == ["unit-000000002", "unit-000000010"]
    assert records.names("counts", KEY) == ["unit-000000002", "unit-000000010"]
    scanned = [record.name for _, record in records.scan()]
    assert scanned == ["unit-000000002", "unit-000000010", "unit-000000003", "vocabulary"]
    assert records.all("nothing", KEY) == []


def test_remove_takes_the_record_first(records, monkeypatch):
    record, other = make(records), make(records, "unit-000000001")
    deleted = []
    delete = type(records.storage).delete
    monkeypatch.setattr(
        type(records.storage), "delete", lambda self, path: (deleted.append(path), delete(self, path))[1]
    )
    records.remove(record)
    assert deleted == [record.path, record.artifacts[0].path]
    assert records.all("counts", KEY) == [other]
    records.remove(record)


def test_numpy_numbers_are_plain_and_nan_is_refused(records):
    record = Record("counts", "a", KEY, (), {"tokens": np.int64(3), "loss": np.float32(0.5), "list": [1]})
    records.commit(record)
    assert records.load("counts", "a", KEY).numbers == {"tokens": 3, "loss": 0.5, "list": [1]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.commit(Record("counts", "a", KEY, (), {"loss": float("nan")}))
    with pytest.raises(TypeError, match="no place in JSON"):
        records.commit(Record("counts", "a", KEY, (), {"array": np.zeros(2)}))


@pytest.mark.parametrize(("stage", "name"), [("", "a"), ("a", ""), ("a/b", "c"), ("a", "b/c")])
def test_a_name_that_is_a_path_is_a_mistake(records, stage, name):
    with pytest.raises(ValueError, match="single parts of a path"):
        records.commit(Record(stage, name, KEY))


def test_a_record_cannot_make_remove_leave_the_output(records, tmp_path):
    outside = tmp_path / "precious"
    outside.write_bytes(b"1")
    with pytest.raises(ArtifactError, match="not the path of an object"):
        records.remove(Record("counts", "a", KEY, (Artifact("../precious", "", 1),)))
    assert os.path.exists(outside)


def test_a_record_is_readable_json(records):
    body = json.loads(records.storage.read(make(records).path))
    assert body["artifacts"][0]["path"] == "counts/unit-000000000.bin"
    assert body["numbers"]["tokens"] == 12


@pytest.mark.parametrize(
    "change",
    [
        {"key": "0"},
        {"name": ""},
        {"stage": 7},
        {"numbers": []},
        {"artifacts": [{"path": "a", "digest": "d", "size": 1}]},
        {"artifacts": [{"path": "a", "digest": "0" * 64, "size": -1}]},
        {"artifacts": [{"path": "a", "digest": "0" * 64, "size": 2**63}]},
        {"artifacts": [{"path": "a", "digest": "0" * 64, "size": 1, "root": "elsewhere"}]},
    ],
)
def test_what_no_record_can_hold_is_a_damaged_record(records, change):
    record = make(records)
    body = {"stage": "counts", "name": record.name, "key": KEY, "artifacts": [], "numbers": {}}
    records.storage.put(record.path, sealed_json(body))
    assert records.load("counts", record.name, KEY) is not None
    records.storage.put(record.path, sealed_json(body | change))
    assert records.load("counts", record.name, KEY) is None
    assert list(records.scan()) == [(record.path, None)]


@dataclasses.dataclass(frozen=True)
class TokensOfUnit:
    tokens: Number
    digests: list[Digest]


@pytest.mark.parametrize(
    "numbers",
    [{}, {"tokens": 1}, {"tokens": -1, "digests": []}, {"tokens": 1.5, "digests": []}, {"tokens": 1, "digests": ["d"]}],
)
def test_numbers_are_read_by_their_types_and_bounds(records, numbers):
    record = Record("counts", "a", KEY, (), {"tokens": 1, "digests": ["0" * 64]})
    assert record.read(TokensOfUnit) == TokensOfUnit(1, ["0" * 64])
    with pytest.raises(
        ArtifactError, match=r"^records/counts/01234567/a\.json is damaged .*delete it and start the run"
    ):
        dataclasses.replace(record, numbers=numbers).read(TokensOfUnit)
