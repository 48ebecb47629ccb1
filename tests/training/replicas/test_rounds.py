"""How training is cut into rounds and slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.schedule import Schedule
from pipeline.errors import InputError
from pipeline.options import Options
from pipeline.training.replicas.rounds import Rounds

# How an epoch is cut


@given(st.integers(1, 400), st.integers(1, 9), st.integers(2, 6), st.integers(1, 5), st.integers(1, 3))
def test_slices_hold_every_position_once_in_order(positions, batch_size, replicas, rounds, epochs):
    schedule = Schedule(positions, batch_size, epochs, 0.05, 6.4)
    options = Options(batch_size=batch_size, replicas=replicas, rounds=rounds, epochs=epochs)
    if schedule.steps_per_epoch < replicas * rounds:
        with pytest.raises(InputError, match="lower --rounds, --replicas or --batch_size"):
            Rounds.of(options, positions)
        return
    made = Rounds.of(options, positions)
    reached, slice_of = 0, np.empty(positions, int)
    for number in range(rounds):
        for replica in range(replicas):
            index = made.slice_index(number, replica)
            first, end = made.positions(index)
            assert first == reached < end
            assert first % batch_size == 0
            slice_of[first:end] = index
            reached = end
        assert made.end(number) == -(-reached // batch_size)
    assert reached == positions
    assert made.end(made.count - 1) == schedule.steps
    for first, end in ((0, positions), (positions // 3, positions // 2), (positions - 1, positions), (0, 0)):
        assert list(made.slices_of(first, end)) == sorted(set(slice_of[first:end].tolist()))
    ends = [made.end(number) for number in range(made.count)]
    for step in range(schedule.steps + 1):
        assert made.before(step) == sum(end <= step for end in ends)
