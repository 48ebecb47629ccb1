"""The training step on a GPU: it plans one step ahead, trains, and computes the loss on the CPU.

There are two streams and two slots. While the train stream works on the step in one slot, the plan stream copies the
next step into the other and plans it. Three events for each slot keep the order:

    copied   the host may fill its buffer again
    planned  training of the slot may begin
    trained  the slot may be overwritten

The kernels of a plan, and those of training, are recorded once for each slot as CUDA graphs. Everything that changes
from step to step, also sizes and learning rate, is in the arrays of the slot.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from pipeline.backends.backend import CHUNK, LOSS_TILES, TILE, StepLoss, padded, step_rules
from pipeline.backends.cuda.buffers import HEADER, REMEDY, Room, Shape, Sizes, allocate, shown
from pipeline.backends.cuda.device_rows import DeviceRows
from pipeline.backends.cuda.generation import Generator
from pipeline.backends.cuda.launcher import THREADS, Launcher, sources
from pipeline.backends.cuda.loss_tiles import LossTiles
from pipeline.backends.cuda.made_steps import MadeSteps
from pipeline.backends.cuda.token_ranges import token_ranges
from pipeline.batches.rows import Rows, TokenPiece
from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.steps import StepRange
from pipeline.errors import DoesNotFitError, PipelineError
from pipeline.kernels.block import TileLoss
from pipeline.kernels.lanes import rounded_up
from pipeline.kernels.loss import loss_of_tiles

_ROWS_AT_A_TIME = 1 << 16
"""Rows of the weights that are uploaded at a time, so that the padded copy stays small."""
_ENTRIES_OF_A_WARP = 8
"""Sorted entries that a warp handles when it updates weights (update.cu)."""


@dataclasses.dataclass(frozen=True)
class _Slot:
    """A step in progress: the buffer of the host, the arrays of the device, and the events that guard both."""

    host: np.ndarray
    arrays: dict[str, Any]
    copied: Any
    planned: Any
    trained: Any
    graphs: dict[str, Any] = dataclasses.field(default_factory=dict)
    """launches of its arrays, recorded"""

    def __getitem__(self, name: str) -> Any:
        return self.arrays[name]


@dataclasses.dataclass
class _Group:
    """Steps in progress whose scores are copied to the host together."""

    tiles: slice
    """those whose loss is taken"""
    at: np.ndarray
    """where the scores of each are"""
    scores: np.ndarray
    """on the host"""
    scored: Any
    """event: they are there"""
    kept: Any = None
    """memory of the host that is read until then"""


class CudaBackend:
    """See `Backend`; trains on the current device of CuPy, with the bits of `CpuBackend`."""

    def __init__(
        self,
        w_in: np.ndarray,
        w_out: np.ndarray,
        *,
        model: str,
        tau: float,
        zero_hits: bool,
        block: int = THREADS,
        graphs: bool = True,
    ):
        """Copies the weights to the device, and compiles the kernels for their shape.

        Args:
          block: threads of a block; any number of warps gives the same bits.
          graphs: record the launches of a step once and replay them as CUDA graphs, which takes the host less time
            than the kernels of a small step take the device.
        """
        import cupy
        import cupyx

        self._cupy, self._pinned = cupy, cupyx.empty_pinned
        self._errors = cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError
        self._vocabulary, self._dims = w_in.shape
        self._width = rounded_up(self._dims)
        self._model, self._rules = model, step_rules(model, tau, zero_hits)
        self._multiprocessors = cupy.cuda.Device().attributes["MultiProcessorCount"]
        self._plan_stream = cupy.cuda.Stream(non_blocking=True)
        self._train_stream = cupy.cuda.Stream(non_blocking=True)
        self._check_memory(2 * 4 * self._vocabulary * self._width, f"the vectors of {self._vocabulary:,} words")
        self._in, self._out = self._load(w_in), self._load(w_out)
        self._host_weights: tuple[np.ndarray, np.ndarray] | None = None
        self._shape = Shape(self._width, 0, model == "cbow", block)
        self._room = Room()
        self._slots: list[_Slot] = []
        self._sorting: dict[str, Any] = {}
        self._sums: dict[str, Any] = {}
        self._scores = cupy.empty(1, "float32")
        self._next_slot = 0
        self._begun = cupy.cuda.Event(disable_timing=True)
        self._use_graphs, self._warm = graphs, set[str]()
        self._made_steps = MadeSteps(cupy, self._pinned, self._plan_stream, self._train_stream)
        self._generator: Generator | None = None

    @contextlib.contextmanager
    def _in_one_line(self) -> Iterator[None]:
        """CUDA's errors become one line: after most of them, the process cannot use the device any more."""
        try:
            yield
        except self._errors as error:
            raise PipelineError(
                f"the GPU failed ({error}): the same command goes on from the last checkpoint, also with --device=cpu"
            ) from error

    # ---- memory

    def _load(self, weights: np.ndarray) -> Any:
        (loaded,) = allocate(self._cupy, {"": self._vocabulary * self._width}, "float32").values()
        loaded = loaded.reshape(self._vocabulary, self._width)
        for begin in range(0, self._vocabulary, _ROWS_AT_A_TIME):
            block = weights[begin : begin + _ROWS_AT_A_TIME]
            with self._plan_stream as stream:
                loaded[begin : begin + len(block)].set(padded(block))
                stream.synchronize()
        return loaded

    def _check_memory(self, needed: int, purpose: str) -> None:
        free, total = self._free_memory()
        if needed > free:
            raise DoesNotFitError(
                f"the GPU has {shown(free)} of {shown(total)} free, {purpose} of {self._dims} dims need"
                f" {shown(needed)}: {REMEDY}"
            )

    def _free_memory(self) -> tuple[int, int]:
        self._cupy.get_default_memory_pool().free_all_blocks()
        return self._cupy.cuda.runtime.memGetInfo()

    def _make_room(self, needed: Room) -> None:
        """Makes buffers for steps of this size, after the steps in progress."""
        if self._room.covers(needed):
            return
        self._shape.check(needed)
        self._train_stream.synchronize()
        self._slots, self._sorting, self._sums = [], {}, {}
        self._made_steps.graphs.clear()
        room = needed.with_headroom(self._room)
        if self._shape.entries(room) * 4 >= 2**31 or self._shape.bytes(room) > self._free_memory()[0]:
            room = needed
        self._check_memory(
            self._shape.bytes(room), f"steps of {room.rows:,} rows with {room.contexts:,} contexts, vectors"
        )
        self._slots = [self._new_slot(self._shape.slot(room)) for _ in range(2)]
        self._sorting = allocate(self._cupy, self._shape.sorting(room), "int32")
        self._sums = allocate(self._cupy, self._shape.sums(room), "float32")
        self._room = room

    def _new_slot(self, sizes: Sizes) -> _Slot:
        events = [self._cupy.cuda.Event(disable_timing=True) for _ in range(3)]
        return _Slot(self._pinned(sizes["packed"], "int32"), allocate(self._cupy, sizes, "int32"), *events)

    # ---- training

    def _compile(self, negatives: int) -> None:
        """Compiles the kernels for this number of negatives, which the first rows show."""
        if self._shape.negatives == negatives:
            return
        self._shape, self._room = dataclasses.replace(self._shape, negatives=negatives), Room()
        constants = {
            "DIMS": self._width,
            "NEGATIVES": negatives,
            "CBOW": int(self._shape.cbow),
            "TILE": TILE,
            "CHUNK": CHUNK,
            "LOSS_TILES": LOSS_TILES,
        }
        self._launch = Launcher(self._cupy, sources(self._model), constants)

    def step_ranges(
        self,
        pieces: Iterable[TokenPiece],
        tables: Tables,
        sampling: Sampling,
        epoch: int,
        batch_size: int,
        first: int,
        end: int,
    ) -> Iterator[StepRange]:
        """See `GeneratingBackend`; tables stay on the device as long as they are the same object."""
        with self._in_one_line():
            generator = self._generator
            if generator is None or generator.tables is not tables or generator.sampling != sampling:
                self._generator = None
                generator = Generator(self._cupy, self._pinned, tables, sampling, self._check_memory, self._shape.block)
                self._generator = generator
            yield from generator.step_ranges(token_ranges(pieces, batch_size, first, end, sampling.window), epoch)

    def train(self, rows: Rows | DeviceRows, bounds: np.ndarray, learning_rates: np.ndarray) -> StepLoss:
        return self.start(rows, bounds, learning_rates)()

    def start(self, rows: Rows | DeviceRows, bounds: np.ndarray, learning_rates: np.ndarray) -> Callable[[], StepLoss]:
        """See `GeneratingBackend`."""
        with self._in_one_line():
            return self._start(rows, bounds, learning_rates)

    def _start(self, rows: Rows | DeviceRows, bounds: np.ndarray, learning_rates: np.ndarray) -> Callable[[], StepLoss]:
        self._compile(rows.negatives.shape[1])
        steps, row_counts = len(learning_rates), np.diff(bounds)
        contexts = np.diff(rows.offset_at(bounds) if isinstance(rows, DeviceRows) else rows.offset[bounds])
        self._make_room(Room(int(np.max(row_counts, initial=0)), int(np.max(contexts, initial=0))))
        loss = np.zeros((steps, -(-int(np.max(row_counts, initial=0)) // (TILE * LOSS_TILES))))
        pairs = np.zeros(loss.shape, np.int64)
        samples = LossTiles.of(rows, bounds, self._shape)
        groups = list(samples.groups(steps))
        self._make_room_for_scores(max((samples.scores(*group) for group in groups), default=0))
        if isinstance(rows, DeviceRows):
            self._made_steps.make_room(steps, rows.tiles)
        # From here on nothing is allocated on the device: what does not fit was refused before a weight has changed.
        started = [self._start_group(rows, bounds, learning_rates, samples, *group) for group in groups]

        def finish() -> StepLoss:
            with self._in_one_line():
                for group in started:
                    group.scored.synchronize()
                    self._add_loss(group, samples, loss, pairs)
            return StepLoss(loss.sum(axis=1), pairs.sum(axis=1))

        return finish

    def _start_group(
        self,
        rows: Rows | DeviceRows,
        bounds: np.ndarray,
        learning_rates: np.ndarray,
        samples: LossTiles,
        first: int,
        last: int,
    ) -> _Group:
        """Starts the steps first..last-1, and the copy of their scores to the host."""
        tiles = slice(*np.searchsorted(samples.step, [first, last]))
        ends = np.cumsum(samples.sizes[tiles])
        at, count = ends - samples.sizes[tiles], int(ends[-1]) if len(ends) else 0
        group = _Group(tiles, at, self._pinned(max(count, 1), "float32"), self._cupy.cuda.Event(disable_timing=True))
        if isinstance(rows, DeviceRows):
            own = bounds[first : last + 1], learning_rates[first:last]
            listed = rows.listed(*own, samples.step[tiles] - first, samples.number[tiles], at)
            group.kept = self._made_steps.start(rows, listed, self._slots, self._plan, self._train, self._use_graphs)
            rows.trained.record(self._train_stream)
        else:
            self._begun.record(self._train_stream)
            self._plan_stream.wait_event(self._begun)  # the slots may be in use by steps whose rows were made
            for step in range(first, last):
                begin, end = int(bounds[step]), int(bounds[step + 1])
                if begin < end:
                    tiles_of_step = slice(*np.searchsorted(samples.step[tiles], [step, step + 1]))
                    self._start_step(rows, begin, end, learning_rates[step], at[tiles_of_step])
        if count:
            self._scores[:count].get(stream=self._train_stream, out=group.scores[:count], blocking=False)
        group.scored.record(self._train_stream)
        return group

    def _add_loss(self, group: _Group, samples: LossTiles, loss: np.ndarray, pairs: np.ndarray) -> None:
        begin, end = samples.begin[group.tiles], samples.end[group.tiles]
        tiles = TileLoss(np.zeros(len(begin)), np.zeros(len(begin), np.int64))
        loss_of_tiles(group.scores, group.at, begin, end, samples.rows, self._rules, tiles)
        where = samples.step[group.tiles], samples.number[group.tiles]
        loss[where], pairs[where] = tiles

    def _make_room_for_scores(self, scores: int) -> None:
        if scores > self._scores.size:
            self._train_stream.synchronize()
            self._check_memory(4 * scores, f"{scores:,} scores of vectors")
            for slot in self._slots:
                slot.graphs.clear()  # they write to the old ones
            self._made_steps.graphs.clear()
            self._scores = allocate(self._cupy, {"scores": scores}, "float32")["scores"]
            with self._train_stream:  # CBOW writes none for a row without contexts, but they are copied
                self._scores.set(np.zeros(scores, np.float32))

    def _start_step(self, rows: Rows, begin: int, end: int, learning_rate: np.float32, scores_at: np.ndarray) -> None:
        """Starts a step whose rows are on the host, without waiting for it."""
        slot = self._slots[self._next_slot]
        self._next_slot = 1 - self._next_slot
        slot.copied.synchronize()
        size = _pack(rows, slot.host, begin, end, learning_rate, scores_at)
        with self._plan_stream as stream:
            stream.wait_event(slot.trained)
            slot["packed"][:size].set(slot.host[:size], stream=stream)
            slot.copied.record(stream)
            self._launch_all(stream, self._plan, slot)
            slot.planned.record(stream)
        with self._train_stream as stream:
            stream.wait_event(slot.planned)
            self._launch_all(stream, self._train, slot)
            slot.trained.record(stream)

    def _launch_all(self, stream: Any, kernels: Callable[[_Slot], None], slot: _Slot) -> None:
        """Launches the kernels of a plan or of training, by a graph if there is one for the slot."""
        name = kernels.__name__
        if not self._use_graphs or name not in self._warm:
            kernels(slot)
            self._warm.add(name)  # the first launch loads the kernel, which cannot be recorded
            return
        if name not in slot.graphs:
            stream.begin_capture()
            kernels(slot)
            slot.graphs[name] = stream.end_capture()
        slot.graphs[name].launch(stream)

    def _plan(self, slot: _Slot) -> None:
        """Sorts the entries of the step by the weight row that they touch (plan.cu), by radix sort of 8 bits a pass."""
        launch, block, buffers, vocabulary = self._launch, self._shape.block, self._sorting, self._vocabulary
        entries = self._shape.entries(self._room)
        packed, owner, output, kept = slot["packed"], slot["owner"], slot["output"], slot["count"]
        unsorted, count, histogram, total = (buffers[name] for name in ("unsorted", "entries", "histogram", "total"))
        grid = self._grid(self._room.rows, block // 32)
        launch("list_entries", grid, block, packed, unsorted, owner, output, count, vocabulary)
        blocks = self._shape.sort_blocks(entries)
        passes = -(-(2 * vocabulary - 1).bit_length() // 8)
        key, entry = unsorted, buffers["entry_1"]
        for number in range(passes):
            last, turn, shift = number == passes - 1, number % 2, 8 * number
            where, suffix = (slot, "") if last else (buffers, f"_{turn}")
            sorted_pairs = where[f"key{suffix}"], where[f"entry{suffix}"]
            launch("count_digits", blocks, block, count, key, histogram, shift)
            launch("scan_digits", 32, block, histogram, total, blocks)
            pairs = count, key, entry, *sorted_pairs, histogram, total, kept
            launch("scatter_pairs", blocks, block, *pairs, shift, number == 0)
            count, (key, entry) = kept, sorted_pairs
        meaning = slot["key"], slot["entry"], owner, slot["level"], slot["place"]
        launch("find_levels", self._grid(entries, block), block, packed, kept, *meaning, self._rules.tau, vocabulary)

    def _train(self, slot: _Slot) -> None:
        """Computes gradient rows of all tiles, their sums, then the weights (skipgram.cu or cbow.cu, update.cu)."""
        launch, block, sums = self._launch, self._shape.block, self._sums
        names = ("packed", "owner", "output", "count", "key", "entry", "level", "place")
        packed, owner, output, count, key, entry, level, place = (slot[name] for name in names)
        kernel = "sum_cbow_tiles" if self._shape.cbow else "sum_skipgram_tiles"
        means = (sums["mean"], sums["mean_gradient"]) if self._shape.cbow else ()
        plan = packed, owner, output, count, entry, level, place
        written = *means, sums["weight"], sums["gradient"], self._scores
        tiles = -(-self._room.rows // TILE)
        launch(kernel, tiles, block, *plan, self._in, self._out, *written, self._rules.zero_hits)
        entries = self._shape.entries(self._room)
        launch("sum_chunks", self._grid(entries, block), block, count, key, level, sums["gradient"])
        grid, weights = self._grid(entries, _ENTRIES_OF_A_WARP * (block // 32)), (self._in, self._out)
        sorted_plan = packed, count, key, entry, level
        launch(
            "update_weights", grid, block, *sorted_plan, sums["gradient"], *weights, self._rules.tau, self._vocabulary
        )

    def _grid(self, items: int, items_of_a_block: int) -> int:
        """Number of blocks for kernels that loop until all items are done."""
        return max(1, min(-(-items // items_of_a_block), 32 * self._multiprocessors))

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Backend`: views of buffers on the host, read-only."""
        if self._host_weights is None:
            shape = self._in.shape
            self._host_weights = np.empty(shape, np.float32), np.empty(shape, np.float32)
        with self._in_one_line():
            self._train_stream.synchronize()
            for array, host in zip((self._in, self._out), self._host_weights):
                array.get(out=host)
        w_in, w_out = (host[:, : self._dims] for host in self._host_weights)
        w_in.flags.writeable = w_out.flags.writeable = False
        return w_in, w_out


def _pack(rows: Rows, into: np.ndarray, begin: int, end: int, learning_rate: np.float32, scores_at: np.ndarray) -> int:
    """Writes the rows begin..end-1 as one array of int32 (`unpack` in common.cu reads it); returns its length."""
    offset = rows.offset[begin : end + 1]
    context = rows.context[offset[0] : offset[-1]]
    arrays = (rows.target[begin:end], offset, context, rows.negatives[begin:end].reshape(-1), scores_at)
    at = HEADER
    into[:3] = end - begin, len(context), np.float32(learning_rate).view(np.int32)
    for i, array in enumerate(arrays):
        into[3 + i] = at
        into[at : at + len(array)] = array
        at += len(array)
    first = into[4]
    into[first : first + len(offset)] -= offset[0]
    return at
