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

from pipeline.backends.cpu import CpuBackend
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.launcher import Launcher
from pipeline.backends.cuda.made_steps import MadeSteps
from pipeline.backends.cuda.token_ranges import POSITIONS_AT_ONCE
from tools.cuda.device_parts import OTHER, SAME, Shape, Sizes, run_tool, train_epoch

PROFILED = """
from tools.cuda.device_parts import Shape, Sizes, train_epoch
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
    """Microseconds of a step in a graph of many, which is replayed over the same steps."""
    import cupy

    results: dict[str, Any] = {}
    for shape in _shapes(sizes)[:2]:
        for batch_size in sizes.some_steps:
            backend: Any = shape.backend(CudaBackend)
            whole = POSITIONS_AT_ONCE // batch_size * batch_size  # step ranges of as many steps
            train_epoch(backend, shape, min(sizes.tokens, 2 * whole), batch_size)
            recorded, stream = backend._made_steps.graphs, backend._train_stream
            backend._made_steps._steps[:1].set(np.zeros(1, np.int32))  # each replay begins with the first step listed
            line = {}
            for steps, graph in sorted(recorded.items()):
                begin, end = cupy.cuda.Event(), cupy.cuda.Event()
                graph.launch(stream)
                begin.record(stream)
                for _ in range(sizes.repeat):
                    graph.launch(stream)
                end.record(stream)
                stream.synchronize()
                took = cupy.cuda.get_elapsed_time(begin, end)
                line[f"graph of {steps}"] = round(1e3 * took / sizes.repeat / steps, 1)
            results[f"{shape}, steps of {batch_size:,}"] = line
    return results


def host(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, Any]:
    """The host's time to hand over a step, and for a step range besides, most of it while the GPU trains."""
    results, start = {}, MadeSteps.start
    shape = _shapes(sizes)[0]
    for batch_size in sizes.some_steps:
        marks: list[tuple[float, float, int]] = []

        def timed(self: Any, rows: Any, listed: np.ndarray, *given: Any, marks: list = marks) -> Any:
            before = time.perf_counter()
            kept = start(self, rows, listed, *given)
            marks.append((before, time.perf_counter(), len(listed)))
            return kept

        backend = shape.backend(CudaBackend)
        tokens = min(sizes.tokens, 2_000_000)
        train_epoch(backend, shape, tokens, batch_size)
        with patched(MadeSteps, "start", timed):
            train_epoch(backend, shape, tokens, batch_size)
        gaps = sorted(1e3 * (after[0] - before[1]) for before, after in zip(marks, marks[1:]))
        results[f"steps of {batch_size:,}"] = {
            "us a step": round(1e6 * float(np.median([(end - begin) / steps for begin, end, steps in marks])), 2),
            "ms between two of them": [round(gap, 2) for gap in gaps[-8:]],
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
