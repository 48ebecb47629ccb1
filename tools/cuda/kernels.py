"""What NVIDIA's compiler makes of the kernels: registers, spills, shared memory, and how full they leave a GPU.

    python -m tools.cuda.kernels > docs/gpu-kernels.md

Needs NVRTC (see tools/cuda/nvrtc.py) and no GPU.
tests/backends/cuda/test_nvrtc_builds.py fails when a figure gets worse.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.backends.cuda.launcher import THREADS
from tools.cuda import nvrtc

SHAPES = (("skipgram", 100, 5), ("skipgram", 128, 5), ("skipgram", 300, 15), ("cbow", 100, 5), ("cbow", 300, 15))
"""model, dims, negatives"""
WARP = 32
REGISTERS = 65536
"""Of a multiprocessor, on all of them."""


class Gpu(NamedTuple):
    """What a multiprocessor of a compute capability holds."""

    examples: str
    warps: int
    blocks: int
    shared: int
    reserved: int
    """shared memory that the system takes from each block"""


GPUS = {
    75: Gpu("T4", 32, 16, 64 << 10, 0),
    80: Gpu("A100", 64, 32, 164 << 10, 1 << 10),
    90: Gpu("H100", 64, 32, 228 << 10, 1 << 10),
    120: Gpu("RTX 50", 48, 24, 100 << 10, 1 << 10),
}


class Figures(NamedTuple):
    """A row of the table."""

    architecture: int
    model: str
    dims: int
    negatives: int
    kernel: str
    registers: int
    spilled: int
    stack: int
    shared: int
    occupancy: int
    """percent of the warps that a multiprocessor can hold"""


def occupancy(kernel: nvrtc.Kernel, gpu: Gpu, threads: int = THREADS) -> float:
    """Part of the warps of a multiprocessor that blocks of the kernel fill; registers are given out 256 at a time."""
    warps = threads // WARP
    of_a_warp = -(-kernel.registers * WARP // 256) * 256
    blocks = min(gpu.blocks, gpu.warps // warps, REGISTERS // (of_a_warp * warps))
    if kernel.shared:
        blocks = min(blocks, gpu.shared // (kernel.shared + gpu.reserved))
    return blocks * warps / gpu.warps


def rows_of(architecture: int, model: str, dims: int, negatives: int, build: nvrtc.Build) -> list[Figures]:
    """What the compiler says about the kernels of a build."""
    return [
        Figures(
            architecture,
            model,
            dims,
            negatives,
            kernel.name,
            kernel.registers,
            kernel.spilled,
            kernel.stack,
            kernel.shared,
            round(100 * occupancy(kernel, GPUS[architecture])),
        )
        for kernel in build.kernels
    ]


def figures() -> Iterator[Figures]:
    """All architectures and shapes; kernels that the shape does not change are there once."""
    seen = set()
    for architecture in GPUS:
        builds = [(*shape, nvrtc.build_step(architecture, *shape)) for shape in SHAPES]
        for model, dims, negatives, build in [*builds, ("rows", 0, 0, nvrtc.build_generation(architecture))]:
            for row in rows_of(architecture, model, dims, negatives, build):
                same = (architecture, row.kernel, *row[5:])
                if same not in seen:
                    seen.add(same)
                    yield row


def document() -> str:
    version = ".".join(map(str, nvrtc.version()))
    lines = [
        "# What the compiler makes of the CUDA kernels",
        "",
        f"By NVRTC {version}, without a GPU; made by `python -m tools.cuda.kernels`. Blocks have {THREADS}",
        "threads. Occupancy is the part of a multiprocessor's warps that such blocks can fill. A kernel that other",
        "shapes do not change is listed with the first of them. Those of the model `rows` make rows, of any shape.",
        "",
        *(f"- sm_{architecture}: {gpu.examples}" for architecture, gpu in GPUS.items()),
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
    ]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in figures()]
    return "\n".join(lines) + "\n"


HEADER = (
    "sm",
    "model",
    "dims",
    "negatives",
    "kernel",
    "registers",
    "bytes spilled",
    "bytes of stack",
    "bytes shared",
    "occupancy %",
)


if __name__ == "__main__":
    sys.stdout.write(document())
