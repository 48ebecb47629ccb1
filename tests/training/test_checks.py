"""What stops training: losses and weights that leave the numbers, and more steps than names have room for."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.backends.backend import StepLoss
from pipeline.batches.schedule import Schedule
from pipeline.errors import InputError, NonFiniteError
from pipeline.training.checks import ABSURD_LOSS, check_loss, check_schedule, check_weights
from tests.helpers.trainings import options_of

SCHEDULE = Schedule(positions=1000, batch_size=10, epochs=1, learning_rate=0.05, damping=60)
RATES = np.float32([0.05, 0.04, 0.03])


@pytest.mark.parametrize("bad", [np.nan, np.inf, ABSURD_LOSS * 10 * 1.01])
def test_a_loss_that_is_no_number_or_absurd_names_its_step(bad):
    pairs = np.array([10, 10, 0])
    check_loss(StepLoss(np.array([7.0, ABSURD_LOSS * 10, 0.0]), pairs), RATES, 40, SCHEDULE)
    with pytest.raises(NonFiniteError, match=r"^the loss is .* at step 41 of 100 \(learning rate 0\.04, damping 60\)"):
        check_loss(StepLoss(np.array([7.0, bad, 0.0]), pairs), RATES, 40, SCHEDULE)


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_a_weight_that_is_no_number_names_the_step(bad):
    good, spoiled = np.zeros((3, 2), np.float32), np.float32([[0, 0], [0, bad], [0, 0]])
    check_weights(good, good, 40, SCHEDULE)
    for sides in ((good, spoiled), (spoiled, good)):
        with pytest.raises(NonFiniteError, match=r"^a weight is not finite, .* at step 40 of 100 "):
            check_weights(*sides, 40, SCHEDULE)


def test_more_steps_than_a_name_has_digits_for_are_refused():
    options = options_of(batch_size=1, epochs=65_535)
    with pytest.raises(InputError, match=r"1,000,064,100,000 training .* raise --batch_size \(now 1\) or lower --ep"):
        check_schedule(Schedule.of(options, 15_260_000), options, 300, print)
    check_schedule(Schedule.of(options, 15_000_000), options, 300, print)
