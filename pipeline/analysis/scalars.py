"""The loss curve as scalars for TensorBoard, by tensorboardX."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterator

import pyarrow as pa

from pipeline.errors import InputError

FILE = "events.out.tfevents.0.beam2vec"
"""TensorBoard takes a file for one of events by its beginning, and puts several in the order of the number."""
_COLUMNS = ("loss", "holdout_loss", "learning_rate", "epoch")


def events(metrics: pa.Table) -> bytes:
    """The content of a file of events: an event for each point, whose time is that of training, from 0.

    Args:
      metrics: of `Run.metrics`.

    Raises:
      InputError: tensorboardX is not installed.
    """
    try:
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event
    except ImportError as error:
        raise InputError("--format=tensorboard needs tensorboardX: pip install 'beam2vec[tensorboard]'") from error
    with tempfile.TemporaryDirectory(prefix="beam2vec-") as folder:
        path = pathlib.Path(folder) / FILE
        writer = RecordWriter(str(path))
        writer.write(Event(file_version="brain.Event:2").SerializeToString())
        for step, seconds, scalars in _points(metrics):
            event = Event(wall_time=seconds, step=step)
            for tag, value in scalars.items():
                event.summary.value.add(tag=tag, simple_value=value)
            writer.write(event.SerializeToString())
        writer.close()
        return path.read_bytes()


def _points(metrics: pa.Table) -> Iterator[tuple[int, float, dict[str, float]]]:
    """(step, seconds, tag -> value) of each point."""
    for row in metrics.to_pylist():
        scalars = {name: row[name] for name in _COLUMNS if row.get(name) is not None}
        yield row["step"], row["seconds"], scalars
