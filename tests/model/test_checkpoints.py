from __future__ import annotations

import json
import logging
import secrets

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ArtifactError
from pipeline.model import checkpoints
from pipeline.model import model as model_digest
from pipeline.model.checkpoints import latest_checkpoint, prune_checkpoints, read_checkpoint, write_checkpoint
from pipeline.model.model import Model
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from tests.helpers.models import make_model


@pytest.fixture(params=["folder", "memory"])
def records(request: pytest.FixtureRequest, tmp_path) -> Records:
    root = str(tmp_path / "a run") if request.param == "folder" else f"memory://{secrets.token_hex(8)}"
    return Records(open_storage(root))


def same(a: Model, b: Model) -> bool:
    return (
        a.words.equals(b.words)
        and np.array_equal(a.counts, b.counts)
        and a.input.tobytes() == b.input.tobytes()
        and a.output.tobytes() == b.output.tobytes()
    )


@pytest.mark.parametrize("words", [1, 8, 20])
def test_a_checkpoint_reads_back_as_it_was(records, small_blocks, words):
    model = make_model(words)
    ref = write_checkpoint(records, "k", 12345, model, {"configuration": {"dims": 3}})
    assert ref.folder == "checkpoints/step=00012345"
    assert (ref.step, ref.words, ref.dims, ref.digest) == (12345, words, 3, model_digest.model_digest(model))
    assert len(ref.parts) == -(-words // 8)
    assert latest_checkpoint(records, "k") == ref
    assert latest_checkpoint(records, "another") is None
    assert same(read_checkpoint(records, ref), model)


def test_writing_again_gives_the_same_bytes(records, small_blocks):
    first = write_checkpoint(records, "k", 1, make_model(), {"versions": {"b": 1, "a": 2}})
    assert write_checkpoint(records, "k", 1, make_model(), {"versions": {"a": 2, "b": 1}}) == first


def test_provenance_stands_in_every_part(records, small_blocks):
    ref = write_checkpoint(records, "k", 7, make_model(), {"input_digest": "abc"})
    for part in ref.parts:
        schema = pq.read_schema(pa.BufferReader(records.read(part)))
        assert json.loads(schema.metadata[b"beam2vec"]) == {
            "input_digest": "abc",
            "step": 7,
            "digest": ref.digest,
            "words": 20,
            "dims": 3,
        }


def test_pandas_and_duckdb_read_it_with_nothing_of_ours(tmp_path, small_blocks):
    model = make_model()
    records = Records(open_storage(str(tmp_path / "a run")))
    folder = records.storage.uri(write_checkpoint(records, "k", 1, model, {}).folder)
    frame = pd.read_parquet(folder).sort_values("id")
    assert list(frame.columns) == ["word", "id", "count", "input", "output"]
    assert frame["word"].tolist() == model.words.to_pylist()
    assert frame["count"].tolist() == model.counts.tolist()
    assert np.array_equal(np.stack(frame["input"]), model.input)
    found = duckdb.sql(f"select word, id, count, input, output from '{folder}/*.parquet' order by id")
    assert dict(zip(found.columns, map(str, found.types))) == {
        "word": "VARCHAR",
        "id": "INTEGER",
        "count": "BIGINT",
        "input": "FLOAT[]",
        "output": "FLOAT[]",
    }
    rows = found.fetchall()
    assert [row[0] for row in rows] == model.words.to_pylist()
    assert np.array_equal(np.array([row[4] for row in rows], np.float32), model.output)
    nearest = duckdb.sql(f"""
        from '{folder}/*.parquet' select word
        order by list_cosine_similarity(input, (from '{folder}/*.parquet' select input where id = 4)) desc
        limit 1
    """).fetchall()
    assert nearest == [(model.words[4].as_py(),)]


def test_no_column_holds_nulls_and_vectors_are_fixed_size_lists_stored_plainly(records):
    ref = write_checkpoint(records, "k", 1, make_model(), {})
    file = pq.ParquetFile(pa.BufferReader(records.read(ref.parts[0])))
    for name in ("input", "output"):
        kind = file.schema_arrow.field(name).type
        assert (kind.list_size, kind.value_type, kind.value_field.nullable) == (3, pa.float32(), False)
    assert not any(field.nullable for field in file.schema_arrow)
    columns = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
    assert {column.compression for column in columns} == {"UNCOMPRESSED"}
    assert all("DICTIONARY" not in encoding for column in columns for encoding in column.encodings)


@pytest.mark.parametrize("damage", ["part missing", "part cut", "part changed", "record torn", "record missing"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(records, small_blocks, caplog, damage):
    older = write_checkpoint(records, "k", 1, make_model(seed=1), {})
    newer = write_checkpoint(records, "k", 2, make_model(seed=2), {})
    storage, path, record = records.storage, newer.parts[1].path, "records/checkpoints/step=00000002.json"
    data = storage.read(path)
    if damage == "part missing":
        storage.delete(path)
    elif damage == "part cut":
        storage.put(path, data[:-1])
    elif damage == "part changed":
        storage.put(path, data.replace(b"w\xc3\xb6rd 10", b"w\xc3\xb6rd 19"))
        assert storage.read(path) != data
    elif damage == "record torn":
        storage.put(record, storage.read(record)[:-20])
    else:
        storage.delete(record)
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(records, "k") == older
    assert ("step=00000002" in caplog.text) == (damage != "record missing")
    if damage.startswith("part"):
        with pytest.raises(ArtifactError, match=r"step=00000002/part-00001-of-00003\.parquet"):
            read_checkpoint(records, newer)


def test_parts_in_the_wrong_place_are_no_model(records, small_blocks):
    ref = write_checkpoint(records, "k", 1, make_model(), {})
    swapped = checkpoints.CheckpointRef(**{**vars(ref), "parts": (ref.parts[1], ref.parts[0], ref.parts[2])})
    with pytest.raises(ArtifactError, match="does not hold the ids 0 to 7"):
        read_checkpoint(records, swapped)
    other = checkpoints.CheckpointRef(**{**vars(ref), "digest": "0" * 64})
    with pytest.raises(ArtifactError, match="its model digest is"):
        read_checkpoint(records, other)


def test_a_part_that_is_not_parquet_is_named(records):
    ref = write_checkpoint(records, "k", 1, make_model(), {})
    part = records.write_artifact(ref.parts[0].path, b"PAR1 no")
    with pytest.raises(ArtifactError, match="is no part of a checkpoint"):
        read_checkpoint(records, checkpoints.CheckpointRef(**{**vars(ref), "parts": (part,)}))


def steps(records: Records) -> list[int]:
    return [ref.step for ref in checkpoints.checkpoints(records, "k")]


def test_prune_keeps_the_newest(records, small_blocks):
    for step in (5, 100_000_000, 20, 7):
        write_checkpoint(records, "k", step, make_model(), {})
    write_checkpoint(records, "another", 3, make_model(), {})
    assert prune_checkpoints(records, "k", 3) == [5]
    assert prune_checkpoints(records, "k", 3) == []
    assert steps(records) == [7, 20, 100_000_000]
    assert prune_checkpoints(records, "k", 0) == [7, 20]
    assert steps(records) == [100_000_000]
    folders = {info.path.split("/")[1] for info in records.storage.list("checkpoints")}
    assert folders == {"step=100000000", "step=00000003"}


def test_prune_does_not_count_damaged_ones_and_clears_what_a_killed_writer_left(records, small_blocks):
    refs = [write_checkpoint(records, "k", step, make_model(), {}) for step in (1, 2, 3, 4)]
    storage = records.storage
    storage.delete(refs[2].parts[0].path)
    storage.put("checkpoints/step=00000002/notes.txt", b"mine")
    for step in (0, 9):  # 9 may be on its way
        storage.put(f"checkpoints/step={step:08d}/part-00000-of-00003.parquet", b"half")
    assert prune_checkpoints(records, "k", 2) == [1, 3]
    assert steps(records) == [2, 4]
    left = {info.path for info in storage.list("checkpoints")}
    assert left == {part.path for ref in (refs[1], refs[3]) for part in ref.parts} | {
        "checkpoints/step=00000002/notes.txt",
        "checkpoints/step=00000009/part-00000-of-00003.parquet",
    }


def test_prune_never_removes_the_only_sound_one(records, small_blocks):
    refs = [write_checkpoint(records, "k", step, make_model(), {}) for step in (1, 2)]
    records.storage.delete(refs[1].parts[0].path)
    assert prune_checkpoints(records, "k", 1) == []
    assert latest_checkpoint(records, "k") == refs[0]
    assert steps(records) == [1, 2]  # the damaged one goes when a newer sound one is there
    write_checkpoint(records, "k", 3, make_model(), {})
    assert prune_checkpoints(records, "k", 1) == [1, 2]


def test_a_crash_before_the_record_leaves_no_checkpoint(records, small_blocks, monkeypatch):
    older = write_checkpoint(records, "k", 1, make_model(), {})

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Records, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            write_checkpoint(records, "k", 2, make_model(seed=1), {})
    assert latest_checkpoint(records, "k") == older
