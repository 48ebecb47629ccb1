"""What each stage costs a token, a word, an object: measured on a sample text, by the functions of the job's stages.

Used by `tools.scale.forecast`. CPU seconds are of one thread's own work, so that a busy machine changes them little.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam import coders

from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.shards import BatchShard, stored_epoch
from pipeline.batches.stored import STAGE as BATCHES
from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.batches.tokens import Keeping, TokenShard, stored_tokens
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.work_units import TextSource, WorkUnit, plan_work_units
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.options import Options
from pipeline.runtime import memory
from pipeline.storage.commits import Commits
from pipeline.storage.local import LocalStorage
from pipeline.storage.parquet import to_parquet
from pipeline.storage.records import Artifact, Records
from pipeline.storage.storage import Data, ObjectInfo, Storage
from pipeline.training.trainer import Trainer
from pipeline.words import unigram
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.counts import count_unit, counted_unit
from pipeline.words.merging import SCHEMA, MergedCounts, merge_counts, split_by_bucket
from pipeline.words.reservoir import STAGE as RESERVOIR
from pipeline.words.reservoir import key_limit
from pipeline.words.vocabulary import Vocabulary, build_vocabulary
from tools.measuring.prepared_corpus import forget_training

TABLE_WORDS = 1_000_000
"""Of the made-up vocabulary by which the cost of a word is measured."""
_KEY = "0" * 32
"""Of every stage."""


class Watched(Storage):
    """A storage that counts what it is asked for."""

    def __init__(self, storage: Storage):
        self.storage, self.root = storage, storage.root
        self.calls: collections.Counter[str] = collections.Counter()
        self.bytes = 0

    def walk(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.calls["list"] += 1
        return self.storage.walk(prefix)

    def info(self, path: str) -> ObjectInfo | None:
        self.calls["get"] += 1
        return self.storage.info(path)

    def find(self, path: str) -> bytes | None:
        self.calls["get"] += 1
        return self.storage.find(path)

    def put(self, path: str, data: Data) -> None:
        self.calls["put"] += 1
        self.bytes += memoryview(data).nbytes
        self.storage.put(path, data)


@dataclasses.dataclass(frozen=True)
class UnitCost:
    """What a stage costs that works unit by unit."""

    cpu: float
    """seconds a token"""
    bytes: float
    """written, a token"""
    puts: float
    """objects and records written, a unit"""
    gets: float
    """other requests to the storage, a unit"""


@dataclasses.dataclass(frozen=True)
class Costs:
    """All that the model extrapolates from."""

    text_bytes: float
    """of text, a token"""
    units: dict[str, UnitCost]
    """stage -> cost"""
    put_seconds: float
    """wall time of a small object's put, in the folder of this run"""
    record_bytes: float
    distinct_factor: float
    distinct_power: float
    """different words of n tokens: factor * n ** power (Heaps' law), fitted on the sample"""
    kept_share: float
    """of the different words, those with at least `min_count` occurrences"""
    kept_tokens: float
    """of the tokens, those whose word is kept"""
    word_bytes: float
    """of a word of a table of counts as it travels"""
    merge_cpu: float
    """seconds to add a word and its count up"""
    split_cpu: float
    """seconds to cut a word into its bucket"""
    table_memory: float
    """bytes of memory, a word that is being added up"""
    order_cpu: float
    vocabulary_bytes: float
    order_memory: float
    """a word, to order the vocabulary: seconds, bytes on disk, bytes of memory"""
    unigram_cpu: float
    unigram_bytes: float
    unigram_memory: float
    """a word, to make the unigram distribution"""
    side_cpu: float
    side_memory: float
    """a word, to open vocabulary and lookup table in a worker"""
    tables_cpu: float
    tables_memory: float
    """a word, to open the tables that negatives are drawn from"""
    train_rate: float
    """tokens a second of one trainer on `threads`"""
    train_memory: float
    """bytes a word and dimension"""
    elements: dict[str, float]
    """bytes of an element on an edge of the graph, as Beam writes it"""
    shard_memory: float = 0.0
    """bytes of memory of a shard's reference in the trainer"""


def open_ended_text(path: str, words: int, seed: int = 1) -> None:
    """Sentences of 24 words whose frequencies fall as (rank + 8)^-1.5, without end: new words keep coming."""
    rng = np.random.default_rng(seed)
    with open(path, "w") as file:
        for start in range(0, words, 24 * 4096):
            count = min(24 * 4096, max(24, words - start)) // 24 * 24
            ranks = np.minimum(8 * (rng.random(count) ** -2.0 - 1), 2.0**50).astype(np.int64)
            lines = np.char.add("w", ranks.astype(str)).reshape(-1, 24)
            file.write("\n".join(map(" ".join, lines.tolist())) + "\n")


