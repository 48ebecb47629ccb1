"""Training by several replicas: they train slices of a round side by side, then their weights are merged.

Each piece of work depends on what is stored alone, is committed by itself, and is skipped if it has been committed.
Until its round is merged, a replica leaves a file for each partition:

    slices/KEY/round=00017/replica=0003/part-000000-of-000004.parquet
      id int32, input and output fixed_size_list<float32>: the words that it has changed
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

from pipeline.backends.backend import StepLoss
from pipeline.batches.schedule import step_name
from pipeline.batches.shard_lists import STAGE as LISTS
from pipeline.batches.shard_lists import ShardList, sliced_lists
from pipeline.batches.shards import BatchShard
from pipeline.errors import InputError
from pipeline.model.checkpoints import (
    PARTS_STAGE,
    VERSION,
    CheckpointNumbers,
    CheckpointRef,
    commit_checkpoint,
    prune_checkpoints,
    read_blocks,
    read_partition,
    record_end,
    remove_newer,
    remove_unrecorded,
    write_checkpoint,
    write_partition,
)
from pipeline.model.model import Model, block_digest, join_digests
from pipeline.options import Options
from pipeline.runs.start_vectors import StartRef
from pipeline.storage.commits import Commits
from pipeline.storage.records import Artifact, Digest, Number, Record, Records
from pipeline.training.checks import check_first_epoch, check_schedule, check_weights, has_few_rows
from pipeline.training.epochs import positions_of
from pipeline.training.holdout_loss import HOLDOUT_POINTS, kept_back_rows, mean_loss_of
from pipeline.training.metrics import MetricsLog
from pipeline.training.replicas.merging import merge_rows, read_changes
from pipeline.training.replicas.rounds import Rounds
from pipeline.training.replicas.slice_training import SliceTraining
from pipeline.training.trainer import TrainingProgress, first_vectors, resume_point

STAGE = "slices"
_FOLDER = re.compile(rf"{STAGE}/[0-9a-f]{{8}}/round=(\d{{5}})/")
_DELETIONS = 16
"""Objects that are deleted in parallel: a store takes milliseconds for each."""


def slice_name(number: int, replica: int) -> str:
    """The name of the record of a replica's round."""
    return f"round={number:05d}-replica={replica:04d}"


def slice_folder(number: int, replica: int) -> str:
    """The folder of its artefacts, in the folder of the stage."""
    return f"round={number:05d}/replica={replica:04d}"


def merge_name(number: int, index: int) -> str:
    """The name of the record of a partition that was merged after a round."""
    return f"round={number:05d}-part={index:06d}"


@dataclasses.dataclass(frozen=True)
class SliceNumbers:
    """What is recorded of a replica's round; its artefacts are the partitions in order."""

    step: Number
    """at the end of the round"""
    base: Digest
    """digest of the model that it began with"""
    loss: list[tuple[float, int]]
    """(sum, pairs) for each point of the loss curve."""
    began: float
    ended: float
    """seconds since 1970"""
    rows: Number | None = None
    """targets trained on; None if not known"""
    device: str = ""
    """what it was trained on, and why it was the CPU, as in `TrainedOn`"""
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class MergeNumbers:
    """What is recorded of a merged partition."""

    step: Number
    base: Digest
    block: Digest


@dataclasses.dataclass(frozen=True)
class Standing:
    """The state of training between two rounds."""

    checkpoint: CheckpointRef
    positions: int
    """of an epoch"""
    seconds: float = 0.0
    """in which at least one replica was training, since the run was started or resumed"""


@dataclasses.dataclass(frozen=True)
class SlicePartition:
    """The changes of one replica to one partition of the vocabulary."""

    replica: int
    artifact: Artifact


@dataclasses.dataclass(frozen=True)
class MergedPartition:
    """One partition of the checkpoint of a round."""

    index: int
    artifact: Artifact
    digest: str
    """of its block, hex"""


