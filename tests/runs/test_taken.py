"""Which files a chain has taken: by name, size and version, or by content."""

from __future__ import annotations

import gzip
import os
import shutil

import pytest

import beam2vec
from beam2vec import InputError
from pipeline.runs.taken import SCHEMA
from pipeline.storage.parquet import from_parquet

OPTIONS = {"dims": 4, "epochs": 1, "min_count": 1, "batch_size": 64, "threads": 1}
TEXT = "a rose is a rose is a rose\n" * 40


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "plain.txt").write_text(TEXT)
    (folder / "empty.txt").write_text("")
    (folder / "packed.txt.gz").write_bytes(gzip.compress(b"is it a rose\n" * 30, mtime=0))
    return folder, beam2vec.train(folder, folder.parent / "run", **OPTIONS)


def update(chain, tmp_path, **more):
    return beam2vec.update(chain[1], tmp_path / "new", tmp_path / "run", **more)


def test_the_files_stand_with_the_totals(chain):
    run = chain[1]
    table = from_parquet(run.records.read(run.records.load("totals", "totals", run.key("totals")).artifacts[1]))
    assert table.schema.remove_metadata() == SCHEMA
    rows = {os.path.basename(row["uri"]): row for row in table.to_pylist()}
    assert set(rows) == {"plain.txt", "empty.txt", "packed.txt.gz"}
    assert rows["plain.txt"]["size"] == len(TEXT)
    assert [len(digest) for digest in rows["plain.txt"]["digests"]] == [32]
    assert rows["empty.txt"]["digests"] == []
    assert len(rows["packed.txt.gz"]["digests"]) == 1


@pytest.mark.parametrize("name", ["plain.txt", "packed.txt.gz"])
def test_a_copy_is_known_by_its_content(chain, tmp_path, name):
    (tmp_path / "new").mkdir()
    shutil.copyfile(chain[0] / name, tmp_path / "new" / f"copy of {name}")
    with pytest.raises(InputError, match="taken 1 of 1 file of --input already"):
        update(chain, tmp_path)


def test_an_empty_file_and_one_of_equal_size_are_new(chain, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "empty.txt").write_text("")
    (tmp_path / "new" / "other.txt").write_text(TEXT.replace("rose", "iris"))
    run = update(chain, tmp_path)
    assert len(run.identity["inputs"]) == 2
    assert "iris" in run
    with pytest.raises(InputError, match="taken 3 of 5 files"):
        beam2vec.update(run, [tmp_path / "new", chain[0]], tmp_path / "again")


def test_what_was_taken_is_left_out_where_that_is_asked_for(chain, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "more.txt").write_text("a rose is an iris\n" * 20)
    for name in ("plain.txt", "packed.txt.gz"):
        shutil.copyfile(chain[0] / name, tmp_path / "new" / name)
    run = update(chain, tmp_path, skip_taken=True)
    assert [os.path.basename(file["uri"]) for file in run.identity["inputs"]] == ["more.txt"]
    with pytest.raises(InputError, match="there is nothing new"):
        beam2vec.update(run, tmp_path / "new", tmp_path / "next", skip_taken=True)


def test_a_file_that_begins_like_one_of_its_size_is_new(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.corpus.digests.RANGE_BYTES", 64)  # so that files have several digests
    (tmp_path / "old.txt").write_text(TEXT)
    run = beam2vec.train(tmp_path / "old.txt", tmp_path / "first", **OPTIONS)
    (tmp_path / "new.txt").write_text(TEXT[:-5] + "iris\n")
    assert "iris" in beam2vec.update(run, tmp_path / "new.txt", tmp_path / "second")
