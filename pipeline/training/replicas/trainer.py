"""Several trainers: replicas train slices of a round side by side, then their rows are merged.

Each piece of work is a plain function of what is stored, is committed by itself, and is
skipped when that has been done. What a replica leaves until its round is merged:

    slices/KEY/round=00017/replica=0003/part-000000-of-000004.parquet
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

from pipeline.backends.backend import Backend, StepLoss
from pipeline.batches.schedule import step_name
from pipeline.batches.shard_lists import STAGE as LISTS
from pipeline.batches.shard_lists import ShardList, sliced_lists
from pipeline.batches.shards import BatchShard
from pipeline.model.checkpoints import (
    PARTS_STAGE,
    VERSION,
    CheckpointNumbers,
    CheckpointRef,
    commit_checkpoint,
    prune_checkpoints,
    read_blocks,
    read_part,
    record_end,
    write_checkpoint,
    write_part,
)
from pipeline.model.initial_vectors import initial_vectors
from pipeline.model.model import BLOCK_ROWS, Model, block_digest, join_digests
from pipeline.options import Options
from pipeline.runtime import memory
from pipeline.storage.commits import Commits
from pipeline.storage.records import Artifact, Digest, Number, Record, Records
from pipeline.training.checks import check_loss, check_schedule, check_weights
from pipeline.training.holdout_loss import POINTS, kept_back_rows, mean_loss_of
from pipeline.training.metrics import POINTS as METRIC_POINTS
from pipeline.training.metrics import MetricsLog
from pipeline.training.replicas.merging import changes_to_parquet, merge_rows, read_changes
from pipeline.training.replicas.rounds import Rounds
from pipeline.training.trainer import Progress, in_order, new_backend, ranges_to_train, resume_point

STAGE = "slices"
_FOLDER = re.compile(rf"{STAGE}/[0-9a-f]{{8}}/round=(\d{{5}})/")
_DELETIONS = 16
"""Objects that are deleted at a time: a store takes milliseconds for each."""


def slice_name(number: int, replica: int) -> str:
    """Of the record of a replica's round."""
    return f"round={number:05d}-replica={replica:04d}"


def slice_folder(number: int, replica: int) -> str:
    """Where its artefacts lie in the folder of the stage."""
    return f"round={number:05d}/replica={replica:04d}"


def merge_name(number: int, index: int) -> str:
    """Of the record of a partition that was merged after a round."""
    return f"round={number:05d}-part={index:06d}"


@dataclasses.dataclass(frozen=True)
class SliceNumbers:
    """What is recorded of a replica's round; its artefacts are the partitions in order."""

    step: Number
    """With which the round ends."""
    base: Digest
    """Of the model that it began with."""
    loss: list[tuple[float, int]]
    """(sum, pairs) for each point of the loss curve."""
    began: float
    ended: float
    """Seconds since 1970."""


