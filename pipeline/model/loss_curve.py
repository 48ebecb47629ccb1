"""The loss curve of a run, as it is read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.batches.schedule import step_name
from pipeline.errors import ArtifactError
from pipeline.storage.commits import Commits
from pipeline.storage.parquet import from_parquet
from pipeline.storage.records import Number, Records, stage_folder

STAGE = "metrics"
_NAME = re.compile(r"step=(\d{12})\.json")
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


@dataclasses.dataclass(frozen=True)
class PointNumbers:
    """What is recorded of some points of the loss curve."""

    step: Number
    """Training steps done when they were written; the points are of the steps since the record before."""


def forget_points_after(commits: Commits, step: int) -> None:
    """Remove what a lost process noted about steps that are trained again."""
    for record in commits.beside(STAGE).all():
        if record.read(PointNumbers).step > step:
            commits.records.remove(record)


def drop_lost_points(commits: Commits, say: Callable[[str], None]) -> None:
    """Removes points that are damaged, or named by no record: they cannot be made again. Tells which steps are lost."""
    records, ours = commits.records, commits.beside(STAGE)
    before, whole, lost = 0, set(), set()
    for path, record in records.scan(stage_folder(STAGE, commits.key)):
        match = _NAME.fullmatch(path.rpartition("/")[2])
        step = int(match[1]) if match else before
        damaged = record is None or any(records.damage(artifact) for artifact in record.artifacts)
        if damaged:
            say(f"the loss curve lacks the points of steps {before + 1:,} to {step:,}: they are damaged")
            records.storage.delete(path)
            lost.add(step_name(step))
        elif record:
            whole |= {artifact.path for artifact in record.artifacts}
        before = step
    for info in records.storage.list(ours.path("")):
        if info.path not in whole:
            if info.path.rpartition("/")[2].partition("-")[0] not in lost:  # else it is told already
                say(f"{records.storage.uri(info.path)} is removed: no record names these points of the loss curve")
            records.storage.delete(info.path)


def read_metrics(records: Records, key: str) -> pa.Table:
    """The loss curve of a run, by step; what a lost process wrote beyond its checkpoint is overwritten.

    Raises:
      ArtifactError: some of it is damaged, and cannot be made again without training.
    """
    found: list[tuple[int, pa.Table]] = []
    for path, record in records.scan(stage_folder(STAGE, key)):
        try:
            if record is None:
                raise ArtifactError(f"{records.storage.uri(path)} is damaged")
            if record.key == key:
                found.append((record.read(PointNumbers).step, from_parquet(records.read(record.artifacts[0]))))
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
    """Token positions a second, of the process that trained last; None if there are too few points to tell."""
    steps, seconds = curve["step"].to_numpy(), curve["seconds"].to_numpy()
    restarts = np.flatnonzero(np.diff(seconds) < 0)
    if len(restarts):
        steps, seconds = steps[restarts[-1] + 1 :], seconds[restarts[-1] + 1 :]
    if not len(steps) or seconds[-1] <= seconds[0]:
        return None
    first = int(np.flatnonzero(seconds == seconds[0])[-1])  # the points of a block share a time: its end
    return float((steps[-1] - steps[first]) * batch_size / (seconds[-1] - seconds[first]))
