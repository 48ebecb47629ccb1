"""Checks before and during training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.backends.backend import StepLoss
from pipeline.batches.sampling import Sampling
from pipeline.batches.schedule import Schedule, step_of
from pipeline.errors import InputError, NonFiniteError
from pipeline.options import MAX_POSITION, MAX_STEPS, Options
from pipeline.runtime.shown_text import counted
from pipeline.words.unigram import kept_share

ABSURD_LOSS = 100.0
"""Limit of the mean cross-entropy per pair of a step. Chance has 0.69, and healthy training is seldom above 5."""
FEW_STEPS = 400
"""With fewer steps than this a run learns little, and the user is warned."""

FEW_ROWS = 0.01
"""With a smaller share of the positions trained on in an epoch, the user is warned."""


def check_schedule(schedule: Schedule, options: Options, vocabulary: int, warn: Callable[[str], None]) -> None:
    """InputError if there is nothing to train on, too much, or too few words for the negatives."""
    Sampling.of(options).check(vocabulary)
    if not schedule.positions:
        remedy = (
            f": is the text of another kind than the parent's? New words come in when all text so far has them"
            f" --min_count={options.min_count} times"
        )
        raise InputError(
            f"there is no token to train on: no sentence has a word of the vocabulary{remedy if options.update else ''}"
        )
    if schedule.positions > MAX_POSITION:
        raise InputError(f"{schedule.positions:,} token positions are more than {MAX_POSITION:,}: train on a part")
    if schedule.steps > MAX_STEPS:
        raise InputError(
            f"{schedule.steps:,} training steps are more than {MAX_STEPS:,}: raise --batch_size"
            f" (now {options.batch_size}) or lower --epochs"
        )
    if schedule.steps < FEW_STEPS:
        warn(
            f"only {counted(schedule.steps, 'training step')}: more --epochs or a smaller --batch_size"
            f" (now {options.batch_size}) would train better"
        )


def has_few_rows(rows: int | None, positions: int) -> bool:
    """Whether an epoch has hardly a target to train on. Args as for `check_first_epoch`."""
    return rows is not None and rows < FEW_ROWS * positions


def check_first_epoch(
    rows: int | None, positions: int, counts: np.ndarray, options: Options, warn: Callable[[str], None]
) -> None:
    """InputError if the first epoch had no target to train on; a warning if it had few.

    Args:
      rows: targets trained on in the first epoch; None if not known.
      positions: of the corpus.
      counts: int64 [V], for the number of words that subsampling keeps.
    """
    if rows is None or not has_few_rows(rows, positions):
        return
    kept = round(positions * kept_share(counts, options.subsample))
    causes = [f"of {positions:,} words of the text, --subsample={options.subsample:g} keeps about {kept:,}"]
    if options.holdout:
        causes.append(f"--holdout={options.holdout:g} keeps sentences back from training")
    alone = max(0, round(kept * (1 - options.holdout)) - rows)
    causes.append(f"about {alone:,} are alone in their sentence, without a context")
    remedy = "raise --subsample (0 keeps every word), lower --min_count, or write longer sentences or baskets"
    if not rows:
        raise InputError(f"there is nothing to train on: {', '.join(causes)}: {remedy}")
    warn(f"only {rows:,} words are trained on in an epoch: {', '.join(causes)}: {remedy}")


def check_loss(loss: StepLoss, rates: np.ndarray, first: int, schedule: Schedule) -> None:
    """NonFiniteError if a loss is not finite, or so large that training must have diverged."""
    bad = np.flatnonzero(~(loss.total <= ABSURD_LOSS * loss.pairs))
    if len(bad):
        raise _diverged("the loss", first + int(bad[0]), float(rates[bad[0]]), schedule)


def check_weights(w_in: np.ndarray, w_out: np.ndarray, step: int, schedule: Schedule) -> None:
    """NonFiniteError if a weight is not finite after `step` steps."""
    if not (np.isfinite(w_in).all() and np.isfinite(w_out).all()):
        raise _diverged("a weight", step, float(schedule.learning_rates(max(0, step - 1), 1)[0]), schedule)


def _diverged(quantity: str, step: int, rate: float, schedule: Schedule) -> NonFiniteError:
    return NonFiniteError(
        f"{quantity} is not finite, or far too large, at {step_of(step, schedule.steps)} (learning rate"
        f" {rate:.4g}, damping {schedule.damping:g}): lower --damping or --learning_rate. The last checkpoint is"
        f" from before that"
    )