@dataclasses.dataclass(frozen=True)
class Replicas:
    """Trains one model by several replicas, as `Trainer` does by one.

    Attributes:
      commits: of the stage "checkpoints".
      provenance: JSON values for the checkpoints' metadata.
      threads: of each replica.
      report: called after every step range, with the progress of the replica in its slice.
      warn: called with lines for the user.
      first: what the first vectors are taken from; None for random ones.
    """

    options: Options
    commits: Commits
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    threads: int = 1
    report: Callable[[TrainingProgress], None] = lambda progress: None
    warn: Callable[[str], None] = lambda message: None
    first: StartRef | None = None

    def train(self, words: pa.Array, counts: np.ndarray, shards: Sequence[BatchShard]) -> CheckpointRef:
        """The whole training in this process, one replica after the other; see `Trainer.train`."""
        standing = self.start(words, counts, positions_of(shards))
        rounds = self._rounds(standing.positions)
        for number in range(rounds.count):
            if self.is_over(standing, number):
                continue
            changes = [self.train_slice(standing, number, replica, shards) for replica in range(rounds.replicas)]
            merged = [self.merge(standing, number, index, parts) for index, parts in enumerate(zip(*changes))]
            standing = self.commit(standing, number, merged, shards)
        return standing.checkpoint

    def start(self, words: pa.Array, counts: np.ndarray, positions: int) -> Standing:
        """The state to begin with: the last checkpoint, or a new one of the initial vectors, after step 0.

        Args:
          words: string [V]; counts: int64 [V], in the order of ids.
          positions: of an epoch, see `epochs.positions_of`.
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
            model = Model(words, counts, *first_vectors(self.commits, self.first, words, self.options))
            done = write_checkpoint(self.commits, 0, model, self.provenance, rounds.schedule.steps, 0)
        if done.step >= rounds.schedule.steps_per_epoch:
            check_first_epoch(done.first_epoch_rows, positions, counts, self.options, self.warn)
        record_end(self.commits, done, self.options.keep_checkpoints)
        return Standing(done, positions)

    def is_over(self, standing: Standing, number: int) -> bool:
        """Whether a round has been committed before."""
        return standing.checkpoint.step >= self._rounds(standing.positions).end(number)

    def lists_of_slices(
        self, number: int, shards: Iterable[BatchShard], positions: int
    ) -> Iterator[tuple[int, ShardList]]:
        """List `number` of a corpus, for each slice of an epoch that has shards of it: (index of the slice, list)."""
        rounds, records, epochs = self._rounds(positions), self._records, range(self.options.epochs)

        def slices_of(first: BatchShard, last: BatchShard) -> range:
            if first.replay is None:
                return rounds.slices_of(first.first_position, last.end)
            # Where a shard begins and ends differs a little from epoch to epoch, with what is replayed.
            spans = [(first.span(records, epoch)[0], last.span(records, epoch)[1]) for epoch in epochs]
            return rounds.slices_of(min(span[0] for span in spans), max(span[1] for span in spans))

        return sliced_lists(self.commits.beside(LISTS), number, shards, slices_of)

    def slice_index(self, standing: Standing, number: int, replica: int) -> int:
        """Which slice of its epoch a replica trains on in a round."""
        return self._rounds(standing.positions).slice_index(number, replica)

    def train_slice(
        self, standing: Standing, number: int, replica: int, shards: Iterable[BatchShard]
    ) -> list[SlicePartition]:
        """Trains a replica on its slice of a round; returns its changes, for each partition of the vocabulary.

        Args:
          shards: all that have positions of the slice, in any order; others are ignored.
        """
        name = slice_name(number, replica)
        record = self._earlier_record(STAGE, name, standing, SliceNumbers)
        if record is None:
            rounds, base = self._rounds(standing.positions), standing.checkpoint
            training = SliceTraining(
                self.options, self._records, self.threads, self.report, base, rounds, number, replica
            )
            began = time.time()
            backend = training.train(shards)
            folder = slice_folder(number, replica)
            artifacts = tuple(
                self.commits.beside(STAGE).put(f"{folder}/part-{index:06d}-of-{len(base.parts):06d}.parquet", data)
                for index, data in training.changes(backend)
            )
            times, device = (round(began, 3), round(time.time(), 3)), training.opened
            numbers = SliceNumbers(
                rounds.end(number), base.digest, training.loss, *times, training.rows, device.device, device.reason
            )
            record = self.commits.beside(STAGE).commit(name, artifacts, numbers)
        return [SlicePartition(replica, artifact) for artifact in record.artifacts]

    def merge(self, standing: Standing, number: int, index: int, parts: Iterable[SlicePartition]) -> MergedPartition:
        """Merges the changes of the replicas to one partition, in their order; one at a time is in memory."""
        name = merge_name(number, index)
        record = self._earlier_record(PARTS_STAGE, name, standing, MergeNumbers)
        if record is None:
            rounds, base = self._rounds(standing.positions), standing.checkpoint
            block = read_partition(self._records, base, index)
            changes = (
                read_changes(self._records.read(slice_partition.artifact), base.dims, index)
                for slice_partition in sorted(parts, key=lambda slice_partition: slice_partition.replica)
            )
            w_in, w_out = merge_rows(block.input, block.output, changes, rounds.replicas)
            check_weights(w_in, w_out, rounds.end(number), rounds.schedule)
            merged = Model(block.words, block.counts, w_in, w_out)
            place = index, len(base.parts)
            provenance = {**self.provenance, "words": base.words, "steps": rounds.schedule.steps}
            artifact = write_partition(self.commits, rounds.end(number), place, merged, provenance)
            numbers = MergeNumbers(rounds.end(number), base.digest, block_digest(merged).hex())
            record = self.commits.beside(PARTS_STAGE).commit(name, [artifact], numbers)
        return MergedPartition(index, record.artifact, record.read(MergeNumbers).block)

    def commit(
        self, standing: Standing, number: int, merged: Iterable[MergedPartition], kept_back: Sequence[BatchShard] = ()
    ) -> Standing:
        """Makes the merged partitions the checkpoint of a round, and removes what was needed for it.

        Args:
          kept_back: shards for the loss on sentences kept back, with --holdout.
        """
        rounds, base = self._rounds(standing.positions), standing.checkpoint
        step, partitions = rounds.end(number), sorted(merged, key=lambda partition: partition.index)
        if [partition.index for partition in partitions] != list(range(len(base.parts))):
            raise ValueError(
                f"round {number} has partitions {[partition.index for partition in partitions]} of {len(base.parts)}"
            )
        digest = join_digests(base.words, base.dims, [bytes.fromhex(partition.digest) for partition in partitions])
        artifacts = tuple(partition.artifact for partition in partitions)
        record, seconds = self.commits.load(step_name(step)), standing.seconds
        if record is None or record.artifacts != artifacts:  # otherwise a worker has died after this was done
            rows = self._first_epoch_rows(standing, number)
            if step == rounds.schedule.steps_per_epoch:
                self._check_first_epoch(rows, standing)
            numbers = CheckpointNumbers(VERSION, step, rounds.schedule.steps, digest, base.words, base.dims, rows)
            record = self.commits.record(step_name(step), artifacts, numbers)
            holdout = self._holdout_loss(CheckpointRef.of_record(record), base.step, rounds, kept_back)
            seconds = self._write_metrics(standing, number, holdout)
            commit_checkpoint(self.commits, numbers, artifacts)
        checkpoint = CheckpointRef.of_record(record)
        record_end(self.commits, checkpoint, self.options.keep_checkpoints)
        self._forget_work(step, rounds)
        prune_checkpoints(self.commits, self.options.keep_checkpoints)
        return Standing(checkpoint, standing.positions, seconds)

    def _rounds(self, positions: int) -> Rounds:
        return Rounds.of(self.options, positions)

    @property
    def _records(self) -> Records:
        return self.commits.records

    def _earlier_record(
        self, stage: str, name: str, standing: Standing, kind: type[SliceNumbers] | type[MergeNumbers]
    ) -> Record | None:
        """The record of an earlier attempt from the same weights, if its artefacts are whole."""
        record = self.commits.beside(stage).find(name)
        return record if record and record.read(kind).base == standing.checkpoint.digest else None

    def _forget_work(self, step: int, rounds: Rounds) -> None:
        """Removes what was needed for the checkpoints up to `step`. Their own records name their partitions."""
        past = [
            dataclasses.replace(record, artifacts=()) if stage == PARTS_STAGE else record
            for stage in (PARTS_STAGE, STAGE)
            for record in self.commits.beside(stage).all()
            if record.numbers["step"] <= step
        ]
        over = rounds.before(step)
        with ThreadPoolExecutor(_DELETIONS) as pool:
            list(pool.map(self.commits.remove, past))
            folder = self.commits.beside(STAGE).path("")
            paths = (
                info.path for info in self._records.storage.list(folder)
            )  # files of workers that died have no record
            left = [path for path in paths if (match := _FOLDER.match(path)) and int(match[1]) < over]
            list(pool.map(self.commits.delete, left))

    def _slices(self, number: int) -> list[SliceNumbers]:
        """What the replicas have recorded of a round."""
        slices, replicas = self.commits.beside(STAGE), range(self.options.replicas)
        records = [slices.load(slice_name(number, replica)) for replica in replicas]
        return [record.read(SliceNumbers) for record in records if record]

    def _first_epoch_rows(self, standing: Standing, number: int) -> int | None:
        """Targets trained on in the first epoch until the end of a round, by all replicas; None if not known."""
        before = standing.checkpoint.first_epoch_rows
        if before is None or self._rounds(standing.positions).epoch(number) > 0:
            return before
        rows = [numbers.rows for numbers in self._slices(number)]
        return None if None in rows else before + sum(filter(None, rows))

    def _check_first_epoch(self, rows: int | None, standing: Standing) -> None:
        """See `check_first_epoch`. If there was nothing to train on, no checkpoint of random vectors is left."""
        if has_few_rows(rows, standing.positions):
            rounds = self._rounds(standing.positions)
            counts = np.concatenate([block.counts for block in read_blocks(self._records, standing.checkpoint)])
            try:
                check_first_epoch(rows, standing.positions, counts, self.options, self.warn)
            except InputError:
                remove_newer(self.commits, -1)
                self._forget_work(rounds.schedule.steps, rounds)
                remove_unrecorded(self.commits)
                raise

    def _write_metrics(self, standing: Standing, number: int, holdout: float | None) -> float:
        """Commits the points of a round; returns the seconds of training until its end."""
        rounds = self._rounds(standing.positions)
        schedule, first, end = rounds.schedule, standing.checkpoint.step, rounds.end(number)
        trained = self._slices(number)
        busy = _length_of_union((numbers.began, numbers.ended) for numbers in trained)
        points = np.sum([numbers.loss for numbers in trained], axis=0)
        log = MetricsLog(schedule, holdout=bool(self.options.holdout))
        for i, (total, pairs) in enumerate(points.tolist(), 1):
            step = first + (end - first) * i // len(points) - 1
            loss = StepLoss(np.array([total]), np.array([pairs], np.int64))
            log.add(step, schedule.learning_rates(step, 1), loss, standing.seconds + busy * i / len(points))
        if holdout is not None:
            log.add_holdout(holdout)
        for device, reason in dict.fromkeys((numbers.device, numbers.reason) for numbers in trained if numbers.device):
            log.trained_on(first, device, reason)
        log.write(self.commits, end)
        return standing.seconds + busy

    def _holdout_loss(
        self, checkpoint: CheckpointRef, before: int, rounds: Rounds, kept_back: Sequence[BatchShard]
    ) -> float | None:
        """The loss on sentences kept back, about HOLDOUT_POINTS times in a run; None if it is not due."""
        steps = rounds.schedule.steps
        if not self.options.holdout or checkpoint.step * HOLDOUT_POINTS // steps == before * HOLDOUT_POINTS // steps:
            return None
        rows = kept_back_rows(sorted(kept_back, key=lambda shard: shard.index), self._records)
        return None if rows is None else mean_loss_of(rows, read_blocks(self._records, checkpoint), self.options.model)


def _length_of_union(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of some intervals (begin, end)."""
    length, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        length += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return length
