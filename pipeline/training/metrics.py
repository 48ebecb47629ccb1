"""Writes the loss curve: a few hundred points of a run, in Parquet beside its checkpoints.

metrics/KEY/step=000000012345-89abcdef.parquet
  step, epoch, position int64; loss float64 (mean cross-entropy per pair);
  learning_rate float32; seconds float64 (of the process that wrote it);
  with --holdout also holdout_loss float64, null where it was not taken
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa

from pipeline.backends.backend import StepLoss
from pipeline.batches.schedule import Schedule, step_name
from pipeline.model.loss_curve import SCHEMA, STAGE, PointNumbers, TrainedOn
from pipeline.storage.commits import Commits
from pipeline.storage.parquet import to_parquet

LOSS_POINTS = 500
"""About how many points a whole run has."""


@dataclasses.dataclass
class _Point:
    step: int
    rate: float
    seconds: float
    total: float = 0.0
    pairs: int = 0
    holdout_loss: float | None = None


class MetricsLog:
    """Collects the loss of steps into points, and writes those since the last checkpoint."""

    def __init__(self, schedule: Schedule, holdout: bool = False):
        self._schedule = schedule
        self._every = max(1, schedule.steps // LOSS_POINTS)
        self._points: list[_Point] = []
        self._devices: list[TrainedOn] = []
        self._schema = SCHEMA.append(pa.field("holdout_loss", pa.float64())) if holdout else SCHEMA
        self.recent_loss = float("nan")

    def add(self, first: int, rates: np.ndarray, loss: StepLoss, seconds: float) -> None:
        """Adds the losses of consecutive steps from `first` on."""
        for i, (total, pairs) in enumerate(zip(loss.total.tolist(), loss.pairs.tolist())):
            step = first + i
            if not self._points or self._points[-1].step // self._every != step // self._every:
                self._points.append(_Point(step, float(rates[i]), seconds))
            point = self._points[-1]
            point.step, point.rate, point.seconds = step, float(rates[i]), seconds
            point.total += total
            point.pairs += pairs
        pairs = int(loss.pairs.sum())
        if pairs:
            self.recent_loss = float(loss.total.sum()) / pairs

    def trained_on(self, step: int, device: str, reason: str) -> None:
        """Notes the device of all steps from `step` on."""
        self._devices.append(TrainedOn(step, device, reason))

    def add_holdout(self, loss: float) -> None:
        """Adds the loss on sentences kept back, after the steps that were added last."""
        if self._points:
            self._points[-1].holdout_loss = loss

    def write(self, commits: Commits, step: int) -> None:
        """Commits the points so far, which are those before `step`, and starts again without points.

        Args:
          commits: of the checkpoints.
        """
        points = [point for point in self._points if point.pairs]
        self._points = []
        if not points:
            return
        per_epoch = self._schedule.steps_per_epoch
        columns = {
            "step": [p.step + 1 for p in points],
            "epoch": [p.step // per_epoch for p in points],
            "position": [
                min(self._schedule.positions, (p.step % per_epoch + 1) * self._schedule.batch_size) for p in points
            ],
            "loss": [p.total / p.pairs for p in points],
            "learning_rate": [p.rate for p in points],
            "seconds": [p.seconds for p in points],
            "holdout_loss": [p.holdout_loss for p in points],
        }
        columns = {name: columns[name] for name in self._schema.names}
        commits, name = commits.beside(STAGE), step_name(step)
        data = to_parquet(pa.table(columns, schema=self._schema))
        before = commits.load(name)
        # The bytes differ from run to run, because seconds do. The digest in the name keeps points and record
        # consistent if the process is killed between them.
        artifact = commits.put(f"{name}-{hashlib.sha256(data).hexdigest()[:8]}.parquet", data)
        commits.commit(name, [artifact], PointNumbers(step, self._devices))
        self._devices = self._devices[-1:]
        for old in before.artifacts if before else ():
            if old.path != artifact.path:
                commits.delete(old.path)
