"""Steps whose rows are on the device: one graph starts many, so that a step costs the host next to nothing.

What differs from step to step is listed on the device once for all steps of a call: a kernel makes the packed step of
it (copy_step in generate.cu). The graph of n steps has the launches of n steps, the plan of each beside the training of
the one before. Before each graph, the host only says with which of the listed steps it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.backends.cuda.buffers import allocate
from pipeline.backends.cuda.device_rows import STEP_NUMBERS, DeviceRows

MOST_STEPS = 32
"""Of a graph; there are graphs of 1, 2, 4, ... steps."""


class MadeSteps:
    """Starts steps on two streams."""

    def __init__(self, cupy: Any, pinned: Callable[..., np.ndarray], plan_stream: Any, train_stream: Any):
        self._cupy, self._pinned = cupy, pinned
        self._plan_stream, self._train_stream = plan_stream, train_stream
        self._begun, *self._planned = (cupy.cuda.Event(disable_timing=True) for _ in range(3))
        self._trained = [cupy.cuda.Event(disable_timing=True) for _ in range(2)]
        self.graphs: dict[int, Any] = {}
        """number of steps -> launches; to be cleared when an array that they use is replaced"""
        self._arrays: list[int] = []
        """addresses of the arrays of rows that the graphs use"""
        self._steps: Any = None
        self._host_steps = self._numbers = np.empty(0, np.int32)
        self._is_warm = False

    def make_room(self, steps: int, tiles: int) -> None:
        """Makes room for a list of so many steps. No step is in progress when this is called."""
        needed = 1 + steps * (STEP_NUMBERS + tiles + 1)
        if needed > len(self._host_steps):
            self.graphs.clear()
            room = needed + needed // 8
            self._steps, self._host_steps = allocate(self._cupy, {"": room}, "int32")[""], self._pinned(room, "int32")

    def start(
        self,
        rows: DeviceRows,
        listed: np.ndarray,
        slots: Sequence[Any],
        plan: Callable[[Any], None],
        train: Callable[[Any], None],
        use_graphs: bool,
    ) -> None:
        """Starts the listed steps, without waiting for them. No step is in progress when this is called.

        Args:
          listed: as of `DeviceRows.listed`.
          slots: two, which the steps use in turns.
          plan, train: launch the kernels of a step in a slot.
        """
        self._upload(listed)
        arrays = [array.data.ptr for slot in rows.slots for array in slot.values()]
        if arrays != self._arrays:
            self.graphs.clear()
            self._arrays = arrays
        done = 0
        while done < len(listed):
            count = min(MOST_STEPS, 1 << (len(listed) - done).bit_length() - 1)
            self._say_where(done)
            if not use_graphs:
                self._launch(count, rows, slots, plan, train)
            elif not self._is_warm:  # the first launch loads a kernel, which cannot be recorded
                count = 1
                self._launch(count, rows, slots, plan, train)
                self._is_warm = True
            else:
                if count not in self.graphs:
                    self._train_stream.begin_capture()
                    self._launch(count, rows, slots, plan, train)
                    self.graphs[count] = self._train_stream.end_capture()
                self.graphs[count].launch(self._train_stream)
            done += count

    def _upload(self, listed: np.ndarray) -> None:
        """The steps, and behind them on the host the numbers 0, 1, 2, ..., of which `_say_where` takes one."""
        size = 1 + listed.size
        self._host_steps[0] = 0
        self._host_steps[1:size] = listed.reshape(-1)
        self._numbers = self._host_steps[size : size + len(listed)]
        self._numbers[:] = np.arange(len(listed))
        self._steps[:size].set(self._host_steps[:size], stream=self._train_stream)

    def _say_where(self, done: int) -> None:
        """Which of the listed steps the next launches begin with."""
        if done:
            self._steps[:1].set(self._numbers[done : done + 1], stream=self._train_stream)

    def _launch(
        self,
        count: int,
        rows: DeviceRows,
        slots: Sequence[Any],
        plan: Callable[[Any], None],
        train: Callable[[Any], None],
    ) -> None:
        plan_stream, train_stream = self._plan_stream, self._train_stream
        self._begun.record(train_stream)
        plan_stream.wait_event(self._begun)
        for i in range(count):
            slot, planned, trained = slots[i % 2], self._planned[i % 2], self._trained[i % 2]
            with plan_stream:
                if i > 1:
                    plan_stream.wait_event(trained)
                rows.copy_step(slot["packed"], self._steps, i)
                plan(slot)
                planned.record(plan_stream)
            with train_stream:
                train_stream.wait_event(planned)
                train(slot)
                trained.record(train_stream)
