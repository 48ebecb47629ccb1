"""The trainer: batch shards in, checkpoints out. A plain function, with or without Beam."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.backends import Backend, Batch, StepLoss
from pipeline.backends.open_backend import open_backend
from pipeline.batches.rows import BatchShard, Sampling
from pipeline.batches.schedule import Schedule, step_of
from pipeline.batches.steps import step_blocks
from pipeline.errors import ArtifactError, InputError, InterruptedRunError, NonFiniteError
from pipeline.model.checkpoints import (
    CheckpointRef,
    latest_checkpoint,
    prune_checkpoints,
    read_checkpoint,
    record_end,
    remove_newer,
    remove_unrecorded,
    write_checkpoint,
)
from pipeline.model.initial_vectors import initial_vectors
from pipeline.model.model import Model
from pipeline.options import MAX_POSITION, Options
from pipeline.runtime import memory
from pipeline.storage.records import Records
from pipeline.training.holdout_loss import POINTS, kept_back_rows, mean_loss
from pipeline.training.metrics import MetricsLog, forget_points_after

CHECKPOINT_SECONDS = 60.0
CHECKPOINT_SHARE = 0.1
"""Of the time, at most, that goes into checkpoints: one of 10 million words takes minutes."""
ABSURD_LOSS = 100.0
"""Mean cross-entropy per pair of a step: chance is 0.69, and what is being learned seldom costs above 5."""
FEW_STEPS = 400
"""A run of fewer steps than this learns little from each: the user is told."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where training stands; the counts are of this process."""

    step: int
    """steps done in all"""
    steps: int
    first_step: int
    """steps done by others before: where a resumed run began"""
    positions: int
    """token positions trained on"""
    rows: int
    """targets trained on"""
    seconds: float
    loss: float
    """mean cross-entropy per pair, lately"""


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains one model from shards, from its last checkpoint or from the start.

    Attributes:
      records: of the output.
      key: stage key of "checkpoints".
      provenance: JSON values for the checkpoints' metadata.
      renew_lock: called before anything is committed; raises when the lock is lost.
      report: called after every block of steps.
      stop: asked after every block; when it says yes, a checkpoint is written and InterruptedRunError raised.
    """

    options: Options
    records: Records
    key: str
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    renew_lock: Callable[[], None] = lambda: None
    report: Callable[[Progress], None] = lambda progress: None
    stop: Callable[[], bool] = lambda: False
    warn: Callable[[str], None] = lambda message: None

    def train(
        self, words: pa.Array, counts: np.ndarray, shards: Sequence[BatchShard], tokens: int | None = None
    ) -> CheckpointRef:
        """Train to the end and return the last checkpoint.

        Args:
          words: string [V]; counts: int64 [V], in the order of ids.
          shards: in any order; together they hold every position once.
          tokens: how many positions the vocabulary promises, where that is known.

        Raises:
          ArtifactError: a shard is missing, or there twice.
        """
        options = self.options
        memory.give_back()
        shards = in_order(shards, end=tokens)
        schedule = Schedule.of(options, sum(shard.positions for shard in shards))
        check_schedule(schedule, options, len(words), self.warn)
        done = latest_checkpoint(self.records, self.key)
        self.renew_lock()
        remove_unrecorded(self.records)
        if done and done.step >= schedule.steps:
            record_end(self.records, self.key, done)
            return done
        step = done.step if done else 0
        remove_newer(self.records, self.key, step)
        forget_points_after(self.records, self.key, step)
        w_in, w_out = self._weights(done, words)
        threads = options.thread_count
        backend = new_backend(w_in, w_out, options, schedule, threads, self.warn)
        del w_in, w_out
        kept_back = kept_back_rows(shards, self.records) if options.holdout else None
        session = _Session(self, backend, schedule, words, counts, step, kept_back)
        with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool, memory.reused():
            for epoch in range(step // schedule.steps_per_epoch, schedule.epochs):
                session.run_epoch(epoch, shards, pool if threads > 1 else None)
        last = session.commit()
        self.renew_lock()
        record_end(self.records, self.key, last)
        return last

    def _weights(self, done: CheckpointRef | None, words: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        if done:
            model = read_checkpoint(self.records, done)
            return model.input, model.output
        w_in = initial_vectors(words.to_pylist(), self.options.dims, self.options.seed)
        return w_in, np.zeros(w_in.shape, np.float32)  # pages that nobody has written take no memory


class _Session:
    """One process's share of a training run."""

    def __init__(
        self,
        trainer: Trainer,
        backend: Backend,
        schedule: Schedule,
        words: pa.Array,
        counts: np.ndarray,
        step: int,
        kept_back: Batch | None = None,
    ):
        self.trainer, self.backend, self.schedule = trainer, backend, schedule
        self.words, self.counts = words, counts
        self.step = self.began = step
        self.committed: CheckpointRef | None = None
        self.metrics = MetricsLog(schedule, holdout=bool(trainer.options.holdout))
        self.kept_back, self.next_holdout = kept_back, step
        self.clock = self.checkpoint_clock = time.monotonic()
        self.checkpoint_wait = CHECKPOINT_SECONDS
        self.rows = 0

    def run_epoch(self, epoch: int, shards: Sequence[BatchShard], pool: ThreadPoolExecutor | None) -> None:
        schedule = self.schedule
        base = epoch * schedule.steps_per_epoch
        first = self.step - base
        records, end = self.trainer.records, schedule.steps_per_epoch
        for block in step_blocks(self.backend, shards, records, epoch, schedule.batch_size, first, end, pool):
            begin = 0
            while begin < block.steps:  # in one go, unless a checkpoint is due inside
                count = min(block.steps - begin, self._steps_to_checkpoint())
                rates = schedule.learning_rates(self.step, count)
                loss = self.backend.train(block.batch, block.bounds[begin : begin + count + 1], rates)
                self.rows += int(block.bounds[begin + count] - block.bounds[begin])
                self.metrics.add(self.step, rates, loss, time.monotonic() - self.clock)
                check_loss(loss, rates, self.step, schedule)
                self.step += count
                begin += count
                self._after_steps()

    def _steps_to_checkpoint(self) -> int:
        every = self.trainer.options.checkpoint_every
        return every - self.step % every if every else self.schedule.steps

    def _after_steps(self) -> None:
        if self.kept_back is not None and (self.step >= self.next_holdout or self.step == self.schedule.steps):
            self.metrics.add_holdout(mean_loss(self.kept_back, *self.backend.weights(), self.trainer.options.model))
            self.next_holdout = self.step + max(1, self.schedule.steps // POINTS)
        now = time.monotonic()
        positions = self.schedule.first_position(self.step) - self.schedule.first_position(self.began)
        self.trainer.report(
            Progress(
                self.step,
                self.schedule.steps,
                self.began,
                positions,
                self.rows,
                now - self.clock,
                self.metrics.recent_loss,
            )
        )
        if self.trainer.stop():
            self.commit()
            raise InterruptedRunError(
                f"stopped after {step_of(self.step, self.schedule.steps)}; run the same command again to go on"
            )
        every = self.trainer.options.checkpoint_every
        due = self.step % every == 0 if every else now - self.checkpoint_clock >= self.checkpoint_wait
        if due:
            self.commit()

    def commit(self) -> CheckpointRef:
        """Write a checkpoint of where training stands, unless that has just been done."""
        if self.committed and self.committed.step == self.step:
            return self.committed
        trainer, began = self.trainer, time.monotonic()
        memory.give_back()
        w_in, w_out = self.backend.weights()
        check_weights(w_in, w_out, self.step, self.schedule)
        trainer.renew_lock()
        self.metrics.write(trainer.records, trainer.key, self.step)
        self.committed = write_checkpoint(
            trainer.records,
            trainer.key,
            self.step,
            Model(self.words, self.counts, w_in, w_out),
            trainer.provenance,
            self.schedule.steps,
        )
        prune_checkpoints(trainer.records, trainer.key, trainer.options.keep_checkpoints)
        self.checkpoint_clock = time.monotonic()
        self.checkpoint_wait = seconds_to_checkpoint(self.checkpoint_clock - began)
        return self.committed


def seconds_to_checkpoint(took: float) -> float:
    """How long to train before the next checkpoint, where the last one took so many seconds."""
    return max(CHECKPOINT_SECONDS, took / CHECKPOINT_SHARE)


def check_schedule(schedule: Schedule, options: Options, vocabulary: int, warn: Callable[[str], None]) -> None:
    """InputError where there is nothing to train on, too much, or too few words for the negatives."""
    Sampling.of(options).check(vocabulary)
    if not schedule.positions:
        raise InputError("no token is left to train on: the vocabulary's words are in no sentence")
    if schedule.positions > MAX_POSITION:
        raise InputError(f"{schedule.positions:,} token positions are more than {MAX_POSITION:,}: train on a part")
    if schedule.steps < FEW_STEPS:
        warn(
            f"only {schedule.steps} training steps: more --epochs or a smaller --batch_size"
            f" (now {options.batch_size}) would train better"
        )


def new_backend(
    w_in: np.ndarray, w_out: np.ndarray, options: Options, schedule: Schedule, threads: int, say: Callable[[str], None]
) -> Backend:
    """What trains these weights, which it copies."""
    return open_backend(
        options.device,
        w_in,
        w_out,
        model=options.model,
        tau=float(schedule.tau),
        zero_hits=options.negative_policy != "any",
        negatives=options.negatives,
        threads=threads,
        say=say,
    )


def check_loss(loss: StepLoss, rates: np.ndarray, first: int, schedule: Schedule) -> None:
    """NonFiniteError for a loss that is not finite, or so large that the vectors can only be running away."""
    bad = np.flatnonzero(~(loss.total <= ABSURD_LOSS * loss.pairs))
    if len(bad):
        raise _diverged("the loss", first + int(bad[0]), float(rates[bad[0]]), schedule)


def check_weights(w_in: np.ndarray, w_out: np.ndarray, step: int, schedule: Schedule) -> None:
    """NonFiniteError for a weight that is not finite after `step` steps."""
    if not (np.isfinite(w_in).all() and np.isfinite(w_out).all()):
        raise _diverged("a weight", step, float(schedule.learning_rates(max(0, step - 1), 1)[0]), schedule)


def _diverged(what: str, step: int, rate: float, schedule: Schedule) -> NonFiniteError:
    return NonFiniteError(
        f"{what} is not finite, or absurdly large, at {step_of(step, schedule.steps)} (learning rate"
        f" {rate:.4g}, damping {schedule.damping:g}): lower --damping or --learning_rate; the last checkpoint is"
        f" from before"
    )


def in_order(shards: Iterable[BatchShard], first: int = 0, end: int | None = None) -> list[BatchShard]:
    """Sorted by index, which Beam does not promise; they must hold the positions first..end-1, each once."""
    ordered = sorted(shards, key=lambda shard: shard.index)
    position = min(first, ordered[0].first_position) if ordered else first
    for shard in ordered:
        if shard.first_position != position:
            raise ArtifactError(
                f"token shard {shard.index} begins at position {shard.first_position:,}, not at {position:,}: a shard"
                " was lost or came twice; run the same command again"
            )
        position = shard.end
    if end is not None and position < end:
        raise ArtifactError(
            f"the token shards hold {position:,} of the {end:,} tokens that were counted: a shard was lost; run the"
            " same command again"
        )
    return ordered
