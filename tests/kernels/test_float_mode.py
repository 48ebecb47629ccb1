"""A library that switches the float mode of the process decides no byte of a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.batches.schedule import Schedule
from pipeline.kernels.float_mode import _switch
from pipeline.kernels.lanes import DEFAULT_FLOAT_MODE
from pipeline.model.initial_vectors import initial_vectors
from pipeline.options import Options
from pipeline.words import unigram

FLUSH_TO_ZERO, ROUND_UP = DEFAULT_FLOAT_MODE | 0x8040, DEFAULT_FLOAT_MODE | 0x4000


def schedule(**options: float) -> Schedule:
    return Schedule.of(Options.checked(options), 1_000_000)


MADE: dict[str, Callable[[], bytes]] = {
    "learning rates": lambda: schedule().learning_rates(0, 1000).tobytes(),
    "tiny learning rates": lambda: schedule(learning_rate=1e-37).learning_rates(0, 1000).tobytes(),
    "damping": lambda: schedule(damping=1e-44).tau.tobytes(),
    "initial vectors": lambda: initial_vectors(map(str, range(100)), 100, 1).tobytes(),
    "unigram distribution": lambda: repr(unigram.build(np.arange(1, 99), 0.7, 1e-3).to_table().to_pydict()).encode(),
    "subsampling": lambda: unigram.keep_thresholds(np.arange(1, 1000), 1e-310).tobytes(),
}


@pytest.mark.parametrize("mode", [FLUSH_TO_ZERO, ROUND_UP])
@pytest.mark.parametrize("what", MADE)
def test_what_a_model_is_made_of_does_not_depend_on_it(mode, what):
    wanted = MADE[what]()
    before = _switch(np.uint32(mode))
    try:
        found = MADE[what]()
        assert _switch(np.uint32(mode)) & 0xFFC0 == mode & 0xFFC0  # put back
    finally:
        _switch(before)
    assert found == wanted
