"""The curves of a report: loss, learning rate and speed over a run, and its evaluations checkpoint by checkpoint."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.analysis.scores import Judged
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.checkpoints import CheckpointRef, checkpoints
from pipeline.model.vectors import OnProgress
from pipeline.runs.run import Run

POINTS = 240
"""Points of a curve, about."""
MEAN_OVER = 0.1
"""The part of a run that a running mean is of."""
MOST_CHECKPOINTS = 12
"""Checkpoints that are evaluated, where there are more: evenly spaced ones, with the first and the last."""


def curve(run: Run) -> dict[str, list[float | None]]:
    """Loss and learning rate, by the number of tokens that were passed over.

    "loss" is that of each point, and "mean" its running mean.
    """
    table = run.metrics()
    loss = table["loss"].to_numpy()
    columns = {"tokens": _passed(run, table), "loss": loss, "mean": running_mean(loss), "rate": table["learning_rate"]}
    if "holdout_loss" in table.column_names:
        columns["holdout"] = table["holdout_loss"]
    return {name: rounded(values) for name, values in columns.items()}


def running_mean(values: np.ndarray) -> np.ndarray:
    """float64 [n]: each value's mean with its neighbours; with fewer of them at both ends, where a loss falls fast.

    >>> running_mean(np.array([4.0, 2.0, 3.0, 4.0]))
    array([4. , 3. , 3. , 3.5])
    """
    reach = math.ceil(len(values) * MEAN_OVER / 2)
    sums = np.append(0.0, np.cumsum(values))
    place = np.arange(len(values))
    first = place - np.minimum(place, reach)
    last = np.minimum(place + np.minimum(place, reach), len(values) - 1) + 1
    return (sums[last] - sums[first]) / (last - first)


def speed(run: Run) -> dict[str, list[float | None]]:
    """Words per second by the number of tokens passed over: a running mean over a tenth of the time of training.

    Steps are trained in blocks, whose points share a time, and a resumed run begins at 0 again. So a rate between two
    points is noise; this one is the slope over a stretch of time.
    """
    table = run.metrics()
    return mean_speed(_passed(run, table), table["seconds"].to_numpy())


def mean_speed(passed: np.ndarray, clock: np.ndarray) -> dict[str, list[float | None]]:
    """The running mean of a speed.

    Args:
      passed: float64 [n], tokens passed over up to each point.
      clock: float64 [n], seconds of the process that was training; it falls where another one went on.
    """
    last = np.flatnonzero(np.diff(clock, append=-1.0) != 0)  # of the points that share a time
    passed, clock = passed[last], clock[last]
    took = np.diff(clock, prepend=0.0)
    time = np.cumsum(np.where(took < 0, clock, took))
    if len(time) < 3 or time[-1] <= time[0]:
        return {"tokens": [], "words": []}
    reach = max((time[-1] - time[0]) * MEAN_OVER / 2, float(np.diff(time).max()))
    middle = np.linspace(time[0], time[-1], POINTS)
    begin = np.clip(middle - reach, time[0], max(time[0], time[-1] - 2 * reach))  # at both ends, of the same length
    end = np.minimum(begin + 2 * reach, time[-1])
    words = (np.interp(end, time, passed) - np.interp(begin, time, passed)) / (end - begin)
    return {"tokens": rounded(np.interp(middle, time, passed)), "words": rounded(words)}


def _passed(run: Run, table: pa.Table) -> np.ndarray:
    """float64 [n]: token positions of all epochs up to each point of the loss curve."""
    tokens = run.vocabulary_tokens()
    return table["epoch"].to_numpy() * float(tokens) + table["position"].to_numpy()


def evaluations(
    run: Run, ref: CheckpointRef, judged: Judged, last: dict[str, Any], report: OnProgress = lambda done, total: None
) -> list[dict[str, Any]]:
    """What each checkpoint of a run scores on each file, where there are several checkpoints: name, steps, scores.

    Args:
      ref: the checkpoint that the report is of; later ones are left out.
      last: the results of that one.
      report: gets the number of checkpoints that are done.
    """
    known = [other for other in checkpoints(run.records, run.key(CHECKPOINTS)) if other.step < ref.step]
    if not judged or not known:
        return []
    places = np.unique(np.linspace(0, len(known) - 1, MOST_CHECKPOINTS - 1).astype(int)).tolist()
    steps, results = [], []
    for done, place in enumerate(places):
        steps.append(known[place].step)
        results.append(judged.evaluated(run.read_vectors(step=known[place].step)))
        report(done + 1, len(places))
    steps.append(ref.step)
    results.append(last)
    return [
        {"file": entry["file"], "kind": kind, "steps": steps, "scores": rounded([score(r[kind][i]) for r in results])}
        for kind, score in (("pairs", _spearman), ("analogies", _accuracy))
        for i, entry in enumerate(last[kind])
    ]


def _spearman(entry: dict[str, Any]) -> float:
    return math.nan if entry["spearman"] is None else float(entry["spearman"])


def _accuracy(entry: dict[str, Any]) -> float:
    accuracy = entry["total"]["accuracy"]
    return math.nan if accuracy is None else float(accuracy)


def log_spaced(size: int, points: int = POINTS) -> np.ndarray:
    """int64: rows from 0 to size - 1, at about equal distances on a logarithmic axis."""
    if size <= points:
        return np.arange(size)
    return np.unique(np.rint(np.logspace(0, math.log10(size), points)).astype(np.int64) - 1)


def rounded(values: Any, digits: int = 5) -> list[float | None]:
    """Numbers of so many digits, as JSON knows them: None if one is not finite."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in np.asarray(values).tolist()]
