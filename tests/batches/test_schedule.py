"""The learning rate of a step."""

import numpy as np
import pytest

from pipeline.batches.schedule import Schedule


def test_learning_rate_falls_in_a_line():
    schedule = Schedule(positions=1000, batch_size=100, epochs=3, learning_rate=0.05, damping=6.4)
    assert (schedule.steps_per_epoch, schedule.steps) == (10, 30)
    rates = schedule.learning_rates(0, 31)
    assert rates.dtype == np.float32
    assert rates[0] == np.float32(0.05)
    assert rates[30] == pytest.approx(0.05e-4)
    np.testing.assert_allclose(np.diff(rates), rates[1] - rates[0], rtol=1e-3)
    np.testing.assert_array_equal(schedule.learning_rates(7, 5), rates[7:12])
    assert schedule.tau == np.float32(128)
    assert [schedule.first_position(step) for step in (0, 9, 10, 30)] == [0, 900, 1000, 3000]
