"""The loss curve of a run: reads it, and removes points that are lost or will be made again."""

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
class TrainedOn:
    """A device, from a training step on."""

    step: Number
    device: str
    """"CPU", or the GPU's name"""
    reason: str = ""
    """why it was the CPU where somebody may have counted on a GPU"""


@dataclasses.dataclass(frozen=True)
class PointNumbers:
    """What is recorded of some points of the loss curve."""

    step: Number
    """training steps done when the points were written; they are of the steps since the record before"""
    devices: list[TrainedOn] = dataclasses.field(default_factory=list)
    """what these steps were trained on, in their order; of several replicas, what they said"""


def forget_points_after(commits: Commits, step: int) -> None:
    """Removes the points of a lost process about steps that will be trained again."""
    for record in commits.beside(STAGE).all():
        if record.read(PointNumbers).step > step:
            commits.remove(record)


def drop_lost_points(commits: Commits, say: Callable[[str], None]) -> None:
    """Removes points that are damaged or that no record names, and says which steps are lost for good."""
    records, metrics = commits.records, commits.beside(STAGE)
    before, whole, lost = 0, set(), set()
    for path, record in records.scan(stage_folder(STAGE, commits.key)):
        match = _NAME.fullmatch(path.rpartition("/")[2])
        step = int(match[1]) if match else before
        damaged = record is None or any(records.damage(artifact) for artifact in record.artifacts)
        if damaged:
            say(f"the loss curve lacks the points of steps {before + 1:,} to {step:,}: they are damaged")
            commits.delete(path)
            lost.add(step_name(step))
        elif record:
            whole |= {artifact.path for artifact in record.artifacts}
        before = step
    unnamed = [info for info in records.storage.list(metrics.path("")) if info.path not in whole]
    if unnamed:
        metrics.settle()
    for info in unnamed:
        if info.path.rpartition("/")[2].partition("-")[0] not in lost:  # otherwise it was said above
            say(f"{records.storage.uri(info.path)} is removed: no record names these points of the loss curve")
        commits.delete(info.path)


def read_metrics(records: Records, key: str) -> pa.Table:
    """The loss curve of a run, by step. Where two processes have written a point of a step, the later one counts.

    Raises:
      ArtifactError: a part of it is damaged; it cannot be made again without training.
    """
    tables_by_step: list[tuple[int, pa.Table]] = []
    for path, record in records.scan(stage_folder(STAGE, key)):
        try:
            if record is None:
                raise ArtifactError(f"{records.storage.uri(path)} is damaged")
            if record.key == key:
                tables_by_step.append((record.read(PointNumbers).step, from_parquet(records.read(record.artifact))))
        except ArtifactError as error:
            remedy = f"delete {records.storage.uri(path)}, and the loss curve is shown without these points"
            raise ArtifactError(error.problem, remedy) from error
    tables = [table for _, table in sorted(tables_by_step, key=lambda step_and_table: step_and_table[0])]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    steps = table["step"].to_numpy()
    last = {step: row for row, step in enumerate(steps.tolist())}
    return table.take(pa.array(sorted(last.values()), pa.int64())).sort_by("step")


def read_devices(records: Records, key: str) -> list[TrainedOn]:
    """What a run was trained on, by step; each stands until the next. Nothing about points whose record is damaged."""
    found: list[TrainedOn] = []
    for _, record in records.scan(stage_folder(STAGE, key)):
        if record is not None and record.key == key:
            for device in record.read(PointNumbers).devices:
                if not found or (found[-1].device, found[-1].reason) != (device.device, device.reason):
                    found.append(device)
    return found


def up_to(curve: pa.Table, step: int) -> pa.Table:
    """The points of the first `step` steps; no points if the last ones before `step` are missing."""
    points = curve.filter(pc.less_equal(curve["step"], step))
    steps = points["step"].to_numpy()
    reached = len(steps) and step - steps[-1] <= np.diff(steps, prepend=0).max()
    return points if reached else points.slice(0, 0)


def final_loss(curve: pa.Table) -> float | None:
    """Mean loss of the last twentieth of the points, since a single point is a small sample; None without points."""
    losses = curve["loss"].to_numpy()
    return float(losses[-max(1, len(losses) // 20) :].mean()) if len(losses) else None


def training_rate(curve: pa.Table, batch_size: int) -> float | None:
    """Token positions per second, of the process that trained last; None if there are too few points."""
    steps, seconds = curve["step"].to_numpy(), curve["seconds"].to_numpy()
    restarts = np.flatnonzero(np.diff(seconds) < 0)
    if len(restarts):
        steps, seconds = steps[restarts[-1] + 1 :], seconds[restarts[-1] + 1 :]
    if not len(steps) or seconds[-1] <= seconds[0]:
        return None
    first = int(np.flatnonzero(seconds == seconds[0])[-1])  # the points of a step range have the same time: its end
    return float((steps[-1] - steps[first]) * batch_size / (seconds[-1] - seconds[first]))