@dataclasses.dataclass(frozen=True)
class MergeNumbers:
    """What is recorded of a merged partition."""

    step: Number
    base: Digest
    block: Digest


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
      commits: of the stage "checkpoints".
      provenance: JSON values for the checkpoints' metadata.
      threads: of each replica.
      report: called after every block of steps, with where the replica stands in its slice.
    """

    options: Options
    commits: Commits
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    threads: int = 1
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
        done = resume_point(self.commits, self.warn)
        self._forget_work(done.step if done else 0, rounds)
        if done is None:
            w_in = initial_vectors(words.to_pylist(), self.options.dims, self.options.seed)
            model = Model(words, counts, w_in, np.zeros_like(w_in))
            done = write_checkpoint(self.commits, 0, model, self.provenance, rounds.schedule.steps)
        record_end(self.commits, done)
        return Standing(done, positions)

    def is_over(self, standing: Standing, number: int) -> bool:
        """Whether a round has been committed before."""
        return standing.checkpoint.step >= self._rounds(standing.positions).end(number)

    def lists_of_slices(
        self, number: int, shards: Iterable[BatchShard], positions: int
    ) -> Iterator[tuple[int, ShardList]]:
        """List `number` of a corpus, for each slice of an epoch that has a part of it: (index of the slice, list)."""
        return sliced_lists(self.commits.beside(LISTS), number, shards, self._rounds(positions).slices_of)

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
        name = slice_name(number, replica)
        record = self._made(STAGE, name, standing, SliceNumbers)
        if record is None:
            slice_ = _Slice(self, standing.checkpoint, self._rounds(standing.positions), number, replica)
            began = time.time()
            backend = slice_.train(shards)
            parts = tuple(slice_.write_changes(backend))
            numbers = SliceNumbers(
                slice_.rounds.end(number),
                standing.checkpoint.digest,
                slice_.loss,
                round(began, 3),
                round(time.time(), 3),
            )
            record = self.commits.beside(STAGE).commit(name, parts, numbers)
        return [SlicePart(replica, part) for part in record.artifacts]

    def merge(self, standing: Standing, number: int, index: int, parts: Iterable[SlicePart]) -> MergedPart:
        """Merge what the replicas made of one partition, in replica order; one replica's is held at a time."""
        name = merge_name(number, index)
        record = self._made(PARTS_STAGE, name, standing, MergeNumbers)
        if record is None:
            rounds, base = self._rounds(standing.positions), standing.checkpoint
            block = read_part(self._records, base, index)
            made = (
                read_changes(self._records.read(part.artifact), base.dims, index)
                for part in sorted(parts, key=lambda part: part.replica)
            )
            w_in, w_out = merge_rows(block.input, block.output, made, rounds.replicas)
            check_weights(w_in, w_out, rounds.end(number), rounds.schedule)
            merged = Model(block.words, block.counts, w_in, w_out)
            place = index, len(base.parts)
            provenance = {**self.provenance, "words": base.words, "steps": rounds.schedule.steps}
            artifact = write_part(self.commits, rounds.end(number), place, merged, provenance)
            numbers = MergeNumbers(rounds.end(number), base.digest, block_digest(merged).hex())
            record = self.commits.beside(PARTS_STAGE).commit(name, [artifact], numbers)
        return MergedPart(index, record.artifacts[0], record.read(MergeNumbers).block)

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
        artifacts = tuple(part.artifact for part in parts)
        numbers = CheckpointNumbers(VERSION, step, rounds.schedule.steps, digest, base.words, base.dims)
        record, seconds = self.commits.record(step_name(step), artifacts, numbers), standing.seconds
        made = CheckpointRef.of_record(record)
        if self.commits.load(record.name) != record:  # else a worker died after this
            holdout = self._holdout_loss(made, base.step, rounds, kept_back)
            seconds = self._write_metrics(standing, number, holdout)
            commit_checkpoint(self.commits, numbers, artifacts)
        record_end(self.commits, made)
        self._forget_work(step, rounds)
        prune_checkpoints(self.commits, self.options.keep_checkpoints)
        return Standing(made, standing.positions, seconds)

    def _rounds(self, positions: int) -> Rounds:
        return Rounds.of(self.options, positions)

    @property
    def _records(self) -> Records:
        return self.commits.records

    def _made(
        self, stage: str, name: str, standing: Standing, kind: type[SliceNumbers] | type[MergeNumbers]
    ) -> Record | None:
        """The record of an earlier attempt from the same weights, where its artefacts are whole."""
        record = self.commits.beside(stage).find(name)
        return record if record and record.read(kind).base == standing.checkpoint.digest else None

    def _forget_work(self, step: int, rounds: Rounds) -> None:
        """Remove what led to the checkpoint of `step` and those before it: their own records name their parts."""
        past = [
            dataclasses.replace(record, artifacts=()) if stage == PARTS_STAGE else record
            for stage in (PARTS_STAGE, STAGE)
            for record in self.commits.beside(stage).all()
            if record.numbers["step"] <= step
        ]
        over = rounds.before(step)
        with ThreadPoolExecutor(_DELETIONS) as pool:
            list(pool.map(self._records.remove, past))
            folder = self.commits.beside(STAGE).path("")
            found = (info.path for info in self._records.storage.list(folder))  # of workers that died: no record
            left = [path for path in found if (match := _FOLDER.match(path)) and int(match[1]) < over]
            list(pool.map(self._records.storage.delete, left))

    def _write_metrics(self, standing: Standing, number: int, holdout: float | None) -> float:
        """Commit the points of a round; returns the seconds trained until its end."""
        rounds = self._rounds(standing.positions)
        schedule, first, end = rounds.schedule, standing.checkpoint.step, rounds.end(number)
        names = [slice_name(number, replica) for replica in range(rounds.replicas)]
        slices = self.commits.beside(STAGE)
        trained = [record.read(SliceNumbers) for name in names if (record := slices.load(name))]
        busy = _length_of_union((numbers.began, numbers.ended) for numbers in trained)
        points = np.sum([numbers.loss for numbers in trained], axis=0)
        log = MetricsLog(schedule, holdout=bool(self.options.holdout))
        for i, (total, pairs) in enumerate(points.tolist(), 1):
            step = first + (end - first) * i // len(points) - 1
            loss = StepLoss(np.array([total]), np.array([pairs], np.int64))
            log.add(step, schedule.learning_rates(step, 1), loss, standing.seconds + busy * i / len(points))
        if holdout is not None:
            log.add_holdout(holdout)
        log.write(self.commits, end)
        return standing.seconds + busy

    def _holdout_loss(
        self, made: CheckpointRef, before: int, rounds: Rounds, kept_back: Sequence[BatchShard]
    ) -> float | None:
        """On sentences kept back, some forty times a run; None if it is not its turn."""
        steps = rounds.schedule.steps
        if not self.options.holdout or made.step * POINTS // steps == before * POINTS // steps:
            return None
        rows = kept_back_rows(sorted(kept_back, key=lambda shard: shard.index), self._records)
        return None if rows is None else mean_loss_of(rows, read_blocks(self._records, made), self.options.model)


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
            for block in ranges_to_train(backend, mine, replicas.commits.records, epoch, size, first, end, ahead):
                step = before + block.first
                rates = schedule.learning_rates(step, block.steps)
                found = backend.train(block.rows, block.bounds, rates)
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
        commits = self.replicas.commits.beside(STAGE)
        folder = slice_folder(self.number, self.replica)
        for index, block in enumerate(read_blocks(commits.records, self.base)):
            first = index * BLOCK_ROWS
            rows = slice(first, first + len(block.words))
            changed = np.flatnonzero(((w_in[rows] != block.input) | (w_out[rows] != block.output)).any(axis=1)) + first
            data = changes_to_parquet(changed, w_in[changed], w_out[changed])
            yield commits.put(f"{folder}/part-{index:06d}-of-{len(self.base.parts):06d}.parquet", data)

    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        base = self.base
        w_in, w_out = (np.empty((base.words, base.dims), np.float32) for _ in range(2))
        for index, block in enumerate(read_blocks(self.replicas.commits.records, base)):
            rows = slice(index * BLOCK_ROWS, index * BLOCK_ROWS + len(block.words))
            w_in[rows], w_out[rows] = block.input, block.output
        return w_in, w_out

    def _shards(self, shards: Iterable[BatchShard]) -> list[BatchShard]:
        """Those that the slice lies in."""
        first, end = self.rounds.positions(self.index)
        return in_order((shard for shard in shards if shard.first_position < end and shard.end > first), first, end)


def _nothing(message: str) -> None:
    pass


def _points(rounds: Rounds) -> int:
    """Points of the loss curve that each replica's slice of a round has a part in, the same for all."""
    steps = rounds.schedule.steps_per_epoch
    wanted = steps // rounds.rounds * METRIC_POINTS // rounds.schedule.steps
    return max(1, min(wanted, steps // (rounds.rounds * rounds.replicas)))


def _length_of_union(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of the (begin, end) goes on."""
    length, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        length += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return length
