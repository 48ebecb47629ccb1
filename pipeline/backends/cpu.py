"""The training step on CPUs: Numba kernels, sixteen lanes, a team of threads."""

from __future__ import annotations

import contextlib
import mmap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.backends.backend import LOSS_TILES, TILE, StepLoss, step_rules
from pipeline.batches.rows import Rows
from pipeline.errors import InputError
from pipeline.kernels import step as kernels
from pipeline.kernels.block import Block, Sums, TileLoss, Weights
from pipeline.kernels.gradients import Scratch, new_scratch
from pipeline.kernels.lanes import rounded_up
from pipeline.kernels.plan import PlanScratch, new_plan, new_plan_scratch
from pipeline.kernels.team import Member

_HUGE_PAGE = 2 << 20
_MOST_ENTRIES = 1 << 30
"""A plan keeps a place and a flag in 32 bits."""


def aligned_zeros(numbers: int) -> np.ndarray:
    """float32 zeros that begin on a cache line, in huge pages if the system has them.

    A step touches weight rows all over the array: with small pages most of the time goes into translating addresses.
    """
    size = max(4 * numbers, 64)
    if size < _HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        raw = np.zeros(size + 64, np.uint8)
        start = -raw.ctypes.data % 64
    else:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared memory gets no huge pages
        pages = mmap.mmap(-1, -(-size // _HUGE_PAGE) * _HUGE_PAGE + _HUGE_PAGE, flags=private)
        with contextlib.suppress(OSError):  # without huge pages it is only slower
            pages.madvise(mmap.MADV_HUGEPAGE)
        raw = np.frombuffer(pages, np.uint8)
        start = -raw.ctypes.data % _HUGE_PAGE
    return raw[start : start + 4 * numbers].view(np.float32)


def _read_only(array: np.ndarray) -> np.ndarray:
    """A read-only view, because arrays of Arrow are read-only: for others the step would be compiled again."""
    view = array.view()
    view.flags.writeable = False
    return view


class CpuBackend:
    """See `Backend`; the same bits for any number of threads, with AVX-512 or AVX2."""

    def __init__(
        self, w_in: np.ndarray, w_out: np.ndarray, *, model: str, tau: float, zero_hits: bool, threads: int = 1
    ):
        self._rows, self._dims = w_in.shape
        self._width = rounded_up(self._dims)
        self._weights = Weights(self._load(w_in), self._load(w_out), self._width)
        self._rules = step_rules(model, tau, zero_hits)
        self._threads = threads
        self._pool = self._started_pool()
        self._room = (0, 0)
        self._sums = Sums(np.zeros(0, np.float32), np.zeros(0, np.float32))
        self._plan = new_plan(0, 0, 0, 0)
        self._most_contexts = self._outputs = 0
        self._scratch: list[Scratch] = []
        self._plan_scratch: list[PlanScratch] = []

    def _load(self, weights: np.ndarray) -> np.ndarray:
        flat = aligned_zeros(self._rows * self._width)
        flat.reshape(self._rows, self._width)[:, : self._dims] = weights
        return flat

    def _started_pool(self) -> ThreadPoolExecutor:
        """All threads of the team but the caller's, running: one that failed to start later would be waited for."""
        pool = ThreadPoolExecutor(max(1, self._threads - 1), thread_name_prefix="train")
        everyone = threading.Barrier(self._threads)
        try:
            for _ in range(self._threads - 1):
                pool.submit(everyone.wait)
            everyone.wait()
        except RuntimeError as error:
            everyone.abort()
            pool.shutdown(wait=False)
            raise InputError(f"--threads={self._threads}: the system starts no more threads, ask for fewer") from error
        return pool

    def train(self, rows: Rows, bounds: np.ndarray, learning_rates: np.ndarray) -> StepLoss:
        steps, outputs = len(bounds) - 1, rows.negatives.shape[1] + 1
        self._make_room(rows, bounds, outputs)
        counters = kernels.new_counters(self._threads, steps)
        most_rows = int(np.max(np.diff(bounds), initial=0))
        tiles = -(-most_rows // (TILE * LOSS_TILES))
        loss = TileLoss(np.zeros((steps, tiles)), np.zeros((steps, tiles), np.int64))
        read_only = Rows(*map(_read_only, rows))
        block = Block(read_only, bounds, learning_rates, self._rules, self._weights, self._plan, self._sums, loss)

        def run(thread: int) -> None:
            kernels.train(
                Member(thread, self._threads, counters), block, self._plan_scratch[thread], self._scratch[thread]
            )

        others = [self._pool.submit(run, thread) for thread in range(1, self._threads)]
        run(0)
        for other in others:
            other.result()
        return StepLoss(loss.total.sum(axis=1), loss.pairs.sum(axis=1))

    def _make_room(self, rows: Rows, bounds: np.ndarray, outputs: int) -> None:
        """Makes room for the largest step range, step and row so far."""
        contexts = int(np.max(np.diff(rows.offset[bounds]), initial=1))
        most_rows = int(np.max(np.diff(bounds), initial=1))
        entries = max(contexts, most_rows * outputs)
        if entries >= _MOST_ENTRIES:
            raise InputError(
                f"a training step has {entries:,} entries, {_MOST_ENTRIES:,} are too many:"
                " lower --batch_size, --window or --negatives"
            )
        if outputs > self._outputs:  # all buffers depend on this number
            self._outputs, self._plan, self._room, self._most_contexts = outputs, new_plan(0, 0, 0, 0), (0, 0), 0
        outputs, room = self._outputs, self._plan
        if rows.size > len(room.slots) or len(rows.context) > len(room.in_slot) or len(bounds) > len(room.sizes):
            self._plan = new_plan(
                max(rows.size, len(room.slots)),
                max(len(rows.context), len(room.in_slot)),
                outputs,
                max(len(bounds), len(room.sizes)),
            )
        if contexts > self._room[0] or most_rows > self._room[1]:
            self._room = max(contexts, self._room[0]), max(most_rows, self._room[1])
            entries = max(self._room[0], self._room[1] * outputs)
            self._plan_scratch = [new_plan_scratch(self._rows, entries) for _ in range(self._threads)]
            self._sums = Sums(*(aligned_zeros(n * self._width) for n in (self._room[0], self._room[1] * outputs)))
        most = int(np.max(np.diff(rows.offset), initial=1))
        if most > self._most_contexts:
            self._most_contexts = most
            self._scratch = [new_scratch(most, outputs, self._width, TILE, aligned_zeros) for _ in range(self._threads)]

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Backend`: views, read-only."""
        return self._view(self._weights.w_in), self._view(self._weights.w_out)

    def _view(self, flat: np.ndarray) -> np.ndarray:
        view = flat.reshape(self._rows, self._width)[:, : self._dims]
        view.flags.writeable = False
        return view
