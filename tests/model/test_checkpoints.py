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
from pipeline.model.checkpoints import STAGE, latest_checkpoint, prune_checkpoints, read_checkpoint, write_checkpoint
from pipeline.model.model import Model
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from tests.helpers.keys import KEY, OTHER_KEY
from tests.helpers.models import make_model

FOLDER = f"checkpoints/{KEY[:8]}"


@pytest.fixture(params=["folder", "memory"])
def records(request: pytest.FixtureRequest, tmp_path) -> Records:
    root = str(tmp_path / "a run") if request.param == "folder" else f"memory://{secrets.token_hex(8)}"
    return Records(open_storage(root))


@pytest.fixture
def commits(records) -> Commits:
    return Commits(records, STAGE, KEY)


def same(a: Model, b: Model) -> bool:
    return (
        a.words.equals(b.words)
        and np.array_equal(a.counts, b.counts)
        and a.input.tobytes() == b.input.tobytes()
        and a.output.tobytes() == b.output.tobytes()
    )


@pytest.mark.parametrize("words", [1, 8, 20])
def test_a_checkpoint_reads_back_as_it_was(records, commits, small_blocks, words):
    model = make_model(words)
    ref = write_checkpoint(commits, 12345, model, {"configuration": {"dims": 3}})
    assert ref.folder == f"{FOLDER}/step=000000012345"
    assert (ref.step, ref.words, ref.dims, ref.digest) == (12345, words, 3, model_digest.model_digest(model))
    assert len(ref.parts) == -(-words // 8)
    assert latest_checkpoint(records, KEY) == ref
    assert latest_checkpoint(records, OTHER_KEY) is None
    assert same(read_checkpoint(records, ref), model)


def test_writing_again_gives_the_same_bytes(commits, small_blocks):
    first = write_checkpoint(commits, 1, make_model(), {"versions": {"b": 1, "a": 2}})
    assert write_checkpoint(commits, 1, make_model(), {"versions": {"a": 2, "b": 1}}) == first


def test_provenance_stands_in_every_part(records, commits, small_blocks):
    ref = write_checkpoint(commits, 7, make_model(), {"input_digest": "abc"})
    for part in ref.parts:
        schema = pq.read_schema(pa.BufferReader(records.read(part)))
        assert json.loads(schema.metadata[b"beam2vec"]) == {
            "input_digest": "abc",
            "checkpoint_version": checkpoints.VERSION,
            "step": 7,
            "steps": None,
            "digest": ref.digest,
            "words": 20,
            "dims": 3,
        }


def test_pandas_and_duckdb_read_it_with_nothing_of_ours(tmp_path, small_blocks):
    model = make_model()
    records = Records(open_storage(str(tmp_path / "a run")))
    folder = records.storage.uri(write_checkpoint(Commits(records, STAGE, KEY), 1, model, {}).folder)
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


def test_no_column_holds_nulls_and_vectors_are_fixed_size_lists_stored_plainly(records, commits):
    ref = write_checkpoint(commits, 1, make_model(), {})
    file = pq.ParquetFile(pa.BufferReader(records.read(ref.parts[0])))
    for name in ("input", "output"):
        kind = file.schema_arrow.field(name).type
        assert (kind.list_size, kind.value_type, kind.value_field.nullable) == (3, pa.float32(), False)
    assert not any(field.nullable for field in file.schema_arrow)
    columns = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
    assert {column.compression for column in columns} == {"UNCOMPRESSED"}
    assert all("DICTIONARY" not in encoding for column in columns for encoding in column.encodings)


@pytest.mark.parametrize("damage", ["part missing", "part cut", "part changed", "record torn", "record missing"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(records, commits, small_blocks, caplog, damage):
    older = write_checkpoint(commits, 1, make_model(seed=1), {})
    newer = write_checkpoint(commits, 2, make_model(seed=2), {})
    storage, path, record = records.storage, newer.parts[1].path, f"records/{FOLDER}/step=000000000002.json"
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
        assert latest_checkpoint(records, KEY) == older
    assert ("step=000000000002" in caplog.text) == (damage != "record missing")
    if damage.startswith("part"):
        with pytest.raises(ArtifactError, match=r"step=000000000002/part-000001-of-000003\.parquet"):
            read_checkpoint(records, newer)


def test_parts_in_the_wrong_place_are_no_model(records, commits, small_blocks):
    ref = write_checkpoint(commits, 1, make_model(), {})
    swapped = checkpoints.CheckpointRef(**{**vars(ref), "parts": (ref.parts[1], ref.parts[0], ref.parts[2])})
    with pytest.raises(ArtifactError, match="does not hold the ids 0 to 7"):
        read_checkpoint(records, swapped)
    other = checkpoints.CheckpointRef(**{**vars(ref), "digest": "0" * 64})
    for read in (read_checkpoint, lambda *given: list(checkpoints.read_blocks(*given))):
        with pytest.raises(ArtifactError, match="its model digest is"):
            read(records, other)


def test_a_part_that_is_not_parquet_is_named(records, commits):
    ref = write_checkpoint(commits, 1, make_model(), {})
    part = records.write_artifact(ref.parts[0].path, b"PAR1 no")
    with pytest.raises(ArtifactError, match="is not a part of a checkpoint"):
        read_checkpoint(records, checkpoints.CheckpointRef(**{**vars(ref), "parts": (part,)}))


def steps(records: Records) -> list[int]:
    return [ref.step for ref in checkpoints.checkpoints(records, KEY)]


def test_prune_keeps_the_newest(records, commits, small_blocks):
    for step in (5, 100_000_000, 20, 7):
        write_checkpoint(commits, step, make_model(), {})
    write_checkpoint(Commits(records, STAGE, OTHER_KEY), 3, make_model(), {})
    assert prune_checkpoints(commits, 3) == [5]
    assert prune_checkpoints(commits, 3) == []
    assert steps(records) == [7, 20, 100_000_000]
    assert prune_checkpoints(commits, 0) == [7, 20]
    assert steps(records) == [100_000_000]
    folders = {info.path.rpartition("/")[0] for info in records.storage.list("checkpoints")}
    assert folders == {f"{FOLDER}/step=000100000000", f"checkpoints/{OTHER_KEY[:8]}/step=000000000003"}


def test_prune_does_not_count_damaged_ones_and_clears_what_a_killed_writer_left(records, commits, small_blocks):
    refs = [write_checkpoint(commits, step, make_model(), {}) for step in (1, 2, 3, 4)]
    storage = records.storage
    storage.delete(refs[2].parts[0].path)
    storage.put(f"{FOLDER}/step=000000000002/notes.txt", b"mine")
    for step in (0, 9):  # 9 may be on its way
        storage.put(f"{FOLDER}/step={step:012d}/part-000000-of-000003.parquet", b"half")
    assert prune_checkpoints(commits, 2) == [1, 3]
    assert steps(records) == [2, 4]
    left = {info.path for info in storage.list("checkpoints")}
    assert left == {part.path for ref in (refs[1], refs[3]) for part in ref.parts} | {
        f"{FOLDER}/step=000000000002/notes.txt",
        f"{FOLDER}/step=000000000009/part-000000-of-000003.parquet",
    }


def test_prune_never_removes_the_only_sound_one(records, commits, small_blocks):
    refs = [write_checkpoint(commits, step, make_model(), {}) for step in (1, 2)]
    records.storage.delete(refs[1].parts[0].path)
    assert prune_checkpoints(commits, 1) == []
    assert latest_checkpoint(records, KEY) == refs[0]
    assert steps(records) == [1, 2]  # the damaged one goes when a newer sound one is there
    write_checkpoint(commits, 3, make_model(), {})
    assert prune_checkpoints(commits, 1) == [1, 2]


def test_a_crash_before_the_record_leaves_no_checkpoint(records, commits, small_blocks, monkeypatch):
    older = write_checkpoint(commits, 1, make_model(), {})

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Records, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            write_checkpoint(commits, 2, make_model(seed=1), {})
    assert latest_checkpoint(records, KEY) == older
