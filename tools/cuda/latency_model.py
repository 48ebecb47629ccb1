"""What a training step takes on an H200 by a model that knows latency: an estimate, not measured.

    python -m tools.cuda.latency_model [--positions=2048,16384] [--dims=100]

What NVIDIA's compiler makes of the kernels runs on the emulator (tools/cuda/cost_model.py). Here each thread knows when
its instructions could be issued: one after the other, each when what it reads is there. So the time of a block is that
of its longest chain of dependent loads and operations, and that of a kernel follows from blocks that run side by side.
A kernel also takes no less than the busiest resource needs. Kernels that wait for each other have a gap between them.

Two numbers are left for a device to calibrate, LOAD_CYCLES and GAP; they are from others' measurements of an H100.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence

import numpy as np

from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.made_steps import MOST_STEPS
from tools.cuda import nvrtc
from tools.cuda.cost_model import ARCHITECTURE, SPECS
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import Device, installed
from tools.cuda.trace import Tracer, Work
from tools.cuda.zipf import zipf_rows
from tools.measuring.reports import format_table, report_parser, write_report

ESTIMATE = "estimate, not measured"
H200 = SPECS[0]._replace(name="H200", clock=1.98e9, memory=4.8e12)
LOAD_CYCLES = 270.0
"""Until a load from L2 is there."""
GAP = 1.3e-6
"""Seconds from the end of a kernel to the beginning of the one that waits for it, in a graph."""
GAPS_BETWEEN_GRAPHS = 6
"""As many gaps are from the end of a graph to the beginning of one that waits for it."""
ROWS_OF_A_POSITION = 0.776
"""What subsampling at 1e-3 leaves of words that follow Zipf's law."""
STRETCH = 1 << 18
"""Positions of a step range."""
TRAIN = ("sum_skipgram_tiles", "sum_cbow_tiles", "sum_chunks", "update_weights")


@dataclasses.dataclass(frozen=True)
class Host:
    """What the host adds, in seconds."""

    name: str
    step: float
    """to hand over a step"""
    idle: float
    """between two step ranges, in which the GPU has nothing to do"""
    steps: int
    """that one graph has: the plan of its first step is beside no training"""


HOSTS = (
    Host("a step at a time", 40e-6, 2e-3, 1),
    Host("graphs of many steps, started before the loss is asked for", 1e-6, 0.0, MOST_STEPS),
)
"""The first is how the host was until 2026-11; figures by benchmarks.gpu_host on a machine without other work."""


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    missing = "g++" if not COMPILER else "NVRTC (pip install nvidia-cuda-nvrtc-cu12)" if not nvrtc.library() else ""
    if missing:
        print(f"tools.cuda.latency_model: {missing} is not installed", file=sys.stderr)
        return 2
    print(
        f"{ESTIMATE}: an H200, {chosen.model}, dims {chosen.dims}, {chosen.negatives} negatives, window {chosen.window}"
    )
    rows = []
    for positions in map(int, chosen.positions.split(",")):
        work = trace(chosen, positions)
        print("\n" + format_table(kernel_rows(work)), flush=True)
        rows += [speed_row(work, positions, host) for host in HOSTS]
    print("\n" + format_table(rows))
    write_report(chosen.json, {"what": ESTIMATE, **vars(chosen)}, rows)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = report_parser("tools.cuda.latency_model", __doc__)
    parser.add_argument("--model", default="skipgram", choices=("skipgram", "cbow"))
    for name, value in (("dims", 100), ("negatives", 5), ("window", 5), ("vocabulary", 70_000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--positions", default="2048,16384", help="of a step, several with commas")
    return parser


def trace(chosen: argparse.Namespace, positions: int) -> dict[str, Work]:
    """Kernel -> what it does in a step; the caches are as the step before has left them."""
    rng, rows = np.random.default_rng(1), round(positions * ROWS_OF_A_POSITION)
    weights = [rng.random((chosen.vocabulary, chosen.dims), dtype=np.float32) - np.float32(0.5) for _ in range(2)]
    batch = zipf_rows(rng, chosen.vocabulary, 2 * rows, chosen.negatives, chosen.window)
    tracer, rate = Tracer([H200], LOAD_CYCLES), np.array([0.01], np.float32)
    device = Device(architecture=ARCHITECTURE, observer=tracer, policy="early", multiprocessors=H200.multiprocessors)
    with installed(device):
        backend = CudaBackend(*weights, model=chosen.model, tau=128.0, zero_hits=True, graphs=False)
        for begin in (0, rows):
            tracer.take()
            backend.train(batch, np.array([begin, begin + rows]), rate)
        return tracer.take()


def seconds(work: Work) -> float:
    """Of all launches of a kernel: its chains, or what the busiest resource needs."""
    return max(work.chains[H200.name], *work.times(H200).values())


def kernel_rows(work: dict[str, Work]) -> list[dict[str, str]]:
    return [
        {
            "kernel": name,
            "launches": str(of.launches),
            "chains, us": f"{1e6 * of.chains[H200.name]:.1f}",
            "busiest resource, us": f"{1e6 * max(of.times(H200).values()):.1f}",
        }
        for name, of in work.items()
    ]


def step_seconds(work: dict[str, Work], host: Host) -> float:
    """Of a step in the middle of a step range: plan and training are side by side, but for the first of a graph."""
    took = {name: seconds(of) + GAP * of.launches for name, of in work.items()}
    train = sum(took[name] for name in took if name in TRAIN)
    plan = sum(took.values()) - train + GAP  # a copy of the step comes first
    of_graph = GAPS_BETWEEN_GRAPHS * GAP + (min(plan, train) if host.steps > 1 else 0.0)
    return max(host.step, max(plan, train) + of_graph / host.steps)


def speed_row(work: dict[str, Work], positions: int, host: Host) -> dict[str, str]:
    step = step_seconds(work, host)
    in_all = step + host.idle * positions / STRETCH
    return {
        "positions": f"{positions:,}",
        "host": host.name,
        "us a step": f"{1e6 * in_all:.0f}",
        "million words/s": f"{positions / in_all / 1e6:.0f}",
    }


if __name__ == "__main__":
    sys.exit(main())
