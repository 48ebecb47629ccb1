"""The loss curve of a run on disk."""

from __future__ import annotations

from pipeline.model.loss_curve import STAGE, forget_points_after
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Record, Records


def test_points_after_a_checkpoint_are_forgotten_and_those_up_to_it_stay():
    records = Records(open_storage("memory://loss-curve"))
    for key, step in (("key", 10), ("key", 20), ("key", 30), ("other", 40)):
        records.commit(Record(STAGE, f"step={step:08d}", key, (), {"step": step}))
    forget_points_after(records, "key", 20)
    assert records.names(STAGE) == ["step=00000010", "step=00000020", "step=00000040"]
