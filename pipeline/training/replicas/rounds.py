"""How training is divided among replicas: rounds of slices, each of whole steps."""

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
        """The rounds for a corpus with so many positions; InputError if it has too few steps."""
        rounds = cls(Schedule.of(options, positions), options.replicas, options.rounds)
        slices, steps = rounds.replicas * rounds.rounds, rounds.schedule.steps_per_epoch
        if steps < slices:
            raise InputError(
                f"--replicas={rounds.replicas} in --rounds={rounds.rounds} need an epoch of at least"
                f" {slices:,} training steps, and {positions:,} token positions are {steps:,} of"
                f" --batch_size={options.batch_size}: lower --rounds, --replicas or --batch_size"
            )
        return rounds

    @property
    def count(self) -> int:
        """Number of rounds in all epochs."""
        return self.schedule.epochs * self.rounds

    def epoch(self, number: int) -> int:
        return number // self.rounds

    def slice_index(self, number: int, replica: int) -> int:
        """Which slice of the epoch a replica trains on in a round; slices follow each other in the corpus."""
        return number % self.rounds * self.replicas + replica

    def steps(self, index: int) -> tuple[int, int]:
        """(first step of a slice, step behind its last), counted within the epoch."""
        steps, slices = self.schedule.steps_per_epoch, self.replicas * self.rounds
        return index * steps // slices, (index + 1) * steps // slices

    def positions(self, index: int) -> tuple[int, int]:
        """(first position of a slice, position behind its last)."""
        first, end = self.steps(index)
        size = self.schedule.batch_size
        return first * size, min(end * size, self.schedule.positions)

    def slices_of(self, first: int, end: int) -> range:
        """The slices that have a position first..end-1."""
        if first >= end:
            return range(0)
        steps, slices, size = self.schedule.steps_per_epoch, self.replicas * self.rounds, self.schedule.batch_size

        def slice_of(position: int) -> int:
            return ((position // size + 1) * slices - 1) // steps

        return range(slice_of(first), slice_of(end - 1) + 1)

    def end(self, number: int) -> int:
        """Steps done in all epochs at the end of a round, where its checkpoint is written."""
        last = self.slice_index(number, self.replicas - 1)
        return self.epoch(number) * self.schedule.steps_per_epoch + self.steps(last)[1]

    def before(self, step: int) -> int:
        """How many rounds have ended after `step` steps of all epochs."""
        return bisect.bisect_right(range(self.count), step, key=self.end)
