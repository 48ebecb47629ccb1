"""Is a GPU fast, and where does its time go? The parts of `benchmarks.first_device --second`.

Words a second are positions a second: words before subsampling, as word2vec counts them.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.device_parts import OTHER, SAME, Shape, Sizes, run_tool, train_epoch
from pipeline.backends.cpu import CpuBackend
from pipeline.backends.cuda import backend as backend_module
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.launcher import Launcher

PROFILED = """
from benchmarks.device_parts import Shape, Sizes, train_epoch
from pipeline.backends.cuda.backend import CudaBackend
shape = Shape("skipgram", 100)
train_epoch(shape.backend(CudaBackend, graphs=False), shape, 16_384 * 4, 16_384)
"""
"""What ncu looks at."""


def _shapes(sizes: Sizes) -> list[Shape]:
    if sizes.is_small:
        return [Shape("skipgram", 16, vocabulary=sizes.vocabulary), Shape("cbow", 16, vocabulary=sizes.vocabulary)]
    shapes = [Shape(model, dims) for dims in (100, 128, 300) for model in ("skipgram", "cbow")]
    # what others have published figures of: CBOW, 128 dims, two vocabularies, of which an H200's cache holds the first
    return [*shapes, Shape("cbow", 128, vocabulary=sizes.large_vocabulary), Shape("skipgram", 300, 15, 10)]


def speed(sizes: Sizes, left: Callable[[], float], folder: Path) -> list[dict[str, Any]]:
    """The default path, rows made on the GPU; the best of two epochs after a first one."""
    results = []
    for shape in _shapes(sizes):
        for batch_size in sizes.steps:
            if left() < 120 and not sizes.is_small:
                results.append({"shape": str(shape), "step": batch_size, "left out": "no time"})
                continue
            backend = shape.backend(CudaBackend)
            train_epoch(backend, shape, min(sizes.tokens, 600_000), batch_size)  # compiles, makes room, records graphs
            best = min(train_epoch(backend, shape, sizes.tokens, batch_size) for _ in range(2))
            steps = -(-sizes.tokens // batch_size)
            results.append(
                {
                    "shape": str(shape),
                    "step": batch_size,
                    "million words/s": round(sizes.tokens / best.seconds / 1e6, 2),
                    "us a step": round(1e6 * best.seconds / steps, 1),
                    "waiting for rows": f"{best.waiting / best.seconds:.0%}",
                }
            )
            print(results[-1], flush=True)
    return results


@contextlib.contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def kernels(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, Any]:
    """Microseconds of each kernel by events around plain launches, each with a microsecond or two of its own."""
    import cupy

    results, launch = {}, Launcher.__call__
    for shape in _shapes(sizes)[:2]:
        for batch_size in sizes.some_steps:
            marks: list[tuple[str, Any, Any]] = []

            def timed(self: Launcher, name: str, *given: Any, marks: list = marks) -> None:
                before, after = cupy.cuda.Event(), cupy.cuda.Event()
                before.record()
                launch(self, name, *given)
                after.record()
                marks.append((name, before, after))

            backend, tokens = shape.backend(CudaBackend, graphs=False), batch_size * 8
            train_epoch(backend, shape, tokens, batch_size)
            with patched(Launcher, "__call__", timed):
                train_epoch(backend, shape, tokens, batch_size)
            cupy.cuda.Device().synchronize()
            times: dict[str, list[float]] = {}
            for name, before, after in marks:
                times.setdefault(name, []).append(1e3 * cupy.cuda.get_elapsed_time(before, after))
            results[f"{shape}, steps of {batch_size:,}"] = {
                name: {"us": round(float(np.median(took)), 1), "launches a step": len(took) / 8}
                for name, took in times.items()
            }
    return results


def graphs(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, Any]:
    """Microseconds of a step's graphs, replayed many times: plan, training, and both at once."""
    import cupy

    results: dict[str, Any] = {}
    for shape in _shapes(sizes)[:2]:
        for batch_size in sizes.some_steps:
            backend: Any = shape.backend(CudaBackend)
            train_epoch(backend, shape, batch_size * 8, batch_size)
            name, slots = f"{shape}, steps of {batch_size:,}", backend._slots
            if any(len(slot.graphs) < 2 for slot in slots):
                results[name] = "no graphs"
                continue
            plan, train = backend._plan_stream, backend._train_stream

            def elapsed(work: Callable[[], None], stream: Any) -> float:
                begin, end = cupy.cuda.Event(), cupy.cuda.Event()
                work()
                stream.synchronize()
                begin.record(stream)
                for _ in range(sizes.repeat):
                    work()
                end.record(stream)
                stream.synchronize()
                return round(1e3 * cupy.cuda.get_elapsed_time(begin, end) / sizes.repeat, 1)

            def both(slots: Any = slots, plan: Any = plan, train: Any = train) -> None:
                slots[1].graphs["_plan"].launch(plan)
                slots[0].graphs["_train"].launch(train)

            results[name] = {
                "plan": elapsed(lambda s=slots, p=plan: s[0].graphs["_plan"].launch(p), plan),  # type: ignore[misc]
                "training": elapsed(lambda s=slots, t=train: s[0].graphs["_train"].launch(t), train),  # type: ignore[misc]
                "training beside a plan": elapsed(both, train),
            }
            plan.synchronize()
    return results


