"""The training step on a GPU beside the CPU backend: rows a second, and that both give the same bytes.

    python -m benchmarks.gpu [--dims=128 --negatives=5 --window=5 --vocabulary=70000] [--rows=2048,16384,65536]
    python -m benchmarks.gpu --memory      # what steps take, by arithmetic alone: needs no GPU

A step's rows are made up beforehand, Zipf-distributed, so that neither side waits for
them. `rows` are targets that subsampling has kept. Ends with status 2 without a GPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.common import format_table, write_report
from pipeline.backends import Backend, Batch
from pipeline.backends.cpu import CpuBackend
from pipeline.backends.cuda.buffers import Room, Shape, shown
from pipeline.backends.cuda.generation import bytes_of_blocks
from pipeline.errors import InputError
from pipeline.options import MODELS, available_cpus


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    sizes = [int(rows) for rows in chosen.rows.split(",")]
    if chosen.memory:
        print(format_table(memory_table()))
        return 0
    from pipeline.backends.choice import check_bits, gpu_for
    from pipeline.backends.cuda.backend import CudaBackend

    settings: dict[str, Any] = {"model": chosen.model, "tau": 128.0, "zero_hits": True}
    try:
        gpu = gpu_for("gpu")
        assert gpu
        check_bits(gpu, chosen.dims, chosen.negatives, settings)
    except InputError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return error.exit_status
    rng = np.random.default_rng(1)
    weights = [rng.random((chosen.vocabulary, chosen.dims), dtype=np.float32) - np.float32(0.5) for _ in range(2)]
    table = []
    for rows in sizes:
        batch = zipf_rows(rng, chosen.vocabulary, rows * chosen.steps, chosen.negatives, chosen.window)
        bounds = np.arange(chosen.steps + 1) * rows
        rates = np.full(chosen.steps, 0.01, np.float32)
        speed, bits = {}, []
        backends: dict[str, Backend] = {
            "gpu": CudaBackend(*weights, **settings), "cpu": CpuBackend(*weights, threads=chosen.threads, **settings),
        }  # fmt: skip
        for name, backend in backends.items():
            backend.train(batch, bounds, rates)  # compiles, and makes room
            began = time.perf_counter()
            backend.train(batch, bounds, rates)
            speed[name] = batch.rows / (time.perf_counter() - began)
            bits.append([w.tobytes() for w in backend.weights()])
        table.append({
            "rows a step": f"{rows:,}", "GPU rows/s": f"{speed['gpu']:,.0f}",
            f"CPU rows/s, {chosen.threads} threads": f"{speed['cpu']:,.0f}",
            "times": f"{speed['gpu'] / speed['cpu']:.1f}",
            "same bytes": str(bits[0] == bits[1]),
        })  # fmt: skip
    print(gpu)
    print(format_table(table))
    write_report(chosen.json, {"gpu": str(gpu), **vars(chosen)}, table)
    return 0 if all(row["same bytes"] == "True" for row in table) else 1


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", choices=MODELS, default="skipgram")
    for name, value in (("dims", 128), ("negatives", 5), ("window", 5), ("vocabulary", 70_000), ("steps", 40)):
        made.add_argument(f"--{name}", type=int, default=value)
    made.add_argument("--rows", default="2048,4096,16384,65536", help="rows of a step, several with commas")
    made.add_argument("--threads", type=int, default=available_cpus())
    made.add_argument("--memory", action="store_true", help="print a table of the memory that is needed")
    made.add_argument("--json", default="gpu.json", help="where to write the report")
    return made


def zipf_rows(rng: np.random.Generator, vocabulary: int, rows: int, negatives: int, window: int) -> Batch:
    """Rows with the word frequencies of English, roughly: 1 / rank, subsampled at 1e-4; window radius uniform."""
    share = 1 / np.arange(1, vocabulary + 1)
    share /= share.sum()
    kept = share * np.minimum(1, np.sqrt(1e-4 / share) + 1e-4 / share)
    noise = share**0.75

    def draw(weights: np.ndarray, *shape: int) -> np.ndarray:
        edges = np.cumsum(weights / weights.sum())
        return np.minimum(np.searchsorted(edges, rng.random(shape)), vocabulary - 1).astype(np.int32)

    tokens = draw(kept, rows + 2 * window)
    radius = rng.integers(1, window + 1, rows)
    reach = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])
    inside = np.abs(reach) <= radius[:, None]
    places = np.arange(rows)[:, None] + window + reach
    offset = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int32)
    return Batch(tokens[window : window + rows], offset, tokens[places[inside]], draw(noise, rows, negatives))


def memory_table() -> list[dict[str, str]]:
    """Bytes on the device, for steps whose rows have the average number of contexts."""
    table = []
    for dims, negatives, window in ((100, 5, 5), (300, 5, 5), (300, 15, 10)):
        for rows in (2048, 16_384, 65_536):
            shape = Shape(-(-dims // 16) * 16, negatives, False)
            room = Room(rows, rows * (window + 1))
            row = {"dims": str(dims), "negatives": str(negatives), "window": str(window), "rows a step": f"{rows:,}"}
            made = bytes_of_blocks(rows, window, negatives)
            table.append(row | {"steps take": shown(shape.bytes(room)), "making rows takes": shown(made)})
    return table


if __name__ == "__main__":
    sys.exit(main())
