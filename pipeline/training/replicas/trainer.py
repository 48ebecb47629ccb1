"""Several trainers: replicas train slices of a round side by side, then their rows are merged.

Each piece of work is a plain function of what is stored, is committed by itself, and is
skipped when that has been done. What a replica leaves until its round is merged:

    slices/round=00017/replica=0003/part-00000-of-00004.parquet
      id int32, input and output fixed_size_list<float32>: the words it changed, 65,536 a part
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.backends.backend import Backend, StepLoss, padded
from pipeline.batches.shard_lists import ShardList, sliced_lists
from pipeline.batches.shards import BatchShard
from pipeline.kernels import merge as kernels
from pipeline.model.checkpoints import (
    PARTS_STAGE,
    CheckpointRef,
    checkpoint_record,
    latest_checkpoint,
    prune_checkpoints,
    read_blocks,
    read_part,
    record_end,
    remove_newer,
    remove_unrecorded,
    vector_lists,
    vector_type,
    vectors_of,
    write_checkpoint,
    write_part,
)
from pipeline.model.initial_vectors import initial_vectors
from pipeline.model.loss_curve import forget_points_after
from pipeline.model.model import BLOCK_ROWS, Model, block_digest, join_digests
from pipeline.options import Options
from pipeline.runtime import memory
from pipeline.storage.records import Artifact, Record, Records
from pipeline.training.checks import check_loss, check_schedule, check_weights
from pipeline.training.holdout_loss import POINTS, kept_back_rows, mean_loss_of
from pipeline.training.metrics import POINTS as METRIC_POINTS
from pipeline.training.metrics import MetricsLog
from pipeline.training.replicas.rounds import Rounds
from pipeline.training.trainer import Progress, in_order, new_backend, step_blocks

STAGE = "slices"
_FOLDER = re.compile(rf"{STAGE}/round=(\d+)/")
_DELETIONS = 16
"""Objects that are deleted at a time: a store takes milliseconds for each."""


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where training stands between two rounds."""

    checkpoint: CheckpointRef
    positions: int
    """of the corpus"""
    seconds: float = 0.0
    """that somebody has trained, since the run was started or resumed"""


@dataclasses.dataclass(frozen=True)
class SlicePart:
    """What a replica made of one partition of the vocabulary."""

    replica: int
    artifact: Artifact


@dataclasses.dataclass(frozen=True)
class MergedPart:
    """One partition after a round: a part of its checkpoint."""

    index: int
    artifact: Artifact
    digest: str
    """of its block, hex"""


