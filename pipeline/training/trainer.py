"""The trainer: batch shards in, checkpoints out; with or without Beam."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.backends.backend import GeneratingBackend, StepLoss
from pipeline.backends.open_backend import Opened
from pipeline.batches.rows import Rows
from pipeline.batches.schedule import Schedule, step_of
from pipeline.batches.shards import BatchShard
from pipeline.errors import DoesNotFitError, InterruptedRunError
from pipeline.model.checkpoints import (
    TRAINED,
    CheckpointRef,
    drop_damaged,
    latest_checkpoint,
    prune_checkpoints,
    read_blocks,
    read_checkpoint,
    record_end,
    remove_newer,
    remove_unrecorded,
    write_checkpoint,
)
from pipeline.model.initial_vectors import initial_vectors
from pipeline.model.loss_curve import drop_lost_points, forget_points_after
from pipeline.model.model import Model
from pipeline.options import Options
from pipeline.runs.start_vectors import StartRef
from pipeline.runtime import memory
from pipeline.storage.commits import Commits
from pipeline.storage.records import Records
from pipeline.training.checks import check_first_epoch, check_loss, check_schedule, check_weights
from pipeline.training.epochs import in_order, positions_of, ranges_to_train
from pipeline.training.holdout_loss import HOLDOUT_POINTS, kept_back_rows, mean_loss
from pipeline.training.metrics import MetricsLog
from pipeline.training.on_device import instead_of_the_gpu, new_backend

CHECKPOINT_SECONDS = 60.0
CHECKPOINT_SHARE = 0.1
"""Most of the time that may go into checkpoints: one of 10 million words takes minutes."""


@dataclasses.dataclass(frozen=True)
class TrainingProgress:
    """How far training is; the counts are those of this process."""

    step: int
    """steps done by all processes"""
    steps: int
    first_step: int
    """steps done before this process: where a resumed run began"""
    positions: int
    """token positions trained on"""
    rows: int
    """targets trained on"""
    seconds: float
    loss: float
    """mean cross-entropy per pair of the last step range"""


@dataclasses.dataclass(frozen=True)
class Trained:
    """The weights after the last step, in blocks of the vocabulary that are taken once, in order."""

    blocks: Iterable[Model]
    step: int
    words: int
    dims: int
    first_epoch_rows: int | None

    @classmethod
    def of(cls, records: Records, ref: CheckpointRef) -> Trained:
        """Those of a checkpoint of the last step."""
        return cls(read_blocks(records, ref), ref.step, ref.words, ref.dims, ref.first_epoch_rows)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains one model from shards, from its last checkpoint or from the beginning.

    Attributes:
      commits: of the stage "checkpoints".
      provenance: JSON values for the checkpoints' metadata.
      report: called after every step range.
      stop: called after every step range; if it returns True, a checkpoint is written and InterruptedRunError raised.
      warn: called with lines for the user.
      start: what the first vectors are taken from; None for random ones.
      finish: makes the last checkpoint of the weights after the last step; None if they are it.
    """

    options: Options
    commits: Commits
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    report: Callable[[TrainingProgress], None] = lambda progress: None
    stop: Callable[[], bool] = lambda: False
    warn: Callable[[str], None] = lambda message: None
    start: StartRef | None = None
    finish: Callable[[Trained], CheckpointRef] | None = None

    def train(self, words: pa.Array, counts: np.ndarray, shards: Sequence[BatchShard]) -> CheckpointRef:
        """Trains to the end, and returns the last checkpoint.

        Args:
          words: string [V]; counts: int64 [V], in the order of ids.
          shards: in any order; together they have every position once.

        Raises:
          ArtifactError: a shard is missing, or comes twice.
          InterruptedRunError: `stop` has returned True.
          NonFiniteError: training has diverged.
        """
        options = self.options
        memory.give_back()
        shards = in_order(shards, end=shards[0].of if shards else None)
        schedule = Schedule.of(options, positions_of(shards))
        check_schedule(schedule, options, len(words), self.warn)
        done = resume_point(self.commits, self.warn)
        if done and done.step >= schedule.steps_per_epoch:
            check_first_epoch(done.first_epoch_rows, schedule.positions, counts, options, self.warn)
        if done and done.step >= schedule.steps:
            if self.finish:
                return self.finish(Trained.of(self.commits.records, done))
            record_end(self.commits, done, self.options.keep_checkpoints)
            return done
        w_in, w_out = self._weights(done, words)
        if done is None and self.commits.stage == TRAINED:
            done = write_checkpoint(
                self.commits, 0, Model(words, counts, w_in, w_out), self.provenance, schedule.steps, 0
            )
        threads = options.thread_count
        opened = new_backend(w_in, w_out, options, schedule, threads)
        del w_in, w_out
        kept_back = kept_back_rows(shards, self.commits.records) if options.holdout else None
        session = _Session(self, opened, schedule, words, counts, done, kept_back)
        with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool, memory.reused():
            for epoch in range(session.step // schedule.steps_per_epoch, schedule.epochs):
                session.run_epoch(epoch, shards, pool if threads > 1 else None)
        if self.finish:
            model = session.model()
            return self.finish(Trained(model.blocks(), session.step, len(words), model.dims, session.first_epoch_rows))
        last = session.commit()
        record_end(self.commits, last, self.options.keep_checkpoints)
        return last

    def _weights(self, done: CheckpointRef | None, words: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        if done:
            model = read_checkpoint(self.commits.records, done)
            return model.input, model.output
        return first_vectors(self.commits, self.start, words, self.options)


def first_vectors(
    commits: Commits, start: StartRef | None, words: pa.Array, options: Options
) -> tuple[np.ndarray, np.ndarray]:
    """Input and output vectors before the first step, float32 [V, dims] each."""
    if start:
        return start.load(commits, words, options.seed)
    w_in = initial_vectors(words.to_pylist(), options.dims, options.seed)
    return w_in, np.zeros(w_in.shape, np.float32)  # pages of zeros take no memory until they are written


def resume_point(commits: Commits, say: Callable[[str], None]) -> CheckpointRef | None:
    """The newest sound checkpoint, to resume from. Removes everything beyond it, and everything damaged."""
    done = latest_checkpoint(commits.records, commits.key, commits.stage)
    commits.check_lock()
    step = done.step if done else 0
    remove_newer(commits, step)
    drop_damaged(commits, step, say)
    remove_unrecorded(commits)
    forget_points_after(commits, step)
    drop_lost_points(commits, say)
    return done


class _Started(NamedTuple):
    """Steps that were started, and whose loss is not known yet."""

    steps: int
    rates: np.ndarray
    rows: int
    loss: Callable[[], StepLoss]
    """waits for them"""


class _Session:
    """The training by one process, from a step on."""

    def __init__(
        self,
        trainer: Trainer,
        opened: Opened,
        schedule: Schedule,
        words: pa.Array,
        counts: np.ndarray,
        done: CheckpointRef | None,
        kept_back: Rows | None = None,
    ):
        self.trainer, self.schedule = trainer, schedule
        self.words, self.counts = words, counts
        self.step = self.began = step = done.step if done else 0
        self.first_epoch_rows = done.first_epoch_rows if done else 0
        self.committed: CheckpointRef | None = None
        self.metrics = MetricsLog(schedule, holdout=bool(trainer.options.holdout))
        self.kept_back, self.next_holdout = kept_back, step
        self._started: _Started | None = None
        self._train_on(opened)
        self.clock = self.checkpoint_clock = time.monotonic()
        self.checkpoint_wait = CHECKPOINT_SECONDS
        self.rows = 0

    def _train_on(self, opened: Opened) -> None:
        self.backend = opened.backend
        self.metrics.trained_on(self.step, opened.device, opened.reason)

    def run_epoch(self, epoch: int, shards: Sequence[BatchShard], pool: ThreadPoolExecutor | None) -> None:
        try:
            self._run_epoch(epoch, shards, pool)
        except DoesNotFitError as error:
            self._finish()
            options = self.trainer.options
            weights, threads = self.backend.weights(), options.thread_count
            self._train_on(instead_of_the_gpu(weights, error, self.step, options, self.schedule, threads))
            self._run_epoch(epoch, shards, pool)

    def _run_epoch(self, epoch: int, shards: Sequence[BatchShard], pool: ThreadPoolExecutor | None) -> None:
        schedule = self.schedule
        base = epoch * schedule.steps_per_epoch
        records, first, end = self.trainer.commits.records, self.step - base, schedule.steps_per_epoch
        for steps in ranges_to_train(self.backend, shards, records, epoch, schedule.batch_size, first, end, pool):
            begin = 0
            while begin < steps.steps:  # all at once, unless a checkpoint is due in between
                count = min(steps.steps - begin, self._steps_to_checkpoint())
                rates = schedule.learning_rates(self._started_step, count)
                bounds = steps.bounds[begin : begin + count + 1]
                started = _Started(count, rates, int(bounds[-1] - bounds[0]), self._start(steps.rows, bounds, rates))
                self._finish()  # the steps before, while these are trained
                self._started = started
                begin += count
                wants_stop = self.trainer.stop()
                if wants_stop or self._is_something_due():
                    self._finish()
                    self._after_steps(wants_stop)
        self._finish()

    def _start(self, rows: Rows, bounds: np.ndarray, rates: np.ndarray) -> Callable[[], StepLoss]:
        if isinstance(self.backend, GeneratingBackend):
            return self.backend.start(rows, bounds, rates)
        loss = self.backend.train(rows, bounds, rates)
        return lambda: loss

    def _finish(self) -> None:
        """Waits for the steps that were started."""
        if self._started is None:
            return
        started, self._started = self._started, None
        loss, options = started.loss(), self.trainer.options
        self.rows += started.rows
        if self.step < self.schedule.steps_per_epoch and self.first_epoch_rows is not None:
            self.first_epoch_rows += started.rows
        self.metrics.add(self.step, started.rates, loss, time.monotonic() - self.clock)
        check_loss(loss, started.rates, self.step, self.schedule)
        self.step += started.steps
        if self.step == self.schedule.steps_per_epoch:
            positions, rows = self.schedule.positions, self.first_epoch_rows
            check_first_epoch(rows, positions, self.counts, options, self.trainer.warn)
        self._report()

    @property
    def _started_step(self) -> int:
        return self.step + (self._started.steps if self._started else 0)

    def _steps_to_checkpoint(self) -> int:
        every = self.trainer.options.checkpoint_every
        return every - self._started_step % every if every else self.schedule.steps

    def _is_something_due(self) -> bool:
        """Whether the weights after the steps that were started are wanted; or nothing else goes on meanwhile."""
        is_asynchronous = isinstance(self.backend, GeneratingBackend)
        return not is_asynchronous or self._is_checkpoint_due() or self._is_holdout_due()

    def _is_checkpoint_due(self) -> bool:
        every = self.trainer.options.checkpoint_every
        if every:
            return self._started_step % every == 0
        return time.monotonic() - self.checkpoint_clock >= self.checkpoint_wait

    def _is_holdout_due(self) -> bool:
        step = self._started_step
        return self.kept_back is not None and (step >= self.next_holdout or step == self.schedule.steps)

    def _after_steps(self, wants_stop: bool) -> None:
        """What wants the weights. No step is in progress."""
        if self.kept_back is not None and self._is_holdout_due():
            self.metrics.add_holdout(mean_loss(self.kept_back, *self.backend.weights(), self.trainer.options.model))
            self.next_holdout = self.step + max(1, self.schedule.steps // HOLDOUT_POINTS)
        is_trained = self.first_epoch_rows != 0  # else the checkpoint would hold random vectors
        if wants_stop:
            if is_trained:
                self.commit()
            raise InterruptedRunError(
                f"stopped after {step_of(self.step, self.schedule.steps)}; run the same command again to go on"
            )
        if is_trained and self._is_checkpoint_due():
            self.commit()

    def _report(self) -> None:
        schedule = self.schedule
        positions = schedule.first_position(self.step) - schedule.first_position(self.began)
        seconds, loss = time.monotonic() - self.clock, self.metrics.recent_loss
        self.trainer.report(
            TrainingProgress(self.step, schedule.steps, self.began, positions, self.rows, seconds, loss)
        )

    def commit(self) -> CheckpointRef:
        """Writes a checkpoint of the current step, unless it has been written already."""
        if self.committed and self.committed.step == self.step:
            return self.committed
        trainer, began = self.trainer, time.monotonic()
        self.committed = write_checkpoint(
            trainer.commits, self.step, self.model(), trainer.provenance, self.schedule.steps, self.first_epoch_rows
        )
        prune_checkpoints(trainer.commits, trainer.options.keep_checkpoints)
        self.checkpoint_clock = time.monotonic()
        self.checkpoint_wait = seconds_to_checkpoint(self.checkpoint_clock - began)
        return self.committed

    def model(self) -> Model:
        """The model after the steps so far, when their loss has been written."""
        memory.give_back()
        w_in, w_out = self.backend.weights()
        check_weights(w_in, w_out, self.step, self.schedule)
        self.metrics.write(self.trainer.commits, self.step)
        return Model(self.words, self.counts, w_in, w_out)


def seconds_to_checkpoint(took: float) -> float:
    """How long to train until the next checkpoint, if the last one took so many seconds."""
    return max(CHECKPOINT_SECONDS, took / CHECKPOINT_SHARE)
