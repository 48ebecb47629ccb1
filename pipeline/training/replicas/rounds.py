"""How training is cut for several replicas: rounds of slices, each a number of whole steps."""

from __future__ import annotations

import bisect
import dataclasses

from pipeline.batches.schedule import Schedule
from pipeline.errors import InputError
from pipeline.options import Options


@dataclasses.dataclass(frozen=True)
class Rounds:
    """An epoch is `rounds` rounds of `replicas` slices. Rounds are numbered through all epochs, from 0."""

    schedule: Schedule
    replicas: int
    rounds: int

    @classmethod
    def of(cls, options: Options, positions: int) -> Rounds:
        """Those of a corpus of so many positions; InputError if it has too few steps for them."""
        made = cls(Schedule.of(options, positions), options.replicas, options.rounds)
        slices, steps = made.replicas * made.rounds, made.schedule.steps_per_epoch
        if steps < slices:
            raise InputError(
                f"--replicas={made.replicas} in --rounds={made.rounds} need an epoch of at least {slices:,} training"
                f" steps, and {positions:,} token positions are {steps:,} of --batch_size={options.batch_size}:"
                " lower --rounds, --replicas or --batch_size"
            )
        return made

    @property
    def count(self) -> int:
        """Rounds of all epochs."""
        return self.schedule.epochs * self.rounds

    def epoch(self, number: int) -> int:
        return number // self.rounds

    def slice_index(self, number: int, replica: int) -> int:
        """Which slice of the epoch a replica trains on in a round: they follow each other in the corpus."""
        return number % self.rounds * self.replicas + replica

    def steps(self, index: int) -> tuple[int, int]:
        """First step of a slice of the epoch, and that behind its last, counted within the epoch."""
        steps, slices = self.schedule.steps_per_epoch, self.replicas * self.rounds
        return index * steps // slices, (index + 1) * steps // slices

    def positions(self, index: int) -> tuple[int, int]:
        """First position of a slice, and that behind its last."""
        first, end = self.steps(index)
        size = self.schedule.batch_size
        return first * size, min(end * size, self.schedule.positions)

    def slices_of(self, first: int, end: int) -> range:
        """The slices that the positions first..end-1 are in."""
        if first >= end:
            return range(0)
        steps, slices, size = self.schedule.steps_per_epoch, self.replicas * self.rounds, self.schedule.batch_size

        def slice_of(position: int) -> int:
            return ((position // size + 1) * slices - 1) // steps

        return range(slice_of(first), slice_of(end - 1) + 1)

    def end(self, number: int) -> int:
        """Steps done in all epochs when a round is over: where it leaves its checkpoint."""
        last = self.slice_index(number, self.replicas - 1)
        return self.epoch(number) * self.schedule.steps_per_epoch + self.steps(last)[1]

    def before(self, step: int) -> int:
        """How many rounds are over after `step` steps of all epochs."""
        return bisect.bisect_right(range(self.count), step, key=self.end)
