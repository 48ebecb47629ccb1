"""A team of threads inside kernels: shared counters to take work from, and a barrier.

The threads are plain Python threads that have let go of the GIL. They wait by
giving their CPU away, so a team beside other busy processes loses no more than its
share of the machine.
"""

from __future__ import annotations

import platform
from typing import NamedTuple

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


class Member(NamedTuple):
    """One thread of a team."""

    thread: int
    """int64: which one, from 0"""
    threads: int
    """int64: how many there are; all of them must take part"""
    counters: np.ndarray
    """int64, zeros at the start, one array for all: that of the meetings, then those that tasks are taken from"""


MEETINGS = 0
"""The counter of meetings."""
FIRST_TASKS = 8
"""The first counter of tasks: the others before it keep the cache line of the meetings free, on which all wait."""


@intrinsic
def fetch_add(typing_context, array, index, value):
    """array[index] += value as one atomic operation; returns the old value. int64 arrays."""

    def generate(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [args[1]]), args[2], "acq_rel")

    return types.int64(array, types.intp, types.int64), generate


@kernel(allocates=False)
def next_task(member, at, tasks):
    """The next of tasks 0..tasks-1 for this thread, or `tasks` when none is left.

    Each thread has a stretch of its own, and helps others when that is done: neighbouring tasks touch
    the same memory, and so does a stretch of one step and the same stretch of the next.

    Args:
      member: a `Member`; its counters from `at` on, one for each thread, say how many of its stretch are taken.
    """
    threads = member.threads
    for turn in range(threads):
        owner = (member.thread + turn) % threads
        task = owner * tasks // threads + fetch_add(member.counters, at + owner, 1)
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
def meet(member, meeting):
    """Barrier: the team's `meeting`-th (from 1); every thread must come."""
    if member.threads > 1:
        # The counter only rises, so nobody has to reset it, and no thread can miss a meeting that others have left.
        fetch_add(member.counters, MEETINGS, np.int64(1))
        wait_for(member.counters, MEETINGS, member.threads * meeting)
