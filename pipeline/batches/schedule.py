"""Which step a position belongs to, and how fast that step learns."""

from __future__ import annotations

import dataclasses

import numpy as np

from pipeline.kernels.float_mode import default_float_mode
from pipeline.options import Options

FINAL_SHARE = 1e-4
"""The learning rate falls to this share of the first one."""


def step_name(step: int) -> str:
    """The name of the record of a checkpoint, or a point of the loss curve, after so many steps; sorts as text."""
    return f"step={step:012d}"


def step_of(step: int, steps: int | None) -> str:
    """How messages and pages name a step: "step 240 of 284"; "step 240" if the number of steps is not known."""
    return f"step {step:,}" if steps is None else f"step {step:,} of {steps:,}"


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Which positions a step covers, and its learning rate. Steps are numbered through all epochs.

    >>> schedule = Schedule.of(Options(batch_size=100, epochs=2, learning_rate=0.05), positions=250)
    >>> schedule.steps_per_epoch, schedule.steps
    (3, 6)
    >>> schedule.first_position(3)  # the first step of the second epoch
    250
    >>> schedule.learning_rates(0, 6)
    array([0.05     , 0.0416675, 0.033335 , 0.0250025, 0.01667  , 0.0083375],
          dtype=float32)
    """

    positions: int
    batch_size: int
    epochs: int
    learning_rate: float
    damping: float

    @classmethod
    def of(cls, options: Options, positions: int) -> Schedule:
        """The schedule of a corpus with so many positions (in-vocabulary tokens).

        With --update, those of the epoch that has most: in others the last steps are short, or have no rows.
        """
        return cls(positions, options.batch_size, options.epochs, options.learning_rate, options.damping)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.positions // self.batch_size)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    @property
    @default_float_mode()
    def tau(self) -> np.float32:
        """damping / learning_rate: a weight row with more pairs in a step is damped. float32."""
        return np.float32(self.damping / self.learning_rate)

    def first_position(self, step: int) -> int:
        """How many positions, of all epochs, come before `step`."""
        epoch, inside = divmod(step, self.steps_per_epoch)
        return epoch * self.positions + min(inside * self.batch_size, self.positions)

    @default_float_mode()
    def learning_rates(self, first: int, count: int) -> np.ndarray:
        """Learning rates of the steps from `first` on, float32 [count].

        lr(step) = learning_rate (1 - (1 - FINAL_SHARE) step / steps), in float64, rounded once.
        """
        done = np.arange(first, first + count, dtype=np.float64) / self.steps
        return (self.learning_rate * (1.0 - (1.0 - FINAL_SHARE) * done)).astype(np.float32)
