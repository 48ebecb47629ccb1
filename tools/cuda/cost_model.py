"""Bounds of what training can reach on four GPUs, without one: bytes and instructions are counted, rates are public.

    python -m tools.cuda.cost_model [--model=skipgram,cbow] [--shapes=100/5/5,300/15/10] [--rows=4096,16384,65536]
    python -m tools.cuda.cost_model --kernels      # one step kernel by kernel

What is printed is a model, not measured. The kernels as NVIDIA's compiler translates them (PTX) run on the emulator,
on steps of a Zipf-distributed vocabulary. Each access of a warp to memory becomes the sectors of 32 bytes that it
touches; these go through models of the GPUs' L1 and L2 caches. Instructions are those of the machine code, as often as
warps pass them. The bound is then that of the busiest resource. Latency, launches, the ends of kernels where few blocks
are left and the order in which blocks really run are in none of it: real speed is lower.

Needs NVRTC and g++; with nvdisasm (see tools/cuda/sass.py) it counts machine code, else PTX. Takes some minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.device_rows import DeviceRows
from pipeline.backends.cuda.generation import Generator
from pipeline.backends.cuda.token_ranges import token_ranges
from pipeline.batches.sampling import Sampling
from tools.cuda import nvrtc, sass
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import Device, installed
from tools.cuda.kernels import GPUS, Gpu
from tools.cuda.trace import Spec, Tracer, Work
from tools.cuda.zipf import GENERATION, zipf_rows, zipf_tokens
from tools.measuring.reports import report_parser, write_report

MODEL = "model, not measured"
MB = 1 << 20
SPECS = [
    # NVIDIA's data sheets and architecture papers. L2: 5,120 bytes a clock (A100 paper; H100 taken to be alike); T4:
    # Jia et al., Dissecting the NVidia Turing T4 GPU via Microbenchmarking, 2019
    Spec("H100", 90, GPUS[90], 132, 1.755e9, 128, 3.35e12, 50 * MB, 5120 * 1.755e9, 256 << 10),
    Spec("A100", 80, GPUS[80], 108, 1.41e9, 64, 2.04e12, 40 * MB, 5120 * 1.41e9, 192 << 10),
    Spec("A10", 86, Gpu("A10", 48, 16, 100 << 10, 1 << 10), 72, 1.695e9, 128, 600e9, 6 * MB, None, 128 << 10),
    Spec("T4", 75, GPUS[75], 40, 1.59e9, 64, 320e9, 4 * MB, 1.27e12, 64 << 10),
]
ARCHITECTURE = 80
"""Of the PTX that is run; those of the others are the same."""
MULTIPROCESSORS = 4096
"""Of the emulated device, so many that no block goes round: blocks run one after the other here, side by side there."""


@dataclasses.dataclass(frozen=True)
class Shape:
    model: str
    dims: int
    negatives: int
    window: int

    def __str__(self) -> str:
        return f"{self.dims} / {self.negatives} / {self.window}"

    @property
    def row_bytes(self) -> int:
        return -(-self.dims // 16) * 16 * 4


@dataclasses.dataclass(frozen=True)
class Step:
    """What one step, or one block of rows made, does."""

    shape: Shape
    rows: int
    floor: float
    """bytes: each row of the weights that the step touches, once read and once written"""
    work: Mapping[str, Work]

    def total(self, name: str, gpu: str) -> float:
        return sum(getattr(work, name)[gpu] for work in self.work.values())

    def bound(self, spec: Spec) -> tuple[float, str]:
        """Rows a second at most, and what is busy all the time then."""
        times: dict[str, float] = {}
        for work in self.work.values():
            for resource, seconds in work.times(spec).items():
                times[resource] = times.get(resource, 0) + seconds
        limit = max(times, key=lambda resource: times[resource])
        return self.rows / times[limit], limit

    def row(self) -> dict[str, str]:
        """Of the table."""
        of_floor = f" ({self.total('memory', 'H100') / self.floor:.1f})" if self.floor else ""
        found = {
            "model": self.shape.model,
            "dims / K / window": str(self.shape),
            "rows": f"{self.rows:,}",
            "floor, bytes": f"{self.floor / self.rows:,.0f}" if self.floor else "",
            "asked": f"{32 * sum(work.sectors for work in self.work.values()) / self.rows:,.0f}",
            "L2": f"{self.total('l2', 'H100') / self.rows:,.0f}",
            "memory, H100": f"{self.total('memory', 'H100') / self.rows:,.0f}{of_floor}",
            "instructions, H100": f"{self.total('instructions', 'H100') / self.rows:,.0f}",
        }
        for spec in SPECS:
            bound, limit = self.bound(spec)
            found[f"{spec.name}, M/s"] = f"{bound / 1e6:,.0f} {limit}"
        return found

    def record(self) -> dict[str, Any]:
        """For the report: everything."""
        return {
            **dataclasses.asdict(self.shape),
            "rows": self.rows,
            "floor_bytes": self.floor,
            "bounds": {spec.name: self.bound(spec) for spec in SPECS},
            "kernels": {name: dataclasses.asdict(work) for name, work in self.work.items()},
        }


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    missing = "g++" if not COMPILER else "NVRTC (pip install nvidia-cuda-nvrtc-cu12)" if not nvrtc.library() else ""
    if missing:
        print(f"tools.cuda.cost_model: {missing} is not installed", file=sys.stderr)
        return 2
    counted = "machine code" if sass.disassembler() else "PTX, since nvdisasm is not installed"
    words, version = f"{chosen.vocabulary:,} words", ".".join(map(str, nvrtc.version()))
    print(f"{MODEL}: bounds for {words}; NVRTC {version}; instructions are {counted}.\n", flush=True)
    records, header = list[dict[str, Any]](), False
    for step in _steps(chosen):
        records.append(step.record())
        for line in markdown([step.row()], header=not header):
            print(line, flush=True)
        header = True
        if chosen.kernels:
            print("\n" + "\n".join(markdown(kernel_rows(step))) + "\n", flush=True)
            header = False
    write_report(chosen.json, {"what": MODEL, "counted": counted, **vars(chosen)}, records)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = report_parser("tools.cuda.cost_model", __doc__)
    models = f"skipgram,cbow,{GENERATION}"
    made.add_argument("--model", default=models, help=f"several with commas; {GENERATION}: making them")
    made.add_argument("--shapes", default="100/5/5,300/15/10", help="dims/negatives/window")
    made.add_argument("--rows", default="4096,16384,65536", help="rows of a step")
    made.add_argument("--vocabulary", type=int, default=70_000)
    made.add_argument("--kernels", action="store_true", help="print each kernel's part too")
    return made


def _steps(chosen: argparse.Namespace) -> Iterator[Step]:
    shapes = [tuple(map(int, shape.split("/"))) for shape in chosen.shapes.split(",")]
    for model in chosen.model.split(","):
        for shape in shapes:
            if model == GENERATION:
                yield trace_generation(Shape(model, *shape), chosen.vocabulary)
            else:
                for rows in map(int, chosen.rows.split(",")):
                    yield trace_step(Shape(model, *shape), rows, chosen.vocabulary)


def trace_step(shape: Shape, rows: int, vocabulary: int) -> Step:
    """The second of two steps: L2 holds what the first has left."""
    rng = np.random.default_rng(1)
    weights = [rng.random((vocabulary, shape.dims), dtype=np.float32) - np.float32(0.5) for _ in range(2)]
    batch = zipf_rows(rng, vocabulary, 2 * rows, shape.negatives, shape.window)
    tracer, rate = Tracer(SPECS), np.array([0.01], np.float32)
    with installed(_device(tracer)):
        backend = CudaBackend(*weights, model=shape.model, tau=128.0, zero_hits=True, graphs=False)
        for begin in (0, rows):
            tracer.take()
            backend.train(batch, np.array([begin, begin + rows]), rate)
        work = tracer.take()
    contexts = batch.context[batch.offset[rows] : batch.offset[2 * rows]]
    outputs = np.concatenate([batch.target[rows:], batch.negatives[rows:].reshape(-1)])
    touched = len(np.unique(contexts)) + len(np.unique(outputs))
    return Step(shape, rows, 2.0 * touched * shape.row_bytes, work)


def trace_generation(shape: Shape, vocabulary: int, batch_size: int = 16_384, steps: int = 4) -> Step:
    """Making the rows of some steps, and copying each to where it is trained from, for the second time."""
    rng = np.random.default_rng(1)
    piece, tables = zipf_tokens(rng, vocabulary, 2 * steps * batch_size)
    tracer, sampling, made = Tracer(SPECS), Sampling(shape.window, shape.negatives, "exclude_target", 1), 0
    with installed(_device(tracer)):
        import cupy
        import cupyx

        generator = Generator(cupy, cupyx.empty_pinned, tables, sampling, lambda size, what: None)
        for first in (0, steps):
            tracer.take()
            (block,) = generator.step_ranges(token_ranges([piece], batch_size, first, first + steps, shape.window), 0)
            assert isinstance(block.rows, DeviceRows)
            made = _copy_steps(block.rows, cupy, cupyx)
        work = tracer.take()
    return Step(shape, made, 0.0, work)


def _copy_steps(rows: DeviceRows, cupy: Any, cupyx: Any) -> int:
    none = np.empty(0, np.int64)
    listed = rows.listed(rows.bounds, np.zeros(len(rows.bounds) - 1, np.float32), none, none, none)
    steps = cupy.empty(1 + listed.size, "int32")
    steps.set(np.append(0, listed).astype(np.int32))
    for number, (count, contexts) in enumerate(listed[:, :2].tolist()):
        packed = cupy.empty(64 + rows.tiles + count * (2 + rows.negatives.shape[1]) + contexts, "int32")
        rows.copy_step(packed, steps, number)
    return int(rows.bounds[-1])


def _device(tracer: Tracer) -> Device:
    return Device(architecture=ARCHITECTURE, observer=tracer, policy="early", multiprocessors=MULTIPROCESSORS)


def kernel_rows(step: Step) -> list[dict[str, str]]:
    """A step's kernels, for the first GPU."""
    spec, found = SPECS[0], []
    for name, work in step.work.items():
        times = work.times(spec)
        limit = max(times, key=lambda resource: times[resource])
        found.append(
            {
                "kernel": name,
                "launches": str(work.launches),
                "accesses": f"{work.accesses / step.rows:,.1f}",
                "asked": f"{32 * work.sectors / step.rows:,.0f}",
                "L2": f"{work.l2[spec.name] / step.rows:,.0f}",
                **{f"memory, {each.name}": f"{work.memory[each.name] / step.rows:,.0f}" for each in SPECS},
                "instructions": f"{work.instructions[spec.name] / step.rows:,.0f}",
                "us": f"{1e6 * times[limit]:,.1f} {limit}",
            }
        )
    return found


def markdown(rows: Sequence[Mapping[str, str]], header: bool = True) -> list[str]:
    lines = ["| " + " | ".join(row.values()) + " |" for row in rows]
    return ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0]), *lines] if header else lines


if __name__ == "__main__":
    sys.exit(main())
