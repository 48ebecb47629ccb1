"""The parts of a run that could give way first, each alone, at the size it has far beyond one machine.

Used by `tools.scale.forecast --check=...`; every function says in its result what size was really run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam import coders

from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.shard_lists import LIST_SHARDS, ShardList, pack, shard_list, sliced_lists, unpack
from pipeline.batches.shard_lists import STAGE as LISTS
from pipeline.batches.shards import BatchShard
from pipeline.corpus.work_units import WorkUnit
from pipeline.options import Options
from pipeline.runtime import memory
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Artifact, Records, record_path
from pipeline.training.replicas.rounds import Rounds
from pipeline.words import unigram
from pipeline.words.merging import SCHEMA, BucketCounts, buckets_for, merge_counts, prune, split_by_bucket, table_bytes
from pipeline.words.vocabulary import Vocabulary
from tools.scale.stage_costs import clock, falling_counts, made_up_counts
from transforms.counts import BUNDLE_WORDS

_FREQUENT = 200_000
"""Words that every table of counts has; the others of a table are its own."""
_TEXT_BYTES = 5.7
"""of a token of English, with its space"""
_TOKENS_A_WORD = 260
"""Tokens for each different word, of English with 100 million of them, by Heaps' law as fitted on Wikipedia."""
_REPLICAS, _ROUNDS = 4, 10
"""Of the side input of several trainers."""
_READ = 2000
"""Records that are read again, of those listed."""
_KEY = "0" * 32
"""Of every stage."""