def host(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, Any]:
    """The host's time for a step, and between step ranges, while the GPU may have nothing to train."""
    results, start = {}, backend_module.CudaBackend._start_step
    shape = _shapes(sizes)[0]
    for batch_size in sizes.some_steps:
        marks: list[tuple[float, float]] = []

        def timed(self: Any, *given: Any, marks: list = marks) -> None:
            before = time.perf_counter()
            start(self, *given)
            marks.append((before, time.perf_counter()))

        backend = shape.backend(CudaBackend)
        tokens = min(sizes.tokens, 2_000_000)
        train_epoch(backend, shape, tokens, batch_size)
        with patched(backend_module.CudaBackend, "_start_step", timed):
            train_epoch(backend, shape, tokens, batch_size)
        gaps = sorted(1e3 * (after[0] - before[1]) for before, after in zip(marks, marks[1:]))
        results[f"steps of {batch_size:,}"] = {
            "us a step": round(1e6 * float(np.median([end - begin for begin, end in marks])), 1),
            "longest gaps, ms": [round(gap, 2) for gap in gaps[-8:]],
        }
    return results


def cpu(sizes: Sizes, left: Callable[[], float], folder: Path) -> list[dict[str, Any]]:
    """The CPU's trainer beside it, by threads; its weights are those of the GPU."""
    shape, batch_size, results = _shapes(sizes)[0], sizes.some_steps[0], []
    tokens = min(sizes.tokens, 2_000_000)
    on_gpu = shape.backend(CudaBackend)
    train_epoch(on_gpu, shape, tokens, batch_size)
    wanted = [matrix.tobytes() for matrix in on_gpu.weights()]
    for threads in (1, 4, 16):
        backend = shape.backend(CpuBackend, threads=threads)
        seconds = train_epoch(backend, shape, tokens, batch_size).seconds
        same = [matrix.tobytes() for matrix in backend.weights()] == wanted
        speed_of = round(tokens / seconds / 1e6, 2)
        results.append({"threads": threads, "million words/s": speed_of, "weights": SAME if same else OTHER})
    return results


def ncu(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, Any] | str:
    """What limits the kernels of training, by hardware counters of a few launches."""
    if not shutil.which("ncu"):
        return "ncu is not there"
    sections = ["--set", "basic", "--section", "WarpStateStats", "--section", "MemoryWorkloadAnalysis"]
    which = ["--kernel-name", "regex:sum_|update_", "--launch-skip", "3", "--launch-count", "3"]
    command = ["ncu", "--clock-control", "none", *which, *sections, sys.executable, "-c", PROFILED]
    status, said = run_tool(*command, timeout=max(5.0, min(90.0, left() - 5)))
    (folder / "ncu.txt").write_text(said)
    return {"status": status, "end": said[-2000:]}
