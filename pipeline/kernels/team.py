"""A team of threads inside kernels: shared counters to take work from, and a barrier.

The threads are plain Python threads that have let go of the GIL. They wait by
giving their CPU away, so a team beside other busy processes loses no more than its
share of the machine.
"""

from __future__ import annotations

import platform

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pipeline.kernels.compile import kernel

_X86 = platform.machine().lower() in ("x86_64", "amd64")
_SPINS = 2000
"""Turns of some ten nanoseconds before a waiting thread offers its CPU to others."""
_YIELDS = 16
"""Offers before it sleeps: a thread that only yields is never moved to an idle CPU, one that wakes up is."""
_NAP = 20
"""Microseconds."""
_yield_cpu = types.ExternalFunction("sched_yield", types.int32())
_sleep = types.ExternalFunction("usleep", types.int32(types.uint32))


@intrinsic
def fetch_add(typing_context, array, index, value):
    """array[index] += value as one atomic operation; returns the old value. int64 arrays."""

    def generate(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [args[1]]), args[2], "acq_rel")

    return types.int64(array, types.intp, types.int64), generate


@kernel(allocates=False)
def next_task(counters, at, tasks, thread, threads):
    """The next of tasks 0..tasks-1 for this thread, or `tasks` when none is left.

    Each thread has a stretch of its own, and helps others when that is done: neighbouring tasks touch
    the same memory, and so does a stretch of one step and the same stretch of the next.

    Args:
      counters: from `at` on, one for each thread: how many of its stretch are taken.
    """
    for turn in range(threads):
        owner = (thread + turn) % threads
        task = owner * tasks // threads + fetch_add(counters, at + owner, 1)
        if task < (owner + 1) * tasks // threads:
            return task
    return tasks


@intrinsic
def _load_acquire(typing_context, array, index):
    def generate(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load_atomic(builder.gep(data, [args[1]]), "acquire", align=8)

    return types.int64(array, types.intp), generate


@intrinsic
def _pause(typing_context):
    def generate(context, builder, signature, args):
        if _X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


@kernel(allocates=False)
def wait_for(counters, index, value):
    """Return when counters[index] has reached `value`: spin a little, then give way, then sleep."""
    turns = 0
    while _load_acquire(counters, index) < value:
        turns += 1
        if turns < _SPINS:
            _pause()
        elif turns < _SPINS + _YIELDS:
            _yield_cpu()
        else:
            _sleep(np.uint32(_NAP))


@kernel(allocates=False)
def meet(counters, index, threads, meeting):
    """Barrier: the `meeting`-th (from 1) on counters[index]; every thread of the team must come."""
    if threads > 1:
        fetch_add(counters, index, np.int64(1))
        wait_for(counters, index, threads * meeting)
