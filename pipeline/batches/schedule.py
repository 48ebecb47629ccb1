"""Which step a position belongs to, and how fast that step learns."""

from __future__ import annotations

import dataclasses

import numpy as np

from pipeline.kernels.float_mode import default_float_mode
from pipeline.options import Options

FINAL_SHARE = 1e-4
"""The learning rate falls to this part of what it began with."""


def step_name(step: int) -> str:
    """Of what is recorded after so many training steps; names sort as text."""
    return f"step={step:012d}"


def step_of(step: int, steps: int | None) -> str:
    """How every message and page names a step: "step 240 of 284"; "step 240" where nobody knows of how many."""
    return f"step {step:,}" if steps is None else f"step {step:,} of {steps:,}"


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A step covers `batch_size` consecutive positions; steps are numbered through all epochs."""

    positions: int
    batch_size: int
    epochs: int
    learning_rate: float
    damping: float

    @classmethod
    def of(cls, options: Options, positions: int) -> Schedule:
        """That of a corpus of so many token positions."""
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
        """Pairs up to which a row's gradients are summed at the full learning rate."""
        return np.float32(self.damping / self.learning_rate)

    def first_position(self, step: int) -> int:
        """Positions of all epochs that come before `step`."""
        epoch, inside = divmod(step, self.steps_per_epoch)
        return epoch * self.positions + min(inside * self.batch_size, self.positions)

    @default_float_mode()
    def learning_rates(self, first: int, count: int) -> np.ndarray:
        """float32 [count], of the steps from `first` on: linear, one float64 formula, rounded once."""
        done = np.arange(first, first + count, dtype=np.float64) / self.steps
        return (self.learning_rate * (1.0 - (1.0 - FINAL_SHARE) * done)).astype(np.float32)
