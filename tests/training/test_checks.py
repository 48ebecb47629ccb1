"""What stops training: losses and weights that leave the numbers, and more steps than names have room for."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pipeline.backends.backend import StepLoss
from pipeline.batches.schedule import Schedule
from pipeline.errors import InputError, InterruptedRunError, NonFiniteError
from pipeline.model.checkpoints import checkpoints
from pipeline.training.checks import ABSURD_LOSS, check_first_epoch, check_loss, check_schedule, check_weights
from tests.helpers.trainings import KEY, new_records, options_of, train

SCHEDULE = Schedule(positions=1000, batch_size=10, epochs=1, learning_rate=0.05, damping=60)
RATES = np.float32([0.05, 0.04, 0.03])
NOTHING = (
    "there is nothing to train on: of 6,000 words of the text, --subsample=1e-09 keeps about [0-9]+, about [0-9]+ are"
    " alone in their sentence, without a context: raise --subsample"
)
FEW = "only [0-9]+ words are trained on in an epoch: of 6,000 words of the text, --subsample=3e-07 keeps about [0-9]+,"


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


@pytest.mark.parametrize(("epochs", "every"), [(1, 5), (3, 5), (3, 24)])
def test_a_first_epoch_without_a_row_ends_without_a_checkpoint(epochs, every):
    options, records = options_of(subsample=1e-9, epochs=epochs, checkpoint_every=every), new_records()
    with pytest.raises(InputError, match=NOTHING):
        train(options, records)
    assert checkpoints(records, KEY) == []
    with pytest.raises(InputError, match=NOTHING):  # and again: nothing was kept that hides it
        train(options, records)


def test_stopped_before_the_first_row_it_keeps_no_checkpoint():
    options, records = options_of(subsample=1e-9, epochs=3, checkpoint_every=1), new_records()
    with pytest.raises(InterruptedRunError):
        train(options, records, stop=lambda: True)
    assert checkpoints(records, KEY) == []


def test_few_rows_are_told_once_a_command_however_often_it_was_interrupted():
    options = options_of(subsample=3e-7, checkpoint_every=5)
    told = []
    whole = train(options, warn=told.append)
    (wanted,) = [line for line in told if "are trained on" in line]
    assert re.match(FEW, wanted), wanted
    records = new_records()
    for looks in (1, 1, 3):  # within the first epoch, later in it, and in the second
        asked, told = iter([False] * looks + [True]), []
        with pytest.raises(InterruptedRunError):
            train(options, records, stop=lambda asked=asked: next(asked), warn=told.append)
    for _ in range(2):  # the last command, and the same again
        told = []
        assert train(options, records, warn=told.append) == whole
        assert [line for line in told if "are trained on" in line] == [wanted]


def test_counts_of_rows_that_are_not_known_tell_nothing():
    check_first_epoch(None, 1000, np.array([1000]), options_of(), pytest.fail)
    check_first_epoch(10, 1000, np.array([1000]), options_of(), pytest.fail)
    check_first_epoch(0, 0, np.array([1000]), options_of(), pytest.fail)
