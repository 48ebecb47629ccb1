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
        self._room = 0
        self._is_warm = False

    def make_room(self, steps: int, tiles: int) -> None:
        """Makes room for a list of so many steps, after the steps in progress."""
        needed = 1 + steps * (STEP_NUMBERS + tiles)
        if needed > self._room:
            self._train_stream.synchronize()
            self.graphs.clear()
            self._room = needed + needed // 8
            self._steps = allocate(self._cupy, {"": self._room}, "int32")[""]

    def start(
        self,
        rows: DeviceRows,
        listed: np.ndarray,
        slots: Sequence[Any],
        plan: Callable[[Any], None],
        train: Callable[[Any], None],
        use_graphs: bool,
    ) -> np.ndarray:
        """Starts the listed steps, after those in progress, and waits for none.

        Args:
          listed: as of `DeviceRows.listed`.
          slots: two, which the steps use in turns.
          plan, train: launch the kernels of a step in a slot.

        Returns:
          Memory of the host that is read until the steps are done.
        """
        uploads = self._upload(listed)
        numbers = uploads[-len(listed) :]
        arrays = [array.data.ptr for slot in rows.slots for array in slot.values()]
        if arrays != self._arrays:
            self.graphs.clear()
            self._arrays = arrays
        done = 0
        while done < len(listed):
            count = min(MOST_STEPS, 1 << (len(listed) - done).bit_length() - 1)
            if done:  # the list itself begins with 0
                self._steps[:1].set(numbers[done : done + 1], stream=self._train_stream)
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
        return uploads

    def _upload(self, listed: np.ndarray) -> np.ndarray:
        """0 and the steps, which are uploaded; behind them 0, 1, 2, ..., of which one says where a graph begins."""
        size = 1 + listed.size
        uploads = self._pinned(size + len(listed), "int32")
        uploads[0], uploads[1:size], uploads[size:] = 0, listed.reshape(-1), np.arange(len(listed))
        self._steps[:size].set(uploads[:size], stream=self._train_stream)
        return uploads

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
