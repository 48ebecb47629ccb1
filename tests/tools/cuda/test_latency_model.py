"""The model that knows latency: chains of dependent loads, blocks side by side, and what the host adds."""

from __future__ import annotations

import numpy as np
import pytest

from tools.cuda import latency_model, nvrtc
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import Device, installed
from tools.cuda.latency_model import GAP, GAPS_BETWEEN_GRAPHS, H200, Host, step_seconds
from tools.cuda.trace import Tracer, Work, last_end

CHAIN = """
KERNEL follow(const int *next, int *out, int steps) {
  int at = threadIdx.x;
  for (int i = 0; i < steps; i++) at = next[at];
  out[blockIdx.x * blockDim.x + threadIdx.x] = at;
}
"""


def of_kernel(launches, chains):
    work = Work(launches, chains={H200.name: chains})
    for name in ("instructions", "fp32", "l2", "memory"):
        getattr(work, name)[H200.name] = 0
    return work


def test_blocks_begin_where_others_have_left():
    ends = np.array([5.0, 1.0, 1.0, 4.0])
    assert last_end(ends, 1) == 11
    assert last_end(ends, 2) == 6
    assert last_end(ends, 100) == 5
    assert last_end(np.array([]), 4) == 0


def test_plan_and_training_are_side_by_side_but_for_the_first_step_of_a_graph():
    work = {"scatter_pairs": of_kernel(3, 20e-6), "update_weights": of_kernel(1, 30e-6)}
    plan, train = 20e-6 + 4 * GAP, 30e-6 + GAP
    between = GAPS_BETWEEN_GRAPHS * GAP
    assert step_seconds(work, Host("", 0, 0, 1)) == pytest.approx(train + between)
    assert step_seconds(work, Host("", 0, 0, 32)) == pytest.approx(train + (plan + between) / 32)
    assert step_seconds(work, Host("", 1, 0, 32)) == 1
    idle = Host("", 0, 1e-3, 1)
    row = latency_model.speed_row(work, 2048, idle)
    assert row["us a step"] == f"{1e6 * (train + between + 1e-3 * 2048 / 2**18):.0f}"


@pytest.mark.skipif(not COMPILER or nvrtc.library() is None, reason="g++ or NVRTC is not installed")
@pytest.mark.parametrize(("stride", "each"), [(1, 35.0), (64, 300.0)])
def test_a_chain_of_loads_takes_the_time_of_each(monkeypatch, stride, each):
    """From L2 where each is of another sector, from L1 where the block has had it before."""
    from pipeline.backends.cuda.cubins import load_module
    from pipeline.backends.cuda.launcher import FOLDER

    tracer, steps = Tracer([H200], 300.0), 40
    code = "#define THREADS 32\n" + (FOLDER / "base.cu").read_text() + CHAIN
    with installed(Device(architecture=80, observer=tracer)):
        import cupy

        follow = load_module(cupy, code, ()).get_function("follow")
        numbers = np.arange(6400, dtype=np.int32)
        numbers = (numbers + stride) % 6400 if stride > 1 else numbers
        following, out = cupy.empty(6400, "int32"), cupy.empty(32, "int32")
        following.set(numbers)
        follow((1,), (32,), (following, out, np.int32(steps)))
        out.get(out=np.empty(32, np.int32))
    cycles = tracer.take()["follow"].chains[H200.name] * H200.clock
    assert steps * each < cycles < steps * (each + 25) + 300  # some instructions between two loads