@dataclasses.dataclass(frozen=True)
class Replicas:
    """Trains one model by several replicas; what `Trainer` is for one.

    Attributes:
      key: stage key of "checkpoints".
      provenance: JSON values for the checkpoints' metadata.
      threads: of each replica.
      renew_lock: called before anything is committed; raises when the lock is lost.
      report: called after every block of steps, with where the replica stands in its slice.
    """

    options: Options
    records: Records
    key: str
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    threads: int = 1
    renew_lock: Callable[[], None] = lambda: None
    report: Callable[[Progress], None] = lambda progress: None
    warn: Callable[[str], None] = lambda message: None

    def train(self, words: pa.Array, counts: np.ndarray, shards: Sequence[BatchShard]) -> CheckpointRef:
        """All of it in this process, one replica after the other; see `Trainer.train`."""
        standing = self.start(words, counts, sum(shard.positions for shard in shards))
        rounds = self._rounds(standing.positions)
        for number in range(rounds.count):
            if self.is_over(standing, number):
                continue
            made = [self.train_slice(standing, number, replica, shards) for replica in range(rounds.replicas)]
            merged = [self.merge(standing, number, index, parts) for index, parts in enumerate(zip(*made))]
            standing = self.commit(standing, number, merged, shards)
        return standing.checkpoint

    def start(self, words: pa.Array, counts: np.ndarray, positions: int) -> Standing:
        """The last checkpoint, or the first: the initial vectors, after step 0.

        Args:
          words: string [V]; counts: int64 [V], in the order of ids.
          positions: of the corpus.
        """
        rounds = self._rounds(positions)
        check_schedule(rounds.schedule, self.options, len(words), self.warn)
        if self.options.checkpoint_every:
            self.warn(
                f"--checkpoint_every={self.options.checkpoint_every} is ignored: with --replicas, checkpoints are"
                " written where rounds end"
            )
        done = latest_checkpoint(self.records, self.key)
        self.renew_lock()
        remove_unrecorded(self.records)
        step = done.step if done else 0
        remove_newer(self.records, self.key, step)
        forget_points_after(self.records, self.key, step)
        self._forget_work(step, rounds)
        if done is None:
            w_in = initial_vectors(words.to_pylist(), self.options.dims, self.options.seed)
            model = Model(words, counts, w_in, np.zeros_like(w_in))
            done = write_checkpoint(self.records, self.key, 0, model, self.provenance, rounds.schedule.steps)
        record_end(self.records, self.key, done)
        return Standing(done, positions)

    def is_over(self, standing: Standing, number: int) -> bool:
        """Whether a round has been committed before."""
        return standing.checkpoint.step >= self._rounds(standing.positions).end(number)

    def lists_of_slices(
        self, number: int, shards: Iterable[BatchShard], positions: int
    ) -> Iterator[tuple[int, ShardList]]:
        """List `number` of a corpus, for each slice of an epoch that has a part of it: (index of the slice, list)."""
        self.renew_lock()
        return sliced_lists(self.records, self.key, number, shards, self._rounds(positions).slices_of)

    def slice_index(self, standing: Standing, number: int, replica: int) -> int:
        """Which slice of its epoch a replica trains on in a round."""
        return self._rounds(standing.positions).slice_index(number, replica)

    def train_slice(
        self, standing: Standing, number: int, replica: int, shards: Iterable[BatchShard]
    ) -> list[SlicePart]:
        """Train a replica on its slice of a round; a part for each partition of the vocabulary.

        Args:
          shards: all that have positions of the slice, in any order; others do no harm.
        """
        name = f"round={number:05d}-replica={replica:04d}"
        record = self._made(STAGE, name, standing)
        if record is None:
            slice_ = _Slice(self, standing.checkpoint, self._rounds(standing.positions), number, replica)
            began = time.time()
            backend = slice_.train(shards)
            self.renew_lock()
            parts = tuple(slice_.write_changes(backend))
            record = Record(
                STAGE,
                name,
                self.key,
                parts,
                {
                    "step": slice_.rounds.end(number),
                    "base": standing.checkpoint.digest,
                    "loss": slice_.loss,
                    "began": round(began, 3),
                    "ended": round(time.time(), 3),
                },
            )
            self.records.commit(record)
        return [SlicePart(replica, part) for part in record.artifacts]

    def merge(self, standing: Standing, number: int, index: int, parts: Iterable[SlicePart]) -> MergedPart:
        """Merge what the replicas made of one partition, in replica order; one replica's is held at a time."""
        name = f"round={number:05d}-part={index:05d}"
        record = self._made(PARTS_STAGE, name, standing)
        if record is None:
            rounds, base = self._rounds(standing.positions), standing.checkpoint
            block = read_part(self.records, base, index)
            made = (
                _read_changes(self.records.read(part.artifact), base.dims, index)
                for part in sorted(parts, key=lambda part: part.replica)
            )
            w_in, w_out = merge_rows(block.input, block.output, made, rounds.replicas)
            check_weights(w_in, w_out, rounds.end(number), rounds.schedule)
            merged = Model(block.words, block.counts, w_in, w_out)
            self.renew_lock()
            place = index, len(base.parts)
            provenance = {**self.provenance, "words": base.words, "steps": rounds.schedule.steps}
            artifact = write_part(self.records, rounds.end(number), place, merged, provenance)
            record = Record(
                PARTS_STAGE,
                name,
                self.key,
                (artifact,),
                {
                    "step": rounds.end(number),
                    "base": base.digest,
                    "block": block_digest(merged).hex(),
                },
            )
            self.records.commit(record)
        return MergedPart(index, record.artifacts[0], record.numbers["block"])

    def commit(
        self, standing: Standing, number: int, merged: Iterable[MergedPart], kept_back: Sequence[BatchShard] = ()
    ) -> Standing:
        """Make the merged parts the checkpoint of a round, and remove what led to it.

        Args:
          kept_back: shards that the loss on sentences kept back is taken from, with --holdout.
        """
        rounds, base = self._rounds(standing.positions), standing.checkpoint
        step, parts = rounds.end(number), sorted(merged, key=lambda part: part.index)
        if [part.index for part in parts] != list(range(len(base.parts))):
            raise ValueError(f"round {number} has partitions {[part.index for part in parts]} of {len(base.parts)}")
        digest = join_digests(base.words, base.dims, [bytes.fromhex(part.digest) for part in parts])
        artifacts = [part.artifact for part in parts]
        record = checkpoint_record(self.key, step, base.dims, base.words, artifacts, digest, rounds.schedule.steps)
        made, seconds = CheckpointRef.of_record(record), standing.seconds
        if self.records.load(record.stage, record.name, self.key) != record:  # else a worker died after this
            holdout = self._holdout_loss(made, base.step, rounds, kept_back)
            self.renew_lock()
            seconds = self._write_metrics(standing, number, holdout)
            self.records.commit(record)
        record_end(self.records, self.key, made)
        self._forget_work(step, rounds)
        prune_checkpoints(self.records, self.key, self.options.keep_checkpoints)
        return Standing(made, standing.positions, seconds)

    def _rounds(self, positions: int) -> Rounds:
        return Rounds.of(self.options, positions)

    def _made(self, stage: str, name: str, standing: Standing) -> Record | None:
        """The record of an earlier attempt from the same weights, where its artefacts are whole."""
        record = self.records.valid(stage, name, self.key)
        return record if record and record.numbers["base"] == standing.checkpoint.digest else None

    def _forget_work(self, step: int, rounds: Rounds) -> None:
        """Remove what led to the checkpoint of `step` and those before it: their own records name their parts."""
        past = [
            dataclasses.replace(record, artifacts=()) if stage == PARTS_STAGE else record
            for stage in (PARTS_STAGE, STAGE)
            for record in self.records.all(stage)
            if record.key == self.key and record.numbers["step"] <= step
        ]
        over = rounds.before(step)
        with ThreadPoolExecutor(_DELETIONS) as pool:
            list(pool.map(self.records.remove, past))
            found = (info.path for info in self.records.storage.list(STAGE))  # of workers that died: no record
            left = [path for path in found if (match := _FOLDER.match(path)) and int(match[1]) < over]
            list(pool.map(self.records.storage.delete, left))

    def _write_metrics(self, standing: Standing, number: int, holdout: float | None) -> float:
        """Commit the points of a round; returns the seconds trained until its end."""
        rounds = self._rounds(standing.positions)
        schedule, first, end = rounds.schedule, standing.checkpoint.step, rounds.end(number)
        names = [f"round={number:05d}-replica={replica:04d}" for replica in range(rounds.replicas)]
        records = [record for name in names if (record := self.records.load(STAGE, name, self.key))]
        busy = _length_of_union((record.numbers["began"], record.numbers["ended"]) for record in records)
        points = np.sum([record.numbers["loss"] for record in records], axis=0)
        log = MetricsLog(schedule, holdout=bool(self.options.holdout))
        for i, (total, pairs) in enumerate(points.tolist(), 1):
            step = first + (end - first) * i // len(points) - 1
            loss = StepLoss(np.array([total]), np.array([pairs], np.int64))
            log.add(step, schedule.learning_rates(step, 1), loss, standing.seconds + busy * i / len(points))
        if holdout is not None:
            log.add_holdout(holdout)
        log.write(self.records, self.key, end)
        return standing.seconds + busy

    def _holdout_loss(
        self, made: CheckpointRef, before: int, rounds: Rounds, kept_back: Sequence[BatchShard]
    ) -> float | None:
        """On sentences kept back, some forty times a run; None where it is not its turn."""
        steps = rounds.schedule.steps
        if not self.options.holdout or made.step * POINTS // steps == before * POINTS // steps:
            return None
        rows = kept_back_rows(sorted(kept_back, key=lambda shard: shard.index), self.records)
        return None if rows is None else mean_loss_of(rows, read_blocks(self.records, made), self.options.model)


