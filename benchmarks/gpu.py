"""Training steps and the making of rows on a GPU beside the CPU: rows a second, and that both give the same bytes.

    python -m benchmarks.gpu [--dims=100 --negatives=5 --window=5 --vocabulary=70000] [--rows=4096,16384,65536]
    python -m benchmarks.gpu --model_report=runs/reports/cost_model.json    # beside the bounds of tools.cuda.cost_model
    python -m benchmarks.gpu --memory      # what steps take, by arithmetic alone: needs no GPU

A step's rows are made up beforehand, Zipf-distributed, so that neither side waits for
them. `rows` are targets that subsampling has kept. Then rows are made of token ids, those
of sentences of 20 words. Ends with status 2 without a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.backends.backend import Backend
from pipeline.backends.cpu import CpuBackend
from pipeline.backends.cuda.buffers import Room, Shape, shown
from pipeline.backends.cuda.device_rows import DeviceRows
from pipeline.backends.cuda.generation import bytes_of_blocks
from pipeline.batches.rows import generate_rows, to_numpy
from pipeline.batches.sampling import Sampling
from pipeline.batches.steps import StepRange
from pipeline.errors import InputError
from pipeline.options import MODELS
from pipeline.runtime.cpus import available_cpus
from tools.cuda.zipf import GENERATION, zipf_rows, zipf_tokens
from tools.measuring.reports import format_table, report_parser, write_report


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    sizes = [int(rows) for rows in chosen.rows.split(",")]
    if chosen.memory:
        print(format_table(memory_table()))
        return 0
    from pipeline.backends.cuda.backend import CudaBackend
    from pipeline.backends.open_backend import check_bits, gpu_for

    settings: dict[str, Any] = {"model": chosen.model, "tau": 128.0, "zero_hits": True}
    try:
        gpu = gpu_for("gpu")
        assert not isinstance(gpu, str)
        check_bits(gpu, chosen.dims, chosen.negatives, settings)
    except InputError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return error.exit_status
    bounds_of = Bounds(chosen, str(gpu))
    rng = np.random.default_rng(1)
    weights = [rng.random((chosen.vocabulary, chosen.dims), dtype=np.float32) - np.float32(0.5) for _ in range(2)]
    table = []
    for rows in sizes:
        batch = zipf_rows(rng, chosen.vocabulary, rows * chosen.steps, chosen.negatives, chosen.window)
        bounds = np.arange(chosen.steps + 1) * rows
        rates = np.full(chosen.steps, 0.01, np.float32)
        speed, bits = {}, []
        backends: dict[str, Backend] = {
            "gpu": CudaBackend(*weights, **settings),
            "cpu": CpuBackend(*weights, threads=chosen.threads, **settings),
        }
        for name, backend in backends.items():
            backend.train(batch, bounds, rates)  # compiles, and makes room
            began = time.perf_counter()
            backend.train(batch, bounds, rates)
            speed[name] = batch.size / (time.perf_counter() - began)
            bits.append([w.tobytes() for w in backend.weights()])
        table.append(
            {
                "rows a step": f"{rows:,}",
                "GPU rows/s": f"{speed['gpu']:,.0f}",
                f"CPU rows/s, {chosen.threads} threads": f"{speed['cpu']:,.0f}",
                "times": f"{speed['gpu'] / speed['cpu']:.1f}",
                "of the model's bound": bounds_of.part(chosen.model, rows, speed["gpu"]),
                "same bytes": str(bits[0] == bits[1]),
            }
        )
    print(gpu)
    print(format_table(table), flush=True)
    generation = [time_generation(rng, CudaBackend(*weights, **settings), chosen, bounds_of)]
    print()
    print(format_table(generation))
    write_report(chosen.json, {"gpu": str(gpu), **vars(chosen)}, [*table, *generation])
    return 0 if all(row["same bytes"] == "True" for row in [*table, *generation]) else 1


def _parser() -> argparse.ArgumentParser:
    parser = report_parser("benchmarks.gpu", __doc__)
    parser.add_argument("--model", choices=MODELS, default="skipgram")
    for name, value in (("dims", 100), ("negatives", 5), ("window", 5), ("vocabulary", 70_000), ("steps", 40)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rows", default="4096,16384,65536", help="rows of a step, several with commas")
    parser.add_argument("--tokens", type=int, default=4_000_000, help="of which rows are made")
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--model_report", help="the JSON of tools.cuda.cost_model, to compare with")
    parser.add_argument("--memory", action="store_true", help="print a table of the memory that is needed")
    return parser


def time_generation(
    rng: np.random.Generator, backend: Any, chosen: argparse.Namespace, bounds_of: Bounds, batch_size: int = 16_384
) -> dict[str, str]:
    """Rows made on the GPU and on one thread of the CPU: a row of the table."""
    piece, tables = zipf_tokens(rng, chosen.vocabulary, chosen.tokens)
    sampling = Sampling(chosen.window, chosen.negatives, "exclude_target", 1)

    def blocks() -> Iterable[StepRange]:
        return backend.step_ranges([piece], tables, sampling, 0, batch_size, 0, -(-chosen.tokens // batch_size))

    gpu_arrays = [_arrays(block.rows) for block in blocks()]  # compiles, and makes room
    began = time.perf_counter()
    rows = sum(int(block.bounds[-1]) for block in blocks())
    on_gpu = rows / (time.perf_counter() - began)
    generate_rows(piece.tokens[:20], piece.sentences[:2], 0, tables, sampling, 0)
    began = time.perf_counter()
    _, cpu_rows = to_numpy(generate_rows(*piece, tables, sampling, 0))
    on_cpu = cpu_rows.size / (time.perf_counter() - began)
    arrays = cpu_rows.target, np.diff(cpu_rows.offset), cpu_rows.context, cpu_rows.negatives.reshape(-1)
    same = all(np.array_equal(np.concatenate(parts), array) for parts, array in zip(zip(*gpu_arrays), arrays))
    return {
        "rows made": f"{rows:,}",
        "GPU rows/s": f"{on_gpu:,.0f}",
        "CPU rows/s, 1 thread": f"{on_cpu:,.0f}",
        "times": f"{on_gpu / on_cpu:.1f}",
        "of the model's bound": bounds_of.part(GENERATION, None, on_gpu),
        "same bytes": str(same),
    }


def _arrays(rows: DeviceRows) -> list[np.ndarray]:
    """Target, contexts of each row, context and negatives, as they stand in the memory of the GPU."""
    count, contexts = int(rows.bounds[-1]), int(rows.context_bounds[-1])
    sizes = {
        "target": count,
        "offset": count + 1,
        "context": contexts,
        "negatives": count * rows.negatives.shape[1],
    }
    arrays = {name: np.empty(size, np.int32) for name, size in sizes.items()}
    for name, array in arrays.items():
        if len(array):
            rows.arrays[name][: len(array)].get(out=array)
    arrays["offset"] = np.diff(arrays["offset"])
    return list(arrays.values())


class Bounds:
    """What `tools.cuda.cost_model` says for a GPU."""

    def __init__(self, chosen: argparse.Namespace, gpu: str):
        """Args:
        gpu: its name, which has that of the model's in it.
        """
        self.shape = {name: getattr(chosen, name) for name in ("dims", "negatives", "window")}
        results = json.loads(Path(chosen.model_report).read_text())["results"] if chosen.model_report else []
        self.results, self.gpu = results, gpu

    def part(self, model: str, rows: int | None, speed: float) -> str:
        """How much of the bound a speed is; steps of other sizes are not compared."""
        for result in self.results:
            same = result["model"] == model and rows in (None, result["rows"])
            if same and all(result[name] == value for name, value in self.shape.items()):
                for gpu, (bound, limit) in result["bounds"].items():
                    if gpu in self.gpu.replace("-", " ").split():
                        return f"{speed / bound:.0%} ({limit})"
        return "-"


def memory_table() -> list[dict[str, str]]:
    """Bytes on the device, for steps whose rows have the average number of contexts."""
    table = []
    for dims, negatives, window in ((100, 5, 5), (300, 5, 5), (300, 15, 10)):
        for rows in (2048, 16_384, 65_536):
            shape = Shape(-(-dims // 16) * 16, negatives, False)
            room = Room(rows, rows * (window + 1))
            row = {"dims": str(dims), "negatives": str(negatives), "window": str(window), "rows a step": f"{rows:,}"}
            making = bytes_of_blocks(rows, window, negatives)
            table.append(row | {"steps take": shown(shape.bytes(room)), "making rows takes": shown(making)})
    return table


if __name__ == "__main__":
    sys.exit(main())