def merge(chosen: argparse.Namespace) -> dict[str, Any]:
    """Words of many tables cut by hash, laid down bucket by bucket as a runner does, and merged one after the other."""
    wanted = chosen.merge_words
    memory.return_early()
    buckets = buckets_for(int(_TOKENS_A_WORD * wanted * _TEXT_BYTES))
    size = min(BUNDLE_WORDS, wanted)
    frequent = made_up_counts(0, min(_FREQUENT, size // 2))
    with tempfile.TemporaryDirectory() as folder:
        made, moved, largest, first = frequent.num_rows, 0, 0, frequent.num_rows
        split = 0.0
        while made < wanted:
            own = min(size - frequent.num_rows, wanted - made)
            table = pa.concat_tables([frequent, made_up_counts(first, own, 1)])
            began = time.process_time()
            for bucket, data in split_by_bucket(table, buckets):
                largest = max(largest, len(data))
                with open(f"{folder}/{bucket}", "ab") as file:
                    file.write(len(data).to_bytes(8, "little") + data)
            split += time.process_time() - began
            made, first, moved = made + own, first + own, moved + table.num_rows
        cpu, most, words, kept = 0.0, 0.0, 0, 0
        for name in os.listdir(folder):
            with clock() as clocked:
                merged = merge_counts(_parts(Path(folder, name)))
                kept += len(table_bytes(prune(merged, 5)))
            words += merged.num_rows
            cpu += clocked["cpu"]
            most = max(most, clocked["memory"])
            del merged
    return {
        "distinct words": words,
        "words moved": moved,
        "buckets": buckets,
        "CPU s to split": split,
        "CPU s to merge": cpu,
        "largest element, bytes": largest,
        "memory of the largest bucket, bytes": most,
    }


def _parts(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while size := file.read(8):
            yield file.read(int.from_bytes(size, "little"))


def listing(chosen: argparse.Namespace) -> dict[str, Any]:
    """So many records of a stage, listed in a folder and in memory:// as one object store; some are read again."""
    count = chosen.list_records
    found: dict[str, Any] = {"records": count}
    with tempfile.TemporaryDirectory() as folder:
        for name, root in (("folder", folder), ("memory store", "memory://scale-listing")):
            records = Records(open_storage(root))
            commits = Commits(records, "tokens", _KEY)
            artifact = Artifact(commits.path(f"{_unit_name(0)}.parquet"), "0" * 64, 1)
            sample = commits.commit(_unit_name(0), [artifact])
            data = records.storage.read(sample.path)
            for index in range(1, count):
                path = record_path(sample.stage, _KEY, _unit_name(index))
                if root == folder:  # unsynced: what is timed is listing
                    with open(f"{folder}/{path}", "wb") as file:
                        file.write(data)
                else:
                    records.storage.put(path, data)
            with clock() as clocked:
                names = records.names(sample.stage, _KEY)
            assert len(names) == count
            found[f"s to list, {name}"] = clocked["wall"]
            found[f"bytes of memory, {name}"] = clocked["memory"]
            step = max(1, count // _READ)
            began = time.perf_counter()
            for record in names[::step]:
                commits.load(record)
            found[f"ms to read one, {name}"] = 1000 * (time.perf_counter() - began) / len(names[::step])
            if root == folder:
                shutil.rmtree(f"{folder}/records")
    return found


def side_input(chosen: argparse.Namespace) -> dict[str, Any]:
    """A vocabulary and its unigram distribution: made once, then opened as each worker process does."""
    memory.return_early()
    count = chosen.side_input_words
    words = made_up_counts(0, count)["word"].combine_chunks()
    table = pa.table([words, pa.array(falling_counts(count))], schema=SCHEMA)
    vocabulary = Vocabulary.from_table(table)
    data, counts = vocabulary.to_parquet(), vocabulary.counts
    del table, words, vocabulary
    with clock() as noise:
        made = to_parquet(unigram.build(counts, Options().power, Options().subsample).to_table())
    with clock() as opened:
        there = Vocabulary.from_parquet(data)
        there.lookup_table()
    del there
    with clock() as tables:
        Tables.of(unigram.UnigramDistribution.from_table(from_parquet(made)))
    return {
        "words": count,
        "bytes of vocabulary": memoryview(data).nbytes,
        "bytes of unigram": memoryview(made).nbytes,
        "s to make the unigram distribution": noise["cpu"],
        "s to open the vocabulary": opened["cpu"],
        "memory of it in a worker, bytes": opened["memory"],
        "s to open the negatives' tables": tables["cpu"],
        "memory of them, bytes": tables["memory"],
    }


def elements(chosen: argparse.Namespace) -> dict[str, Any]:
    """What comes together in one element: real references of so many tokens, as Beam's coders write them."""
    units = int(chosen.element_tokens * _TEXT_BYTES / Options().block_bytes) + 1
    per_unit = int(chosen.element_tokens / units)
    commits = Commits(Records(open_storage("memory://scale-elements")), LISTS, _KEY)
    shard_coder, list_coder = coders.registry.get_coder(BatchShard), coders.registry.get_coder(ShardList)
    slices = Rounds.of(Options(replicas=_REPLICAS, rounds=_ROUNDS), units * per_unit)
    whole = plain = largest = stored = sliced = 0
    for number in range(-(-units // LIST_SHARDS)):
        indexes = range(number * LIST_SHARDS, min(units, (number + 1) * LIST_SHARDS))
        shards = [_shard(index, per_unit) for index in indexes]
        plain += sum(len(shard_coder.encode(shard)) for shard in shards[:16]) * len(shards) // len(shards[:16])
        made = shard_list(commits, number, shards)
        size = len(list_coder.encode(made))
        stored += made.artifact.size if made.artifact else 0
        whole, largest = whole + size, max(largest, size)
        of_slices = sliced_lists(commits, number, shards, lambda a, b: slices.slices_of(a.first_position, b.end))
        sliced += sum(len(list_coder.encode(part)) for _, part in of_slices)
    buckets = buckets_for(int(chosen.element_tokens * _TEXT_BYTES))
    reference = BucketCounts(
        artifact=Artifact(f"counts/{_KEY[:8]}/buckets/0000-0123456789abcdef.arrow", "0" * 64, 1 << 30)
    )
    bucket = len(coders.registry.get_coder(BucketCounts).encode(reference))
    return {
        "units": units,
        "bytes of all batch shards, each by itself": plain,
        "bytes at the trainer": whole,
        "largest of its lists": largest,
        "bytes of stored lists": stored,
        "bytes at several trainers": sliced,
        "merged buckets": buckets,
        "bytes of all buckets at the vocabulary": buckets * bucket,
    }


def _unit_name(index: int) -> str:
    return WorkUnit(index, ()).name


def _shard(index: int, tokens: int) -> BatchShard:
    digest = np.random.default_rng(index).bytes(32).hex()
    return BatchShard(
        index,
        index * tokens,
        tokens,
        Sampling(5, 5, "exclude_target", 1),
        Artifact(f"tokens/{_KEY[:8]}/{_unit_name(index)}.parquet", digest, 2 * tokens),
        Artifact(f"unigram/{_KEY[:8]}/unigram.parquet", "0" * 64, 1 << 28),
    )


def shard_costs() -> tuple[float, float]:
    """Bytes of a shard in a packed list, and of memory once it is opened."""
    data = pack([_shard(index, 1_000_000) for index in range(LIST_SHARDS)])
    tracemalloc.start()
    held = list(unpack(data))
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return len(data) / len(held), size / len(held)


CHECKS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "merge": merge,
    "listing": listing,
    "side_input": side_input,
    "elements": elements,
}