def measure(text: str, options: Options, threads: int, train_tokens: int) -> Costs:
    """Everything, on a plain text file; it takes about a minute for 5 million tokens."""
    memory.return_early()  # as the commands do; what was freed would hide what is taken
    with tempfile.TemporaryDirectory() as folder:
        storage = Watched(LocalStorage(folder))
        records = Records(storage)
        units = plan_work_units([TextSource(text, os.path.getsize(text))], options.block_bytes)
        reader = open_reader(options, [])
        count_unit(units[0], reader)  # machine code
        commits = {stage: Commits(records, stage, _KEY) for stage in (COUNTS, TOKENS, RESERVOIR, BATCHES)}
        counted = _each(storage, units, lambda unit: counted_unit(commits[COUNTS], unit, reader))
        tokens = sum(unit.tokens for unit in counted.results)
        words, growth, seen = MergedCounts(), [(0, 0)], 0
        for unit in counted.results:
            words.add(unit.table)
            seen += unit.tokens
            growth.append((seen, len(words)))
        merged = words.table()
        kept = build_vocabulary([merged], options.min_count)
        vocabulary = Vocabulary.from_table(kept)
        distribution = unigram.build(vocabulary.counts, options.power, options.subsample)
        noise = records.write_artifact("unigram/unigram.parquet", to_parquet(distribution.to_table()))
        keeping = Keeping(words=options.replay_words, limit=key_limit(options.replay_words, tokens))

        def encode(unit: WorkUnit) -> TokenShard:
            stages = commits[TOKENS], commits[COUNTS]
            return stored_tokens(*stages, unit, vocabulary, reader, keeping, commits[RESERVOIR])[0]

        encoded = _each(storage, units, encode)
        shards = list(_shards(encoded.results, Sampling.of(options), noise))
        stored = _each(storage, shards, lambda shard: stored_epoch(commits[BATCHES], shard, 0))
        factor, power = _heaps(growth)
        return Costs(
            text_bytes=os.path.getsize(text) / tokens,
            units={
                "count": counted.cost(tokens),
                "encode": encoded.cost(tokens),
                "store batches": stored.cost(tokens),
            },
            put_seconds=_put_seconds(storage.storage),
            record_bytes=_mean_record(records),
            distinct_factor=factor,
            distinct_power=power,
            kept_share=kept.num_rows / merged.num_rows,
            kept_tokens=vocabulary.tokens / tokens,
            **_words(merged, options),
            **_training(vocabulary, shards, Records(storage.storage), options, threads, train_tokens),
            elements=_elements(units[0], shards[0]),
        )


@dataclasses.dataclass
class _Done:
    results: list[Any]
    cpu: float
    units: int
    puts: int
    gets: int
    bytes: int

    def cost(self, tokens: int) -> UnitCost:
        return UnitCost(self.cpu / tokens, self.bytes / tokens, self.puts / self.units, self.gets / self.units)


def _each(storage: Watched, items: list[Any], work: Callable[[Any], Any]) -> _Done:
    """The work of a stage on each item, in this thread."""
    storage.calls.clear()
    storage.bytes = 0
    work_alone = time.thread_time()
    results = [work(item) for item in items]
    cpu = time.thread_time() - work_alone
    puts = storage.calls["put"]
    return _Done(results, cpu, len(items), puts, sum(storage.calls.values()) - puts, storage.bytes)


def _shards(encoded: list[Any], sampling: Sampling, noise: Artifact) -> Iterator[BatchShard]:
    position = 0
    for unit in encoded:
        yield BatchShard(unit.index, position, unit.tokens, sampling, unit.artifact, noise)
        position += unit.tokens


