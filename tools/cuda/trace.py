"""What the kernels do on a GPU, counted while the compiler's PTX runs on the emulator: instructions and bytes moved."""

from __future__ import annotations

import ctypes
import dataclasses
import heapq
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from pipeline.backends.cuda.launcher import THREADS
from tools.cuda import nvrtc, sass
from tools.cuda.emulator.emulation import Library
from tools.cuda.kernels import WARP, Gpu, occupancy

SECTOR = 32
"""Bytes: what memory moves at least."""
_SHARED_WITH = 32 << 10
"""Of what L1 and shared memory have together, what a kernel's shared memory is assumed to take where it has some."""


class Spec(NamedTuple):
    """A GPU by its public data sheet; rates at the boost clock."""

    name: str
    architecture: int
    holds: Gpu
    multiprocessors: int
    clock: float
    """Hz"""
    fp32: int
    """of a multiprocessor, lanes"""
    memory: float
    """bytes a second"""
    l2: int
    """bytes"""
    l2_rate: float | None
    """bytes a second; None: not published"""
    l1: int
    """bytes of a multiprocessor, at most"""


@dataclasses.dataclass
class Work:
    """Of one kernel, over all its launches."""

    launches: int = 0
    accesses: int = 0
    """instructions of warps that touch memory"""
    sectors: int = 0
    """that they ask for"""
    instructions: dict[str, float] = dataclasses.field(default_factory=dict)
    """GPU -> issued by warps"""
    fp32: dict[str, float] = dataclasses.field(default_factory=dict)
    l2: dict[str, int] = dataclasses.field(default_factory=dict)
    """GPU -> bytes between multiprocessors and L2"""
    memory: dict[str, int] = dataclasses.field(default_factory=dict)
    """GPU -> bytes between L2 and memory"""
    chains: dict[str, float] = dataclasses.field(default_factory=dict)
    """GPU -> seconds until the last block ends, where a thread waits for what it needs and for nothing else"""

    def times(self, spec: Spec) -> dict[str, float]:
        """Resource -> the seconds that it needs at least."""
        rate = spec.multiprocessors * spec.clock
        found = {
            "memory": self.memory[spec.name] / spec.memory,
            "L1": self.sectors / 4 / rate,  # 128 bytes a clock
            "issue": self.instructions[spec.name] / (4 * rate),  # four schedulers
            "FP32": WARP * self.fp32[spec.name] / (spec.fp32 * rate),
        }
        if spec.l2_rate:
            found["L2"] = self.l2[spec.name] / spec.l2_rate
        return found


class Tracer:
    """An observer of the stand-in for CuPy. L2 is as full as earlier launches have left it."""

    def __init__(self, specs: list[Spec], load_cycles: float = 270.0):
        """Args:
        load_cycles: until a load is there that L2 answers.
        """
        self.specs, self.load_cycles = specs, load_cycles
        self.work: dict[str, Work] = {}
        self._known: dict[int, _Compiled] = {}

    def __call__(self, library: Library, kernel: str, run: Callable[[], None]) -> None:
        compiled = self._known.get(id(library))
        if compiled is None:
            compiled = self._known[id(library)] = _Compiled(library, self.specs)
        functions = library.functions
        for i, spec in enumerate(self.specs):
            functions.trace_l1(i, ctypes.c_long(compiled.l1(kernel, spec)))
        functions.trace_latency(ctypes.c_double(35), ctypes.c_double(self.load_cycles))
        functions.trace_ends.restype = ctypes.c_long
        run()
        counts = np.zeros(2 + 4 * len(self.specs), np.uint64)
        functions.trace_take(ctypes.c_void_p(counts.ctypes.data))
        passes = np.zeros(len(compiled.program.blocks), np.uint64)
        functions.trace_take_passes(ctypes.c_void_p(passes.ctypes.data), len(passes))
        ends = np.zeros(functions.trace_ends(ctypes.c_void_p(), ctypes.c_long(0)))
        functions.trace_ends(ctypes.c_void_p(ends.ctypes.data), ctypes.c_long(len(ends)))
        work = self.work.setdefault(kernel, Work())
        work.launches += 1
        work.accesses += int(counts[0])
        work.sectors += int(counts[1])
        for i, spec in enumerate(self.specs):
            l2_read, l2_written, read, written = map(int, counts[2 + 4 * i : 6 + 4 * i])
            done = compiled.executed(kernel, spec, passes.tolist())
            for into, number in (
                (work.instructions, done.all),
                (work.fp32, done.fp32),
                (work.l2, SECTOR * (l2_read + l2_written)),
                (work.memory, SECTOR * (read + written)),
                (work.chains, last_end(ends, compiled.at_once(kernel, spec)) / spec.clock),
            ):
                into[spec.name] = into.get(spec.name, 0) + number  # type: ignore[assignment]

    def take(self) -> dict[str, Work]:
        """Kernel -> what has been done since the last call."""
        work, self.work = self.work, {}
        return work


class _Compiled:
    """A library's kernels, on each GPU."""

    def __init__(self, library: Library, specs: list[Spec]):
        assert library.build
        assert library.build_for
        assert library.program
        self.program = library.program
        l2 = (ctypes.c_long * len(specs))(*(spec.l2 for spec in specs))
        library.functions.trace_gpus(len(specs), l2)
        self.kernels: dict[int, Mapping[str, nvrtc.Kernel]] = {}
        self.code: dict[int, Mapping[str, list[sass.Instruction]]] = {}
        for architecture in {spec.architecture for spec in specs}:
            build = library.build_for(architecture)
            if _without_target(build.ptx) != _without_target(library.build.ptx):
                raise RuntimeError(f"sm_{architecture} has other PTX than what is run: it cannot be counted")
            self.kernels[architecture] = {kernel.name: kernel for kernel in build.kernels}
            if sass.disassembler():
                self.code[architecture] = sass.disassemble(build.cubin)

    def l1(self, kernel: str, spec: Spec) -> int:
        """Bytes that a block has, where as many run on a multiprocessor as fit."""
        made = self.kernels[spec.architecture][kernel]
        return (spec.l1 - (_SHARED_WITH if made.shared else 0)) // self._on_a_multiprocessor(kernel, spec)

    def at_once(self, kernel: str, spec: Spec) -> int:
        """Blocks that run at a time on the GPU."""
        return spec.multiprocessors * self._on_a_multiprocessor(kernel, spec)

    def _on_a_multiprocessor(self, kernel: str, spec: Spec) -> int:
        made = self.kernels[spec.architecture][kernel]
        return max(1, round(occupancy(made, spec.holds) * spec.holds.warps * WARP / THREADS))

    def executed(self, kernel: str, spec: Spec, passes: list[int]) -> sass.Executed:
        code = self.code.get(spec.architecture)
        if code is None:
            return sass.executed_ptx(self.program, passes)[kernel]
        return sass.executed({kernel: code[kernel]}, self.program, passes)[kernel]


def last_end(cycles: np.ndarray, at_once: int) -> float:
    """When the last block ends, if each begins, in their order, as soon as one before it has left a place.

    >>> last_end(np.array([3.0, 1.0, 1.0, 1.0]), 2)
    3.0
    """
    places = [0.0] * min(at_once, max(1, len(cycles)))
    for took in cycles.tolist():
        heapq.heapreplace(places, places[0] + took)
    return max(places)


def _without_target(ptx: str) -> list[str]:
    return [line for line in ptx.splitlines() if not line.startswith(".target")]
