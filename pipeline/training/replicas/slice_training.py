"""The work of one replica in a round: it trains its slice of an epoch, from the weights that the round began with."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from pipeline.backends.backend import Backend
from pipeline.backends.open_backend import Opened
from pipeline.batches.shards import BatchShard
from pipeline.errors import DoesNotFitError
from pipeline.model.checkpoints import CheckpointRef, read_blocks
from pipeline.model.model import BLOCK_ROWS
from pipeline.options import Options
from pipeline.runtime import memory
from pipeline.storage.records import Records
from pipeline.training.checks import check_loss, check_weights
from pipeline.training.epochs import has_positions, in_order, ranges_to_train
from pipeline.training.metrics import LOSS_POINTS
from pipeline.training.on_device import instead_of_the_gpu, new_backend
from pipeline.training.replicas.merging import changes_to_parquet
from pipeline.training.replicas.rounds import Rounds
from pipeline.training.trainer import TrainingProgress


@dataclasses.dataclass
class SliceTraining:
    """Trains a replica on its slice of a round.

    Attributes:
      threads: of the replica.
      report: called after every step range, with the progress in the slice.
      base: the checkpoint that the round begins with.
      number: of the round.
    """

    options: Options
    records: Records
    threads: int
    report: Callable[[TrainingProgress], None]
    base: CheckpointRef
    rounds: Rounds
    number: int
    replica: int
    loss: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    """(sum, pairs) for each point of the loss curve, after `train`"""
    rows: int = 0
    """targets trained on"""
    opened: Opened = dataclasses.field(init=False)
    """what it was trained on, after `train`"""

    def train(self, shards: Iterable[BatchShard]) -> Backend:
        """Returns the backend with the trained weights.

        Args:
          shards: all that have positions of the slice, in any order; others are ignored.
        """
        given = list(shards)
        is_quiet = self.number + self.replica > 0  # one line on the device is enough
        options, schedule, threads = self.options, self.rounds.schedule, self.threads
        self.opened = new_backend(*self._weights(), options, schedule, threads, is_quiet)
        try:
            self._train(given)
        except DoesNotFitError as error:
            weights = self._weights()  # the slice begins again
            self.opened = instead_of_the_gpu(weights, error, self.base.step, options, schedule, threads)
            self.rows = 0
            self._train(given)
        return self.opened.backend

    def _train(self, shards: Iterable[BatchShard]) -> None:
        backend = self.opened.backend
        rounds, schedule = self.rounds, self.rounds.schedule
        index, epoch, batch_size = self._index, rounds.epoch(self.number), schedule.batch_size
        first, end = rounds.steps(index)
        before = epoch * schedule.steps_per_epoch
        points = _points(rounds)
        loss = np.zeros((points, 2))
        clock = time.monotonic()
        with ThreadPoolExecutor(self.threads, thread_name_prefix="batches") as pool, memory.reused():
            own_shards, ahead = self._shards(shards), pool if self.threads > 1 else None
            for steps in ranges_to_train(backend, own_shards, self.records, epoch, batch_size, first, end, ahead):
                step = before + steps.first
                rates = schedule.learning_rates(step, steps.steps)
                step_loss = backend.train(steps.rows, steps.bounds, rates)
                check_loss(step_loss, rates, step, schedule)
                point = (np.arange(steps.steps) + steps.first - first) * points // (end - first)
                np.add.at(loss, point, np.column_stack([step_loss.total, step_loss.pairs]))
                self.rows += int(steps.bounds[-1])
                done = steps.first + steps.steps
                positions = min(done * batch_size, schedule.positions) - first * batch_size
                recent = float(step_loss.total.sum()) / max(1, int(step_loss.pairs.sum()))
                seconds = time.monotonic() - clock
                self.report(
                    TrainingProgress(
                        before + done, schedule.steps, before + first, positions, self.rows, seconds, recent
                    )
                )
        self.loss = [(total, int(pairs)) for total, pairs in loss.tolist()]

    def changes(self, backend: Backend) -> Iterator[tuple[int, pa.Buffer]]:
        """(index, Parquet of the changes) of each partition of the base checkpoint, one at a time in memory."""
        w_in, w_out = backend.weights()
        check_weights(w_in, w_out, self.rounds.end(self.number), self.rounds.schedule)
        for index, block in enumerate(read_blocks(self.records, self.base)):
            first = index * BLOCK_ROWS
            rows = slice(first, first + len(block.words))
            changed = np.flatnonzero(((w_in[rows] != block.input) | (w_out[rows] != block.output)).any(axis=1)) + first
            yield index, changes_to_parquet(changed, w_in[changed], w_out[changed])

    @property
    def _index(self) -> int:
        return self.rounds.slice_index(self.number, self.replica)

    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        base = self.base
        w_in, w_out = (np.empty((base.words, base.dims), np.float32) for _ in range(2))
        for index, block in enumerate(read_blocks(self.records, base)):
            rows = slice(index * BLOCK_ROWS, index * BLOCK_ROWS + len(block.words))
            w_in[rows], w_out[rows] = block.input, block.output
        return w_in, w_out

    def _shards(self, shards: Iterable[BatchShard]) -> list[BatchShard]:
        """The shards that have positions of the slice, in order."""
        first, end = self.rounds.positions(self._index)
        epoch, records, given = self.rounds.epoch(self.number), self.records, list(shards)
        own = [shard for shard in given if has_positions(shard, records, epoch, first, end)]
        if replay := given[0].replay if given else None:
            end = min(end, replay.text + replay.positions[epoch])  # an epoch may be shorter than others
        if first >= end:
            return given[:1]
        return in_order(own, first, end, lambda shard: shard.span(records, epoch))


def _points(rounds: Rounds) -> int:
    """Number of points of the loss curve in a round; every replica's slice contributes to each."""
    steps = rounds.schedule.steps_per_epoch
    share = steps // rounds.rounds * LOSS_POINTS // rounds.schedule.steps
    return max(1, min(share, steps // (rounds.rounds * rounds.replicas)))
