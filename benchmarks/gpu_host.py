"""What training costs the host of a GPU: real CuPy over a CUDA that does nothing, so no GPU is needed.

    python -m benchmarks.gpu_host [--step=2048,16384] [--tokens=2000000]

Needs the CuPy of tools/cuda/fake_driver/requirements.txt. A step's time is that of handing it over. A step range is
262,144 positions; what the host does for one besides (rows of the range after it, the loss of the one before) it does
while the GPU trains. Times are those in which the thread had a CPU, so that other work on the machine does not count.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.backends.cuda.token_ranges import POSITIONS_AT_ONCE
from tools.cuda.device_speed import patched
from tools.cuda.fake_driver.idle import idle_cuda
from tools.measuring.reports import format_table, report_parser, write_report


def main(arguments: Sequence[str] | None = None) -> int:
    parser = report_parser("benchmarks.gpu_host", __doc__)
    parser.add_argument("--step", default="2048,16384", help="positions of a step, several with commas")
    parser.add_argument("--tokens", type=int, default=2_000_000)
    chosen = parser.parse_args(arguments)
    idle_cuda()
    rows = [measure(int(step), chosen.tokens) for step in chosen.step.split(",")]
    print(format_table([{name: f"{value:,}" for name, value in row.items()} for row in rows]))
    write_report(chosen.json, vars(chosen), rows)
    return 0


def measure(batch_size: int, tokens: int) -> dict[str, Any]:
    """Of the second of two epochs: the first makes room and records graphs."""
    from pipeline.backends.cuda.backend import CudaBackend
    from pipeline.backends.cuda.made_steps import MadeSteps
    from tools.cuda.device_parts import Shape, train_epoch

    shape, handed_over = Shape("skipgram", 100), list[tuple[float, float]]()
    with _made_up_rows(), _noted(MadeSteps, "start", handed_over):
        backend = shape.backend(CudaBackend)
        train_epoch(backend, shape, tokens, batch_size)
        handed_over.clear()
        train_epoch(backend, shape, tokens, batch_size)
    steps = POSITIONS_AT_ONCE // batch_size
    between = [after[0] - before[1] for before, after in zip(handed_over, handed_over[1:])]
    return {
        "positions of a step": batch_size,
        "us a step": round(1e6 * _quartile([end - begin for begin, end in handed_over[:-1]]) / steps, 2),
        "ms a step range besides": round(1e3 * _quartile(between[:-1]), 2),
    }


def _quartile(seconds: Sequence[float]) -> float:
    """The lower one: what a machine does besides makes most times longer."""
    return float(np.quantile(seconds, 0.25))


@contextlib.contextmanager
def _made_up_rows() -> Iterator[None]:
    """What a device would have said of its rows: four of five positions are kept, each with six contexts."""
    from pipeline.backends.cuda import generation

    finish = generation.Generator._finish

    def finished(self: Any, token_range: Any, slot: Any) -> Any:
        room = generation._Room.of(token_range, self.sampling.window)
        downloads = generation._views(slot.host_downloads, room.downloads(self.sampling.negatives))
        rows = np.minimum(np.arange(room.steps + 1) * token_range.batch_size, room.own) * 4 // 5
        downloads["bounds"][:], downloads["context_bounds"][:] = rows, 6 * rows
        downloads["target"][:], downloads["contexts"][:], downloads["negatives"][:] = 0, 6, 1
        return finish(self, token_range, slot)

    with patched(generation.Generator, "_finish", finished):
        yield


@contextlib.contextmanager
def _noted(owner: Any, name: str, times: list[tuple[float, float]]) -> Iterator[None]:
    """Notes when calls of a method begin and end, by the time that this thread has had a CPU."""
    method = getattr(owner, name)

    def noted(*given: Any) -> None:
        began = time.thread_time()
        method(*given)
        times.append((began, time.thread_time()))

    with patched(owner, name, noted):
        yield


if __name__ == "__main__":
    sys.exit(main())