def _heaps(growth: list[tuple[int, int]]) -> tuple[float, float]:
    """Factor and power of Heaps' law through half of the sample and all of it."""
    (half, words_half), (whole, words) = growth[max(1, len(growth) // 2)], growth[-1]
    power = math.log(words / words_half) / math.log(whole / half) if whole > half and words > words_half else 0.5
    return words / whole**power, power


def _put_seconds(storage: Storage, times: int = 50) -> float:
    began = time.perf_counter()
    for i in range(times):
        storage.put(f"puts/{i}", b"x" * 500)
    return (time.perf_counter() - began) / times


def _mean_record(records: Records) -> float:
    sizes = [info.size for info in records.storage.walk("records")]
    return sum(sizes) / len(sizes)


def made_up_counts(first: int, words: int, count: int = 5) -> pa.Table:
    """A table of counts of the words w<first>, w<first + 1> and so on."""
    numbers = pa.array(np.arange(first, first + words)).cast(pa.string())
    names = pc.binary_join_element_wise("w", numbers, "")
    return pa.table([names, pa.array(np.full(words, count, np.int64))], schema=SCHEMA)


def falling_counts(words: int) -> np.ndarray:
    """int64: counts as 1 / rank, the rarest 5."""
    return np.maximum(5, 5 * words // np.arange(1, words + 1)).astype(np.int64)


@contextmanager
def clock() -> Iterator[dict[str, float]]:
    """CPU seconds of the process, and the memory that the block added to it at its peak."""
    made: dict[str, float] = {}
    _forget_peak()
    before, began, wall = _memory("VmRSS"), time.process_time(), time.perf_counter()
    yield made
    made["cpu"], made["wall"] = time.process_time() - began, time.perf_counter() - wall
    made["memory"] = max(0.0, _memory("VmHWM") - before)


def _forget_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # the peak is then that of the whole process, and what is shown too high


def _memory(field: str) -> float:
    """Bytes of this process by /proc/self/status; 0 where there is no such file."""
    try:
        with open("/proc/self/status") as file:
            return next(1024.0 * int(line.split()[1]) for line in file if line.startswith(field))
    except OSError:
        return 0.0


def _words(merged: pa.Table, options: Options) -> dict[str, float]:
    """What a word costs, on a vocabulary of TABLE_WORDS: small ones live in the CPU's caches."""
    words = TABLE_WORDS
    table = made_up_counts(0, words)
    with clock() as split:
        parts = [data for _, data in split_by_bucket(table, 32)]
    with clock() as add:
        merged_table = merge_counts(parts)
    half = max(1, merged.num_rows // 2)
    word_bytes = sum(len(data) for _, data in split_by_bucket(merged.slice(0, half), 1)) / half
    counts = pa.array(falling_counts(words)[np.random.default_rng(1).permutation(words)])
    counted = pa.table([merged_table["word"].combine_chunks(), counts], schema=SCHEMA)
    with clock() as order:
        vocabulary = Vocabulary.from_table(build_vocabulary([counted], options.min_count))
        data = vocabulary.to_parquet()
    with clock() as side:
        Vocabulary.from_parquet(data).lookup_table()
    with clock() as noise:
        distribution = unigram.build(vocabulary.counts, options.power, options.subsample)
        stored = to_parquet(distribution.to_table())
    with clock() as opened:
        Tables.of(distribution)
    return {
        "word_bytes": word_bytes,
        "split_cpu": split["cpu"] / words,
        "merge_cpu": add["cpu"] / words,
        "table_memory": add["memory"] / words,
        "order_cpu": order["cpu"] / words,
        "order_memory": order["memory"] / words,
        "vocabulary_bytes": memoryview(data).nbytes / words,
        "side_cpu": side["cpu"] / words,
        "side_memory": side["memory"] / words,
        "unigram_cpu": noise["cpu"] / words,
        "unigram_memory": noise["memory"] / words,
        "unigram_bytes": memoryview(stored).nbytes / words,
        "tables_cpu": opened["cpu"] / words,
        "tables_memory": opened["memory"] / words,
    }


def _training(
    vocabulary: Vocabulary, shards: list[BatchShard], records: Records, options: Options, threads: int, tokens: int
) -> dict[str, float]:
    """Speed of the trainer on the first shards, and its memory: both matrices, and their copy in the backend."""
    few = [shard for shard in shards if shard.first_position < tokens]
    asked = dataclasses.replace(options, threads=threads, device="cpu", epochs=1)
    trainer = Trainer(asked, Commits(records, CHECKPOINTS, _KEY))
    trainer.train(vocabulary.words, vocabulary.counts, few[:1])  # machine code
    forget_training(trainer.commits)
    began = time.perf_counter()
    trainer.train(vocabulary.words, vocabulary.counts, few)
    return {
        "train_rate": sum(shard.positions for shard in few) / (time.perf_counter() - began),
        "train_memory": 4.0 * 2 * 2,
    }


def _elements(unit: WorkUnit, shard: BatchShard) -> dict[str, float]:
    """Bytes of the references that travel, as Beam's coder for them writes them."""
    return {
        "work unit": len(coders.registry.get_coder(WorkUnit).encode(unit)),
        "batch shard": len(coders.registry.get_coder(BatchShard).encode(shard)),
        "size of a shard": len(coders.registry.get_coder(tuple[int, int]).encode((shard.index, shard.positions))),
    }
