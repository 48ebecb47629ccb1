"""The loss curve of a run on disk."""

from __future__ import annotations

from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.loss_curve import STAGE, PointNumbers, forget_points_after, points_name
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records


def test_points_after_a_checkpoint_are_forgotten_and_those_up_to_it_stay():
    ours, other = (Commits(Records(open_storage("memory://loss-curve")), CHECKPOINTS, key * 32) for key in "ab")
    for commits, step in ((ours, 10), (ours, 20), (ours, 30), (other, 40)):
        commits.beside(STAGE).commit(points_name(step), (), PointNumbers(step))
    forget_points_after(ours, 20)
    assert ours.records.names(STAGE, ours.key) == [points_name(10), points_name(20)]
    assert other.records.names(STAGE, other.key) == [points_name(40)]
