"""Makes rows on the GPU: tokens are uploaded, and training reads the rows that kernels make of them.

The rows are those of `pipeline.batches.rows.generate_rows`, in the same order (generate.cu). The host gets only what it
needs: where the steps begin, and the rows of the tiles whose loss is taken. While one step range is trained, the next
is made on a stream of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from pipeline.backends.backend import LOSS_TILES, TILE
from pipeline.backends.cuda.buffers import allocate
from pipeline.backends.cuda.device_rows import DeviceRows
from pipeline.backends.cuda.launcher import GENERATION, THREADS, Launcher
from pipeline.backends.cuda.token_ranges import TokenRange, steps_at_once
from pipeline.batches.rows import Rows
from pipeline.batches.sampling import POLICIES, Sampling, Tables
from pipeline.batches.steps import StepRange
from pipeline.errors import DoesNotFitError
from pipeline.kernels import philox
from pipeline.options import ALL

SHARE = 256
"""Tokens whose rows a warp puts in order (generate.cu)."""


class _Room(NamedTuple):
    """The most that a token range may have."""

    tokens: int = 0
    sentences: int = 0
    own: int = 0
    """tokens that belong to its steps"""
    contexts: int = 0
    steps: int = 0
    tiles: int = 0
    """of a step whose loss is taken"""

    @classmethod
    def of(cls, token_range: TokenRange, window: int) -> _Room:
        begin, end = token_range.own
        own, contexts = end - begin, token_range.most_contexts(window)
        tiles = max(1, -(-min(token_range.batch_size, own) // (TILE * LOSS_TILES)))
        return cls(len(token_range.tokens), len(token_range.sentences) - 1, own, contexts, token_range.steps, tiles)

    def covers(self, other: _Room) -> bool:
        return all(a >= b for a, b in zip(self, other))

    def with_headroom(self, earlier: _Room) -> _Room:
        return _Room(*(max(a + a // 8, b) for a, b in zip(self, earlier)))

    def uploads(self) -> dict[str, int]:
        """Sizes of the arrays that go to the device."""
        return {"tokens": self.tokens, "sentences": self.sentences + 1}

    def rows(self, negatives: int) -> dict[str, int]:
        """Sizes of the arrays of rows."""
        return {
            "target": self.own,
            "offset": self.own + 1,
            "context": self.contexts,
            "negatives": self.own * negatives,
        }

    def downloads(self, negatives: int) -> dict[str, int]:
        """Sizes of the arrays that come back to the host."""
        places = self.steps * self.tiles * TILE
        return {
            "bounds": self.steps + 1,
            "context_bounds": self.steps + 1,
            "target": places,
            "contexts": places,
            "negatives": places * negatives,
        }

    def scratch(self) -> dict[str, int]:
        return {
            "radius": self.tokens,
            "kept_before": self.tokens + 1,
            "word": self.tokens,
            "place": self.tokens,
            "begins": self.tokens,
            "contexts": self.tokens,
            "row_place": self.own,
        }

    def bytes(self, negatives: int) -> int:
        """Bytes of all arrays: two slots, and scratch memory of the kernels."""
        slot = _length(self.uploads()) + _length(self.rows(negatives)) + _length(self.downloads(negatives))
        return 4 * (2 * slot + _length(self.scratch())) + 8 * _totals(self.tokens)


def _length(sizes: dict[str, int]) -> int:
    return sum(max(size, 1) for size in sizes.values())


def _totals(tokens: int) -> int:
    """Number of sums: one for the share of each warp, and the total."""
    return -(-tokens // SHARE) + 1


def _views(array: Any, sizes: dict[str, int]) -> dict[str, Any]:
    """Views of an array that follow each other."""
    views, at = {}, 0
    for name, size in sizes.items():
        views[name] = array[at : at + max(size, 1)]
        at += max(size, 1)
    return views


@dataclasses.dataclass
class _Slot:
    """The arrays of one step range, on the host (pinned) and on the device."""

    room: _Room
    host_uploads: np.ndarray
    host_downloads: np.ndarray
    ready: Any
    """event: the rows are made, and the downloads are on the host"""
    trained: Any
    """event: they are not needed any more"""
    uploads: Any
    rows: Any
    downloads: Any

    def row_views(self, negatives: int) -> dict[str, Any]:
        """The arrays of rows, which begin at the same places whatever a step range has."""
        return _views(self.rows, self.room.rows(negatives))


def bytes_of_blocks(batch_size: int, window: int, negatives: int, sentence: int = 20) -> int:
    """Memory for making rows if all sentences have so many tokens, without the tables (20 bytes a word)."""
    steps = steps_at_once(batch_size, window, sentence)
    positions = steps * batch_size
    contexts = positions * (min(2 * window, sentence - 1) if window != ALL else sentence - 1)
    tiles = -(-batch_size // (TILE * LOSS_TILES))
    room = _Room(positions, positions // sentence, positions, contexts, steps, tiles).with_headroom(_Room())
    return room.bytes(negatives)


class _Work(NamedTuple):
    """A token range whose rows are being made, and where they come from and go to on the device."""

    token_range: TokenRange
    room: _Room
    random: tuple[Any, ...]
    """what random numbers depend on: position of the first token, epoch, the two halves of the seed"""
    uploads: dict[str, Any]
    rows: dict[str, Any]
    downloads: dict[str, Any]
    shares: int
    """shares that warps count in"""


class Generator:
    """Makes step ranges from token ranges."""

    def __init__(
        self,
        cupy: Any,
        pinned: Callable[..., np.ndarray],
        tables: Tables,
        sampling: Sampling,
        check_memory: Callable[[int, str], None],
        block: int = THREADS,
    ):
        """Copies the tables to the device.

        Args:
          cupy, pinned: the module; `cupyx.empty_pinned`.
          check_memory: raises DoesNotFitError unless so many bytes are free, to be used for something.
          block: threads of a block; any number of warps makes the same rows.
        """
        self.tables, self.sampling = tables, sampling
        self._cupy, self._pinned, self._check_memory, self._block = cupy, pinned, check_memory, block
        self._launch = Launcher(cupy, GENERATION, {"TILE": TILE, "LOSS_TILES": LOSS_TILES})
        self._most_blocks = 32 * cupy.cuda.Device().attributes["MultiProcessorCount"]
        self._stream = cupy.cuda.Stream(non_blocking=True)
        size = sum(table.nbytes for table in tables)
        check_memory(size, f"tables of {len(tables.keep):,} words for making rows, vectors")
        self._keep, self._table, self._weights = (
            self._load(table, dtype)
            for table, dtype in ((tables.keep, "uint32"), (tables.packed, "uint64"), (tables.weights, "int64"))
        )
        self._room = _Room()
        self._slots: list[_Slot | None] = [None, None]
        self._scratch: dict[str, Any] = {}
        self._totals: Any = None

    def _load(self, table: np.ndarray, dtype: str) -> Any:
        loaded = allocate(self._cupy, {"": len(table)}, dtype)[""]
        with self._stream as stream:
            loaded.set(np.ascontiguousarray(table, dtype))
            stream.synchronize()
        return loaded

    def step_ranges(self, token_ranges: Iterable[TokenRange], epoch: int) -> Iterator[StepRange]:
        """The step ranges of the token ranges. Start to train each before you take the next."""
        self._stream.synchronize()  # an abandoned generator may have left work
        waiting: tuple[TokenRange, _Slot] | None = None
        for number, token_range in enumerate(token_ranges):
            started = self._start(token_range, epoch, number % 2)
            if waiting:
                yield self._finish(*waiting)
            waiting = token_range, started
        if waiting:
            yield self._finish(*waiting)

    def _slot(self, token_range: TokenRange, which: int) -> _Slot:
        """A slot with room for a token range; training on its content may not be over yet."""
        needed, negatives = _Room.of(token_range, self.sampling.window), self.sampling.negatives
        if not self._room.covers(needed):
            self._stream.synchronize()
            room = needed.with_headroom(self._room)
            if room.contexts >= 2**31:
                raise DoesNotFitError(
                    f"{needed.own:,} positions of a training step may have {needed.contexts:,} contexts, {2**31:,} are"
                    " too many for a GPU: lower --batch_size or --window, or train with --device=cpu"
                )
            self._scratch, self._totals = {}, None
            self._check_memory(room.bytes(negatives), f"rows of {needed.own:,} positions at a time, vectors")
            self._scratch = allocate(self._cupy, room.scratch(), "int32")
            self._totals = allocate(self._cupy, {"totals": _totals(room.tokens)}, "uint64")["totals"]
            self._room = room
        slot = self._slots[which]
        if slot is None or not slot.room.covers(needed):
            if slot:
                slot.trained.synchronize()
            self._slots[which] = slot = None
            sizes = {
                "uploads": _length(self._room.uploads()),
                "rows": _length(self._room.rows(negatives)),
                "downloads": _length(self._room.downloads(negatives)),
            }
            host_uploads, host_downloads = (
                self._pinned(sizes["uploads"], "int32"),
                self._pinned(sizes["downloads"], "int32"),
            )
            events = [self._cupy.cuda.Event(disable_timing=True) for _ in range(2)]
            self._slots[which] = slot = _Slot(
                self._room, host_uploads, host_downloads, *events, **allocate(self._cupy, sizes, "int32")
            )
        return slot

    def _grid(self, items: int, items_of_a_block: int) -> int:
        """Number of blocks for kernels that loop until all items are done."""
        return max(1, min(-(-items // items_of_a_block), self._most_blocks))

    def _start(self, token_range: TokenRange, epoch: int, which: int) -> _Slot:
        """Starts making the rows of a token range, without waiting for them."""
        slot, sampling = self._slot(token_range, which), self.sampling
        room = _Room.of(token_range, sampling.window)
        downloads = room.downloads(sampling.negatives)
        work = _Work(
            token_range,
            room,
            (token_range.position, epoch, *philox.key_of(sampling.seed)),
            _views(slot.uploads, room.uploads()),
            slot.row_views(sampling.negatives),
            _views(slot.downloads, downloads),
            -(-room.tokens // SHARE),
        )
        self._fill_uploads(token_range, room, slot)
        with self._stream as stream:
            stream.wait_event(slot.trained)
            length = _length(room.uploads())
            slot.uploads[:length].set(slot.host_uploads[:length], stream=stream)
            self._list_kept(work)
            self._write_rows(work)
            self._draw_negatives(work)
            self._sample_rows(work)
            length = _length(downloads)
            slot.downloads[:length].get(stream=stream, out=slot.host_downloads[:length], blocking=False)
            slot.ready.record(stream)
        return slot

    def _fill_uploads(self, token_range: TokenRange, room: _Room, slot: _Slot) -> None:
        """Puts the tokens and their sentences where they are uploaded from."""
        host = _views(slot.host_uploads, room.uploads())
        host["tokens"][: room.tokens], host["sentences"][:] = token_range.tokens, token_range.sentences

    def _blocks_of_shares(self, work: _Work) -> int:
        """Number of blocks for kernels in which a warp takes a share."""
        return max(1, -(-work.shares // (self._block // 32)))

    def _list_kept(self, work: _Work) -> None:
        """Which tokens subsampling keeps: flags, sums, a list without gaps."""
        launch, block, blocks = self._launch, self._block, self._blocks_of_shares(work)
        tokens, n, window = work.uploads["tokens"], work.room.tokens, self.sampling.window
        radius, kept_before, word, place, *_ = self._scratch.values()
        totals = self._totals
        launch("draw_kept", blocks, block, tokens, n, *work.random, self._keep, window, radius, totals)
        launch("scan_totals", 1, 32, totals, work.shares)
        launch("list_kept", blocks, block, tokens, n, radius, totals, kept_before, word, place)

    def _write_rows(self, work: _Work) -> None:
        """Targets and contexts, without rows that have no context; and where each step begins among them."""
        launch, block, blocks, n = self._launch, self._block, self._blocks_of_shares(work), work.room.tokens
        radius, kept_before, word, place, begins, contexts, row_place = self._scratch.values()
        target, row_offset, context, _ = work.rows.values()
        sentences = work.uploads["sentences"], work.room.sentences
        token_range, totals = work.token_range, self._totals
        ranges = *sentences, *token_range.own, self.sampling.window
        launch("count_contexts", blocks, block, n, kept_before, place, radius, *ranges, begins, contexts, totals)
        launch("scan_totals", 1, 32, totals, work.shares)
        read, written = (kept_before, word, place, begins, contexts, totals), (target, row_place, row_offset, context)
        launch("write_rows", blocks, block, n, *read, *written)
        steps = token_range.edge, token_range.batch_size, token_range.steps
        bounds = work.downloads["bounds"], work.downloads["context_bounds"]
        blocks = self._grid(token_range.steps + 1, block)
        launch("find_steps", blocks, block, self._number_of_rows(work), row_place, row_offset, *steps, *bounds)

    def _number_of_rows(self, work: _Work) -> Any:
        """uint64 [1] on the device: the sum of all shares."""
        return self._totals[work.shares : work.shares + 1]

    def _draw_negatives(self, work: _Work) -> None:
        """First draws at once, then those that the policy forbids."""
        launch, block, own, negatives = self._launch, self._block, work.room.own, self.sampling.negatives
        *_, row_place = self._scratch.values()
        target, _, _, drawn = work.rows.values()
        draws = self._number_of_rows(work), row_place, *work.random, self._table
        vocabulary, policy = len(self.tables.keep), POLICIES[self.sampling.policy]
        blocks = self._grid(own * ((negatives + 1) // 2), block)
        launch("draw_negatives", blocks, block, *draws, vocabulary, negatives, drawn)
        if self.sampling.policy != "any":
            redraws = *draws, self._weights, vocabulary, negatives, policy
            launch("redraw_negatives", self._grid(own, block), block, *redraws, target, drawn)

    def _sample_rows(self, work: _Work) -> None:
        """What the host has to know for the loss."""
        target, row_offset, _, drawn = work.rows.values()
        steps, tiles, downloads = work.token_range.steps, work.room.tiles, work.downloads
        rows = downloads["bounds"], row_offset, target, drawn, self.sampling.negatives, steps, tiles
        sample = downloads["target"], downloads["contexts"], downloads["negatives"]
        self._launch("sample_rows", self._grid(steps * tiles * TILE, self._block), self._block, *rows, *sample)

    def _finish(self, token_range: TokenRange, slot: _Slot) -> StepRange:
        slot.ready.synchronize()
        room, negatives = _Room.of(token_range, self.sampling.window), self.sampling.negatives
        downloads = {
            name: array.copy() for name, array in _views(slot.host_downloads, room.downloads(negatives)).items()
        }
        bounds, context_bounds = downloads["bounds"].astype(np.int64), downloads["context_bounds"].astype(np.int64)
        offset = np.append(0, np.cumsum(downloads["contexts"], dtype=np.int64))
        sample = Rows(downloads["target"], offset, np.empty(0, np.int32), downloads["negatives"].reshape(-1, negatives))
        first, second = (other or slot for other in self._slots)
        slots = first.row_views(negatives), second.row_views(negatives)
        which = int(slot is self._slots[1])
        rows = DeviceRows(slots, which, self._launch, bounds, context_bounds, room.tiles, slot.trained, sample)
        return StepRange(token_range.first, rows, bounds)