class _Slice:
    """One replica's part of a round."""

    def __init__(self, replicas: Replicas, base: CheckpointRef, rounds: Rounds, number: int, replica: int):
        self.replicas, self.base, self.rounds = replicas, base, rounds
        self.number, self.replica = number, replica
        self.index = rounds.slice_index(number, replica)
        self.loss: list[tuple[float, int]] = []

    def train(self, shards: Iterable[BatchShard]) -> Backend:
        """The weights of the round's beginning, trained on the slice."""
        replicas, schedule = self.replicas, self.rounds.schedule
        options, threads = replicas.options, replicas.threads
        first, end = self.rounds.steps(self.index)
        before = self.rounds.epoch(self.number) * schedule.steps_per_epoch
        say = replicas.warn if self.number == self.replica == 0 else _nothing  # one line on the device is enough
        backend = new_backend(*self._weights(), options, schedule, threads, say)
        points = _points(self.rounds)
        loss = np.zeros((points, 2))
        rows, clock = 0, time.monotonic()
        with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool, memory.reused():
            epoch, size = self.rounds.epoch(self.number), schedule.batch_size
            mine, ahead = self._shards(shards), pool if threads > 1 else None
            for block in step_blocks(backend, mine, replicas.records, epoch, size, first, end, ahead):
                step = before + block.first
                rates = schedule.learning_rates(step, block.steps)
                found = backend.train(block.batch, block.bounds, rates)
                check_loss(found, rates, step, schedule)
                point = (np.arange(block.steps) + block.first - first) * points // (end - first)
                np.add.at(loss, point, np.column_stack([found.total, found.pairs]))
                rows += int(block.bounds[-1])
                done = block.first + block.steps
                positions = min(done * schedule.batch_size, schedule.positions) - first * schedule.batch_size
                now = time.monotonic() - clock
                recent = float(found.total.sum()) / max(1, int(found.pairs.sum()))
                replicas.report(Progress(before + done, schedule.steps, before + first, positions, rows, now, recent))
        self.loss = [(total, int(pairs)) for total, pairs in loss.tolist()]
        return backend

    def write_changes(self, backend: Backend) -> Iterator[Artifact]:
        """One part for each of the checkpoint that the round began with."""
        w_in, w_out = backend.weights()
        schedule = self.rounds.schedule
        check_weights(w_in, w_out, self.rounds.end(self.number), schedule)
        folder = f"{STAGE}/round={self.number:05d}/replica={self.replica:04d}"
        for index, block in enumerate(read_blocks(self.replicas.records, self.base)):
            first = index * BLOCK_ROWS
            rows = slice(first, first + len(block.words))
            changed = np.flatnonzero(((w_in[rows] != block.input) | (w_out[rows] != block.output)).any(axis=1)) + first
            data = _to_parquet(changed, w_in[changed], w_out[changed])
            path = f"{folder}/part-{index:05d}-of-{len(self.base.parts):05d}.parquet"
            yield self.replicas.records.write_artifact(path, data)

    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        base = self.base
        w_in, w_out = (np.empty((base.words, base.dims), np.float32) for _ in range(2))
        for index, block in enumerate(read_blocks(self.replicas.records, base)):
            rows = slice(index * BLOCK_ROWS, index * BLOCK_ROWS + len(block.words))
            w_in[rows], w_out[rows] = block.input, block.output
        return w_in, w_out

    def _shards(self, shards: Iterable[BatchShard]) -> list[BatchShard]:
        """Those that the slice lies in."""
        first, end = self.rounds.positions(self.index)
        return in_order((shard for shard in shards if shard.first_position < end and shard.end > first), first, end)


