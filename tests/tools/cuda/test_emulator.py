"""The emulator and the stand-in for CuPy notice what a device would not forgive."""

import numpy as np
import pytest

from tools.cuda.emulator.emulation import COMPILER, EmulationError, compiled
from tools.cuda.emulator.stand_in_cupy import Device, installed

pytestmark = pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")

START = """
#define KERNEL extern "C" __global__ void
#define ALL 0xffffffffu
"""


def launch(body, *, numbers=64, grid=1, block=64, watched=False, schedule=0, flags=()):
    """Run `KERNEL k(int *a)` on an array of `numbers`; returns what the array is then."""
    code = START + "KERNEL k(int *a) {" + body + "}"
    with installed(Device()):
        import cupy

        array, host = cupy.empty(numbers, "int32"), np.zeros(numbers, np.int32)
        array.set(host)
        cupy.cuda.Device().synchronize()
        compiled(code, flags, watched).kernels["k"](grid, block, schedule, 1, (array,))
        return array.get(out=host)


SHUFFLES = """
  int t = threadIdx.x, lane = t % 32;
  int sum = t;
  for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(ALL, sum, step);
  unsigned odd = __ballot_sync(ALL, t & 1), same = __match_any_sync(ALL, t / 8);
  SHARED(int, kept, 64);
  kept[t] = sum + (odd == 0xaaaaaaaau) + 10000 * (same == 0xffu << lane / 8 * 8);
  __syncthreads();
  a[t] = kept[63 - t];
  if (t == 0) atomicAdd(&a[0], 1000000);
"""


@pytest.mark.parametrize("schedule", range(4))
@pytest.mark.parametrize("watched", [True, False])
def test_collectives_do_what_cuda_says(schedule, watched):
    found = launch(SHUFFLES, schedule=schedule, watched=watched)
    sums = [sum(range(32)), sum(range(32, 64))]
    wanted = [10001 + sums[(63 - t) // 32] for t in range(64)]
    wanted[0] += 1000000
    assert found.tolist() == wanted


def test_warps_take_turns_or_run_ahead():
    turns = """
      for (int i = 0; i < 3; i++) {
        if (threadIdx.x % 32 == 0) a[1 + threadIdx.x / 32 * 3 + i] = atomicAdd(&a[0], 1);
        __syncwarp();
      }
    """
    assert launch(turns, schedule=0)[1:7].tolist() == [0, 2, 4, 1, 3, 5]
    assert launch(turns, schedule=1)[1:7].tolist() == [3, 4, 5, 0, 1, 2]


@pytest.mark.slow
def test_the_portable_emulator_does_the_same():
    flags = ("-DEMULATOR_PORTABLE",)
    assert launch(SHUFFLES, flags=flags).tolist() == launch(SHUFFLES).tolist()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("if (threadIdx.x < 40) __syncthreads();", "wait for each other at different places, or for one that has left"),
        ("if (threadIdx.x < 40) __syncthreads(); else __syncthreads();", "wait for each other at different places"),
        ("if (threadIdx.x & 1) a[0] = __shfl_sync(ALL, 1, 0);", "wait for each other"),
        ("if (threadIdx.x < 16) a[0] = __shfl_sync(0xffffu, 1, 0);", "a collective of less than a warp"),
        ("SHARED(int, s, 64); s[threadIdx.x + 1] = 1;", "a shared array of 256 bytes was written beside"),
    ],
)
def test_wrong_collectives_are_noticed(body, said):
    for schedule in range(4):
        with pytest.raises(EmulationError, match=said):
            launch(body, schedule=schedule)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("a[threadIdx.x / 2] = 1;", "a race"),
        ("a[threadIdx.x] = 1; if (threadIdx.x == 5) a[1] = a[40];", "a race"),
        ("a[threadIdx.x] = 1; int x = __shfl_sync(ALL, 1, 0); a[threadIdx.x ^ 1] = x;", "a race"),  # orders no memory
        ("a[threadIdx.x] = 1; __syncwarp(); a[(threadIdx.x + 32) % 64] = 1;", "a race"),
        ("atomicAdd(&a[0], 1); if (threadIdx.x == 9) a[0] = 3;", "a race"),
        ("a[threadIdx.x] = a[64 + threadIdx.x];", "4 bytes were touched that are in no array"),
        ("SHARED(int, s, 32); s[threadIdx.x] = 1;", "in no array"),
    ],
)
def test_races_and_strays_are_noticed(body, said):
    with pytest.raises(EmulationError, match=said):
        launch(body, watched=True)


@pytest.mark.parametrize(
    "body",
    [
        "a[threadIdx.x] = 1; __syncthreads(); a[63 - threadIdx.x] = 2;",
        "a[threadIdx.x] = 1; __syncwarp(); a[threadIdx.x ^ 1] = 2;",
        "atomicAdd(&a[0], 1); __syncthreads(); if (threadIdx.x == 9) a[0] = 3;",
        "int x = a[0] + a[1]; __syncthreads(); a[threadIdx.x] = x;",
    ],
)
def test_what_a_barrier_orders_is_no_race(body):
    for schedule in range(4):
        launch(body, watched=True, schedule=schedule)


def test_blocks_are_never_in_order():
    with pytest.raises(EmulationError, match="a race"):
        launch("if (threadIdx.x == 0) a[0] = a[0] + 1;", grid=3, watched=True)
    assert launch("a[blockIdx.x * blockDim.x + threadIdx.x] = gridDim.x;", grid=2, block=32).tolist() == [2] * 64
