"""Points of the loss curve."""

from __future__ import annotations

import numpy as np

from pipeline.backends.backend import StepLoss
from pipeline.batches.schedule import Schedule
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.loss_curve import read_metrics
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from pipeline.training.metrics import MetricsLog
from tests.helpers.keys import KEY


def test_a_point_says_which_step_epoch_and_position_it_is_about():
    """25 positions in steps of 10: the third step of an epoch ends with the text."""
    commits = Commits(Records(open_storage("memory://metrics-points")), CHECKPOINTS, KEY)
    schedule = Schedule(positions=25, batch_size=10, epochs=2, learning_rate=0.05, damping=60)
    log, rates = MetricsLog(schedule), schedule.learning_rates(0, 6)
    log.add(0, rates[:4], StepLoss(np.arange(4.0) + 1, np.full(4, 2)), seconds=1.0)
    log.write(commits, 4)
    log.add(4, rates[4:], StepLoss(np.array([6.0, 0.0]), np.array([3, 0])), seconds=2.0)
    log.write(commits, 6)
    assert read_metrics(commits.records, KEY).to_pylist() == [
        {
            "step": n + 1,
            "epoch": n // 3,
            "position": position,
            "loss": loss,
            "learning_rate": rates[n],
            "seconds": seconds,
        }
        for n, (position, loss, seconds) in enumerate(
            [(10, 0.5, 1.0), (20, 1.0, 1.0), (25, 1.5, 1.0), (10, 2.0, 1.0), (20, 2.0, 2.0)]  # no pair, no point
        )
    ]
