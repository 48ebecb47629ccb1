"""What stops training, or is told before it begins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.backends.backend import StepLoss
from pipeline.batches.sampling import Sampling
from pipeline.batches.schedule import Schedule, step_of
from pipeline.errors import InputError, NonFiniteError
from pipeline.options import MAX_POSITION, MAX_STEPS, Options

ABSURD_LOSS = 100.0
"""Mean cross-entropy per pair of a step: chance is 0.69, and what is being learned seldom costs above 5."""
FEW_STEPS = 400
"""A run of fewer steps than this learns little from each: the user is told."""


def check_schedule(schedule: Schedule, options: Options, vocabulary: int, warn: Callable[[str], None]) -> None:
    """InputError if there is nothing to train on, too much, or too few words for the negatives."""
    Sampling.of(options).check(vocabulary)
    if not schedule.positions:
        raise InputError("no token is left to train on: the vocabulary's words are in no sentence")
    if schedule.positions > MAX_POSITION:
        raise InputError(f"{schedule.positions:,} token positions are more than {MAX_POSITION:,}: train on a part")
    if schedule.steps > MAX_STEPS:
        raise InputError(
            f"{schedule.steps:,} training steps are more than {MAX_STEPS:,}: raise --batch_size"
            f" (now {options.batch_size}) or lower --epochs"
        )
    if schedule.steps < FEW_STEPS:
        warn(
            f"only {schedule.steps} training steps: more --epochs or a smaller --batch_size"
            f" (now {options.batch_size}) would train better"
        )


def check_loss(loss: StepLoss, rates: np.ndarray, first: int, schedule: Schedule) -> None:
    """NonFiniteError for a loss that is not finite, or so large that the vectors can only be running away."""
    bad = np.flatnonzero(~(loss.total <= ABSURD_LOSS * loss.pairs))
    if len(bad):
        raise _diverged("the loss", first + int(bad[0]), float(rates[bad[0]]), schedule)


def check_weights(w_in: np.ndarray, w_out: np.ndarray, step: int, schedule: Schedule) -> None:
    """NonFiniteError for a weight that is not finite after `step` steps."""
    if not (np.isfinite(w_in).all() and np.isfinite(w_out).all()):
        raise _diverged("a weight", step, float(schedule.learning_rates(max(0, step - 1), 1)[0]), schedule)


def _diverged(what: str, step: int, rate: float, schedule: Schedule) -> NonFiniteError:
    return NonFiniteError(
        f"{what} is not finite, or absurdly large, at {step_of(step, schedule.steps)} (learning rate"
        f" {rate:.4g}, damping {schedule.damping:g}): lower --damping or --learning_rate; the last checkpoint is"
        f" from before"
    )
