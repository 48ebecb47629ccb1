"""The loss curve: a few hundred points of a run, in Parquet beside its checkpoints.

metrics/step=00012345-89abcdef.parquet
  step, epoch, position int64; loss float64 (mean cross-entropy per pair);
  learning_rate float32; seconds float64 (of the process that wrote it);
  with --holdout also holdout_loss float64, null where it was not taken
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.backends import StepLoss
from pipeline.batches.schedule import Schedule
from pipeline.errors import ArtifactError
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Record, Records

STAGE = "metrics"
POINTS = 500
"""Points of a whole run, about."""
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in {
            "step": pa.int64(),
            "epoch": pa.int64(),
            "position": pa.int64(),
            "loss": pa.float64(),
            "learning_rate": pa.float32(),
            "seconds": pa.float64(),
        }.items()
    ]
)


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
        self._every = max(1, schedule.steps // POINTS)
        self._points: list[_Point] = []
        self._schema = SCHEMA.append(pa.field("holdout_loss", pa.float64())) if holdout else SCHEMA
        self.recent_loss = float("nan")

    def add(self, first: int, rates: np.ndarray, loss: StepLoss, seconds: float) -> None:
        """Take in consecutive steps from `first` on."""
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

    def add_holdout(self, loss: float) -> None:
        """The loss on text kept back, after the steps that were added last."""
        if self._points:
            self._points[-1].holdout_loss = loss

    def write(self, records: Records, key: str, step: int) -> None:
        """Commit the points so far as those before `step`, and begin anew."""
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
        name, data = f"step={step:08d}", to_parquet(pa.table(columns, schema=self._schema))
        # Seconds differ from run to run: a name of their own keeps points and record together at any kill.
        path = f"{STAGE}/{name}-{hashlib.sha256(data).hexdigest()[:8]}.parquet"
        before = records.load(STAGE, name, key)
        artifact = records.write_artifact(path, data)
        records.commit(Record(STAGE, name, key, (artifact,), {"step": step}))
        for old in before.artifacts if before else ():
            if old.path != path:
                records.storage.delete(old.path)


def forget_points_after(records: Records, key: str, step: int) -> None:
    """Remove what a lost process noted about steps that are trained again."""
    for record in records.all(STAGE):
        if record.key == key and record.numbers["step"] > step:
            records.remove(record)


def read_metrics(records: Records, key: str) -> pa.Table:
    """The loss curve of a run, by step; what a lost process wrote beyond its checkpoint is overwritten.

    Raises:
      ArtifactError: some of it is damaged, and cannot be made again without training.
    """
    found: list[tuple[int, pa.Table]] = []
    for path, record in records.scan(STAGE):
        try:
            if record is None:
                raise ArtifactError(f"{records.storage.uri(path)} is damaged")
            if record.key == key:
                found.append((record.numbers["step"], from_parquet(records.read(record.artifacts[0]))))
        except ArtifactError as error:
            remedy = f"delete {records.storage.uri(path)}, and the loss curve is shown without these points"
            raise ArtifactError(error.problem, remedy) from error
    tables = [table for _, table in sorted(found, key=lambda one: one[0])]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    steps = table["step"].to_numpy()
    last = {step: row for row, step in enumerate(steps.tolist())}
    return table.take(pa.array(sorted(last.values()), pa.int64())).sort_by("step")


def up_to(curve: pa.Table, step: int) -> pa.Table:
    """The points of the first `step` steps; none where the last of them are missing, for what they would say."""
    part = curve.filter(pc.less_equal(curve["step"], step))
    steps = part["step"].to_numpy()
    reached = len(steps) and step - steps[-1] <= np.diff(steps, prepend=0).max()
    return part if reached else part.slice(0, 0)


def final_loss(curve: pa.Table) -> float | None:
    """Mean loss of the last twentieth of the points: one point alone is a small sample. None without points."""
    losses = curve["loss"].to_numpy()
    return float(losses[-max(1, len(losses) // 20) :].mean()) if len(losses) else None


def training_rate(curve: pa.Table, batch_size: int) -> float | None:
    """Token positions a second, of the process that trained last; None where there are too few points to tell."""
    steps, seconds = curve["step"].to_numpy(), curve["seconds"].to_numpy()
    restarts = np.flatnonzero(np.diff(seconds) < 0)
    if len(restarts):
        steps, seconds = steps[restarts[-1] + 1 :], seconds[restarts[-1] + 1 :]
    if not len(steps) or seconds[-1] <= seconds[0]:
        return None
    first = int(np.flatnonzero(seconds == seconds[0])[-1])  # the points of a block share a time: its end
    return float((steps[-1] - steps[first]) * batch_size / (seconds[-1] - seconds[first]))