def _nothing(message: str) -> None:
    pass


Changes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(int32 [m] rows of the partition, float32 [m, dims] input, output): what a replica made of them."""


def merge_rows(
    w_in: np.ndarray, w_out: np.ndarray, made: Iterable[Changes], replicas: int
) -> tuple[np.ndarray, np.ndarray]:
    """Adaptive summation of what the replicas made of some rows: see `kernels.merge.share`.

    Args:
      w_in, w_out: float32 [n, dims], what all of them began with.
      made: in replica order; rows that a replica leaves out it has not changed.
      replicas: how many there are.

    Returns:
      float32 [n, dims] each.
    """
    n, dims = w_in.shape
    merged = [padded(weights).reshape(-1) for weights in (w_in, w_out)]
    width = len(merged[0]) // max(1, n)
    totals = [np.zeros_like(weights) for weights in merged]
    squares = [np.zeros(n, np.float32) for _ in merged]
    for rows, *changed in made:
        for weights, total, square, matrix in zip(merged, totals, squares, changed):
            kernels.add_moves(weights, rows, padded(matrix).reshape(-1), width, total, square)
    for weights, total, square in zip(merged, totals, squares):
        kernels.move_rows(weights, width, total, square, replicas)
    w_in, w_out = (weights.reshape(n, width)[:, :dims] for weights in merged)
    return w_in, w_out


def _points(rounds: Rounds) -> int:
    """Points of the loss curve that each replica's slice of a round has a part in, the same for all."""
    steps = rounds.schedule.steps_per_epoch
    wanted = steps // rounds.rounds * METRIC_POINTS // rounds.schedule.steps
    return max(1, min(wanted, steps // (rounds.rounds * rounds.replicas)))


def _to_parquet(ids: np.ndarray, w_in: np.ndarray, w_out: np.ndarray) -> pa.Buffer:
    vector = vector_type(w_in.shape[1])
    kinds = {"id": pa.int32(), "input": vector, "output": vector}
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])
    table = pa.table([ids.astype(np.int32), vector_lists(w_in), vector_lists(w_out)], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def _read_changes(data: bytes, dims: int, index: int) -> Changes:
    table = pq.read_table(pa.BufferReader(data), use_threads=False)
    w_in, w_out = (vectors_of(table[name].combine_chunks(), dims) for name in ("input", "output"))
    return table["id"].to_numpy() - np.int32(index * BLOCK_ROWS), w_in, w_out


def _length_of_union(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of the (begin, end) goes on."""
    length, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        length += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return length
