"""A team of threads inside kernels: shared counters that tasks are taken from, and a barrier.

The threads are plain Python threads that have released the GIL. A waiting thread soon gives its CPU away, so a team on
a busy machine loses no more than its share of it.
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
"""How often a waiting thread looks, some ten nanoseconds apart, before it yields its CPU."""
_YIELDS = 16
"""How often it yields before it sleeps: Linux moves a thread to an idle CPU when it wakes up, not when it yields."""
_NAP = 20
"""Microseconds."""
_yield_cpu = types.ExternalFunction("sched_yield", types.int32())
_sleep = types.ExternalFunction("usleep", types.int32(types.uint32))


class Member(NamedTuple):
    """One thread of a team."""

    thread: int
    """int64: number of this thread, from 0"""
    threads: int
    """int64: size of the team; all of it must take part"""
    counters: np.ndarray
    """int64, zeros at the start, one array for the team: the counter of the barrier, then those of tasks"""


MEETINGS = 0
"""The counter of the barrier: how often threads have arrived."""
FIRST_TASKS = 8
"""The first counter of tasks. Those before it are not used: they keep the barrier's cache line, on which all threads
wait, free of other writes."""


@intrinsic
def fetch_add(typing_context, array, index, value):
    """array[index] += value as one atomic operation; returns the old value. int64 arrays."""

    def generate(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [args[1]]), args[2], "acq_rel")

    return types.int64(array, types.intp, types.int64), generate


@kernel(allocates=False)
def next_task(member, at, tasks):
    """The next of the tasks 0..tasks-1 for this thread, or `tasks` when none is left.

    Each thread owns consecutive tasks, and takes those of other threads when its own are done. Neighbouring tasks touch
    the same memory, and so do equal tasks of successive steps: a thread mostly finds it in its CPU's cache.

    Args:
      member: a `Member`; its counters from `at` on, one for each thread, count how many of its tasks are taken.
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
    """Return when counters[index] has reached `value`: spin for a while, then yield, then sleep."""
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
def wait_for_all(member, meeting):
    """The team's barrier: returns when every thread has called it for the `meeting`-th time (from 1)."""
    if member.threads > 1:
        # The counter only rises. So no thread has to reset it, and a slow one cannot miss that all had arrived.
        fetch_add(member.counters, MEETINGS, np.int64(1))
        wait_for(member.counters, MEETINGS, member.threads * meeting)
