"""What must not grow with the corpus: elements of the graph, and what a worker holds."""

from __future__ import annotations

import threading
import weakref

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches import shard_lists
from pipeline.errors import InputError
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Record, Records
from pipeline.training.trainer import seconds_to_checkpoint
from pipeline.words import merging, vocabulary
from pipeline.words.merging import SCHEMA, BucketCounts, OpenedCounts, UnitSummary, buckets_for, table_bytes, total
from pipeline.words.vocabulary import build_vocabulary
from tests.helpers.commands import digest_of, run, write_corpus

TB = 10**12


def test_more_text_is_merged_in_more_buckets_within_bounds():
    assert [buckets_for(size) for size in (0, 10**9, 128 << 30, TB, 1000 * TB)] == [32, 32, 32, 232, 1024]


SUMMARIES = st.lists(
    st.builds(UnitSummary, st.integers(0, 99), *4 * [st.integers(0, 3)]), unique_by=lambda unit: unit.index
)


@given(SUMMARIES, st.integers(0, 5))
def test_the_sum_of_units_is_that_of_sums(units, cut):
    """Runners add up some units here and some there."""
    assert total([total(units[:cut]), total(units[cut:])]) == total(units)
    assert total(units).bad_lines == sum(unit.bad_lines for unit in units)
    bad = [unit.index for unit in units if unit.bad_lines]
    assert total(units).index == (min(bad) if bad else 0)


def test_records_in_a_store_are_read_many_at_once(monkeypatch):
    records, key = Records(open_storage("memory://scale-scan")), "0" * 32
    for i in range(40):
        records.commit(Record("tokens", f"unit-{i:09d}", key, (), {"n": i}))
    find, together = type(records.storage).find, threading.Barrier(8, timeout=10)

    def slow(storage, path):
        together.wait()  # one at a time would wait for ever
        return find(storage, path)

    monkeypatch.setattr(type(records.storage), "find", slow)
    assert [record.numbers["n"] for record in records.all("tokens", key)] == list(range(40))


def test_checkpoints_of_large_models_come_less_often():
    """A checkpoint that takes 30 s is followed by 5 minutes of training, a quick one by a minute."""
    assert [seconds_to_checkpoint(took) for took in (0.0, 5.9, 30.0)] == [60.0, 60.0, 300.0]


def test_words_that_one_table_cannot_hold_are_refused_in_words(monkeypatch):
    counted = pa.table({"word": ["long", "longer", "short"], "count": pa.array([7, 6, 5])}, schema=SCHEMA)
    monkeypatch.setattr(vocabulary, "MAX_WORD_BYTES", 14)
    with pytest.raises(InputError, match=r"3 words of 15 bytes are too many .* raise --min_count"):
        build_vocabulary([counted], 5)
    assert build_vocabulary([counted], 6).num_rows == 2
    assert build_vocabulary([counted], 5, 1)["word"].to_pylist() == ["long"]


def test_of_many_buckets_only_the_words_that_stay_are_held():
    records, size, count = Records(open_storage("memory://scale-buckets")), 20_000, 30
    buckets = []
    for n in range(count):
        words = [f"bucket {n} word {i}" for i in range(size)]
        data = table_bytes(pa.table({"word": words, "count": range(n, n + size)}, schema=SCHEMA))
        buckets.append(BucketCounts(artifact=records.write_artifact(f"{n}", data)))
    opened: list[weakref.ref] = []
    held = []

    class Watched(OpenedCounts):
        def __iter__(self):
            for table in super().__iter__():
                opened.append(weakref.ref(table))
                held.append(sum(one() is not None for one in opened))
                yield table

    found = build_vocabulary(Watched(records, buckets), 1, 100)
    assert len(held) == 2 * count
    assert max(held) <= 2
    assert found.equals(build_vocabulary(list(OpenedCounts(records, buckets)), 1, 100))
    whole = build_vocabulary(OpenedCounts(records, buckets), 1)
    assert found["word"].to_pylist() == whole["word"].to_pylist()[:100]


@pytest.mark.parametrize(
    "options",
    [[], ["--phrases=1", "--batches=stored"], ["--replicas=2", "--rounds=3", "--epochs=1"]],
    ids=["plain", "phrases, stored", "replicas"],
)
def test_a_run_by_references_alone_gives_the_same_digest(tmp_path, monkeypatch, options):
    """As a large corpus does: no bucket is small enough to travel, no list but the first, which has two shards."""
    text = write_corpus(tmp_path / "text", lines=200)
    options = [*options, "--block_bytes=2500"]
    wanted = digest_of(text, tmp_path / "usual", *options)
    monkeypatch.setattr(shard_lists, "LIST_SHARDS", 2)
    monkeypatch.setattr(merging, "ELEMENT_BYTES", 0)
    output = tmp_path / "large"
    for _ in range(2):  # the second finds all of it done
        assert digest_of(text, output, *options) == wanted
        assert not [path for path in output.rglob("buckets") if any(path.iterdir())]
        lists = sorted(path.name for path in output.glob("shards/*/*"))
        assert lists == [f"list-{n:09d}.parquet" for n in range(1, len(lists) + 1)]
        assert len(lists) > 3
    assert run("jobs.verify", f"--run={output}").status == 0
