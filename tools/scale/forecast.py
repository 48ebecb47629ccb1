"""What a corpus far beyond one machine costs, stage by stage, and what gives way first.

    python -m tools.scale.forecast [--input=corpus.txt] [--workers=64] [--tokens=1e9,1e10,1e12]
    python -m tools.scale.forecast --check=merge,listing,side_input,elements

The costs of a token, a word, an object are measured on a sample text on this machine (see `tools.scale.stage_costs`);
a worker is one of its CPUs with `--memory_gb`. What is shown for more tokens is a model, not measured. `--check` runs
the parts that could give way first by themselves, at full size: `tools.scale.full_size`.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline.batches.shard_lists import LIST_SHARDS
from pipeline.options import MAX_POSITION, MAX_STEPS, Options
from pipeline.runtime.cpus import available_cpus
from pipeline.runtime.progress import scaled
from pipeline.words.merging import ELEMENT_BYTES, buckets_for
from pipeline.words.vocabulary import MAX_WORDS
from tools.measuring.reports import format_table, write_report
from tools.measuring.sample_text import corpus_text, text_parser
from tools.scale.full_size import CHECKS, shard_costs
from tools.scale.stage_costs import Costs, measure, open_ended_text
from transforms.counts import BUNDLE_WORDS

MODEL = "model, not measured"
LARGE_ELEMENT = 10e6
_REFERENCE = 400
"""Bytes of an element that is a reference."""
_SPREAD = 1.3
"""The busiest of the buckets beside the mean: the words of all fall evenly, their lengths less so."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is to be planned, besides the number of tokens."""

    workers: int
    memory_gb: float
    block_bytes: int
    max_vocabulary: int
    dims: int
    epochs: int
    batch_size: int
    units_a_bundle: int
    train_rate: float
    """tokens a second of the trainer; 0 takes the one measured"""
    request_seconds: float
    """of a request to the storage"""


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage costs by the model; of a worker, the busiest."""

    stage: str
    workers: int
    cpu_seconds: float
    wall_seconds: float
    bytes: float
    objects: float
    """with the records, written"""
    memory: float
    element: float
    """the largest on an edge"""


class Forecast:
    """What so many tokens cost; all sizes in bytes, all times in seconds."""

    def __init__(self, costs: Costs, tokens: float, asked: Asked):
        self.costs, self.tokens, self.asked = costs, tokens, asked
        self.text = tokens * costs.text_bytes
        self.units = max(1.0, self.text / asked.block_bytes)
        self.distinct = self.distinct_of(tokens)
        self.words = min(self.distinct * costs.kept_share, float(asked.max_vocabulary))
        self.positions = tokens * costs.kept_tokens
        self.buckets = buckets_for(int(self.text))

    def distinct_of(self, tokens: float) -> float:
        """Different words of so many tokens."""
        return min(tokens, self.costs.distinct_factor * tokens**self.costs.distinct_power)

    def stages(self) -> list[Stage]:
        side, noise = self.side_input(), self.words * self.costs.tables_memory
        opening = self.words * self.costs.tables_cpu
        return [
            self._by_unit("count", "count", 1, self._bundle_memory(), ELEMENT_BYTES),
            self._merge(),
            self.vocabulary(),
            self._unigram(),
            self._by_unit("encode", "encode", 1, side, _REFERENCE, self.words * self.costs.side_cpu),
            self._by_unit("store batches", "store batches", self.asked.epochs, noise, _REFERENCE, opening),
            self.train(),
        ]

    def side_input(self) -> float:
        """Bytes that a worker holds of the vocabulary."""
        return self.words * self.costs.side_memory

    def records(self) -> float:
        """Of a run with its batches stored: two of counting, one of tokens, one of each epoch, a unit."""
        return self.units * (3 + self.asked.epochs)

    def references(self) -> float:
        """Bytes of what comes together at the trainer."""
        lists = max(1.0, self.units / LIST_SHARDS)
        return min(self.units, LIST_SHARDS) * self.costs.elements["packed shard"] + (lists - 1) * _REFERENCE

    def memory_of_bucket(self) -> float:
        return _SPREAD * self.distinct / self.buckets * (self.costs.table_memory + 2 * self.costs.word_bytes)

    def train_seconds(self) -> float:
        return self.positions * self.asked.epochs / (self.asked.train_rate or self.costs.train_rate)

    def _by_unit(self, stage: str, unit: str, times: int, memory: float, element: float, once: float = 0.0) -> Stage:
        """A stage that any number of workers share, unit by unit; `once` is what each worker does before."""
        cost, workers = self.costs.units[unit], int(min(self.asked.workers, max(1.0, self.units * times)))
        work = self.tokens * times * cost.cpu
        objects = self.units * times * cost.puts
        waits = self.units * times * (cost.puts + cost.gets) * self.asked.request_seconds
        block = self.asked.block_bytes * 3
        return Stage(
            stage,
            workers,
            work + workers * once,
            (work + waits) / workers + once,
            self.tokens * times * cost.bytes,
            objects,
            memory + block,
            element,
        )

    def _sends(self) -> tuple[float, float]:
        """(tables of counts that are sent on, different words in each)."""
        bundle = self.tokens / self.units * min(self.asked.units_a_bundle, self.units)
        words = self.distinct_of(bundle)
        if words <= BUNDLE_WORDS:
            return self.tokens / bundle, words
        full = (BUNDLE_WORDS / self.costs.distinct_factor) ** (1 / self.costs.distinct_power)
        return self.tokens / full, float(BUNDLE_WORDS)

    def _bundle_memory(self) -> float:
        return self._sends()[1] * self.costs.table_memory * 2

    def _merge(self) -> Stage:
        sends, words = self._sends()
        moved = sends * words
        cpu, workers = moved * (self.costs.merge_cpu + self.costs.split_cpu), min(self.asked.workers, self.buckets)
        kept = self.distinct * self.costs.kept_share * self.costs.word_bytes
        return Stage(
            "merge counts",
            workers,
            cpu,
            cpu / workers * _SPREAD,
            kept,
            self.buckets,
            self.memory_of_bucket(),
            min(ELEMENT_BYTES, words * self.costs.word_bytes / self.buckets),
        )

    def vocabulary(self) -> Stage:
        words = self.distinct * self.costs.kept_share
        cpu = words * self.costs.order_cpu
        memory = self.words * (self.costs.order_memory + self.costs.word_bytes) + (words - self.words) * 16
        return Stage(
            "vocabulary",
            1,
            cpu,
            cpu,
            self.words * self.costs.vocabulary_bytes,
            2,
            memory,
            min(self.buckets * _REFERENCE + ELEMENT_BYTES, words * self.costs.word_bytes),
        )

    def _unigram(self) -> Stage:
        cpu, memory = self.words * self.costs.unigram_cpu, self.words * self.costs.unigram_memory
        return Stage("unigram", 1, cpu, cpu, self.words * self.costs.unigram_bytes, 2, memory, _REFERENCE)

    def train(self) -> Stage:
        wall = self.train_seconds()
        model = self.words * self.asked.dims * 8
        memory = self.words * self.asked.dims * self.costs.train_memory + self.units * self.costs.shard_memory
        return Stage("train", 1, wall, wall, 3 * model, 3 * self.words / 65536, memory, self.references())


def limits(asked: Asked) -> dict[str, tuple[Callable[[Forecast], float], float | Callable[[Forecast], float], str]]:
    """What can give way: (how large it is, how large it may be, what to do about it)."""
    memory = asked.memory_gb * 1e9
    return {
        "memory of a merged bucket": (Forecast.memory_of_bucket, memory, "more memory a worker"),
        "memory to order the vocabulary": (
            lambda forecast: forecast.vocabulary().memory,
            memory,
            "a higher --min_count; a larger worker",
        ),
        "memory of the vocabulary as a side input": (
            Forecast.side_input,
            memory,
            "--max_vocabulary; threads share one copy a process",
        ),
        "memory of the trainer": (
            lambda forecast: forecast.train().memory,
            memory,
            "a large machine for Train; fewer --dims",
        ),
        "time of the trainer: above that of all stages before it": (
            Forecast.train_seconds,
            lambda forecast: sum(stage.wall_seconds for stage in forecast.stages()[:-1]),
            "a GPU, --replicas",
        ),
        "what comes together at the trainer, in one element": (
            Forecast.references,
            LARGE_ELEMENT,
            "a larger --block_bytes",
        ),
        "records: above a million": (Forecast.records, 1e6, "a larger --block_bytes"),
        "names of units: more digits than 9, no longer in order": (
            lambda forecast: forecast.units,
            1e9,
            "a larger --block_bytes",
        ),
        "steps": (
            lambda forecast: forecast.positions * forecast.asked.epochs / forecast.asked.batch_size,
            MAX_STEPS,
            "a larger --batch_size",
        ),
        "words of 32-bit ids": (lambda forecast: forecast.words, MAX_WORDS, "a higher --min_count"),
        "positions of a corpus": (lambda forecast: forecast.positions, MAX_POSITION, "train on a part"),
    }


def first_limits(costs: Costs, asked: Asked) -> Iterator[tuple[float, str, str]]:
    """(tokens from which on, what gives way, remedy), the first first; to 10^15 tokens, in steps of a tenth."""
    grid = [10 ** (6 + step / 24) for step in range(24 * 9 + 1)]
    found = []
    for name, (size, allowed, remedy) in limits(asked).items():
        for tokens in grid:
            forecast = Forecast(costs, tokens, asked)
            if size(forecast) > (allowed(forecast) if callable(allowed) else allowed):
                found.append((tokens, name, remedy))
                break
    yield from sorted(found)


def shown(stages: Sequence[Stage]) -> list[dict[str, str]]:
    """A table of the stages."""
    return [
        {
            "stage": stage.stage,
            "workers": f"{stage.workers:,}",
            "wall h": _hours(stage.wall_seconds),
            "CPU h": _hours(stage.cpu_seconds),
            "written": f"{scaled(stage.bytes)}B",
            "objects, records": f"{stage.objects:,.0f}",
            "memory a worker": f"{scaled(stage.memory)}B",
            "largest element": f"{scaled(stage.element)}B",
        }
        for stage in stages
    ]


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}"


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    unknown = [name for name in chosen.check.split(",") if name and name not in CHECKS]
    if unknown:
        print(f"--check={','.join(unknown)}: allowed are {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    results = [_checked(name, chosen) for name in chosen.check.split(",") if name] or _modelled(chosen)
    write_report(chosen.json, vars(chosen), results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = text_parser("tools.scale.forecast", __doc__, 5_000_000)
    options = Options()
    parser.add_argument("--tokens", default="1e9,1e10,1e12", help="sizes of corpora to plan")
    parser.add_argument("--workers", default="64", help="numbers of workers, each a CPU")
    parser.add_argument("--memory_gb", type=float, default=4.0, help="of a worker")
    parser.add_argument("--block_bytes", type=int, default=options.block_bytes)
    parser.add_argument("--max_vocabulary", type=int, default=10_000_000)
    parser.add_argument("--min_count", type=int, default=options.min_count)
    parser.add_argument("--dims", type=int, default=options.dims)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch_size", type=int, default=options.batch_size)
    parser.add_argument("--threads", type=int, default=available_cpus(), help="of the trainer that is measured")
    parser.add_argument("--train_tokens", type=int, default=500_000, help="to measure the trainer on")
    parser.add_argument(
        "--train_rate", type=float, default=0.0, help="tokens a second of your trainer, a GPU say (default: measured)"
    )
    parser.add_argument(
        "--request_ms", type=float, help="of a request to the store (default: of a small file in a folder, measured)"
    )
    parser.add_argument(
        "--units_a_bundle", type=int, default=16, help="work units that the runner gives a worker before it asks again"
    )
    parser.add_argument("--check", default="", help=f"of {','.join(CHECKS)}: run these parts at full size instead")
    parser.add_argument("--merge_words", type=int, default=100_000_000)
    parser.add_argument("--list_records", type=int, default=1_000_000)
    parser.add_argument("--side_input_words", type=int, default=10_000_000)
    parser.add_argument("--element_tokens", type=float, default=1e12)
    return parser


def _checked(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    row = {"check": name, **CHECKS[name](chosen)}
    print(", ".join(f"{key} {_number(value)}" for key, value in row.items()), flush=True)
    return row


def _number(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _modelled(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    with corpus_text(chosen, open_ended_text) as text:
        options = Options.checked({"min_count": chosen.min_count, "dims": chosen.dims})
        costs = measure(text, _cut(options, text), chosen.threads, chosen.train_tokens)
        packed, memory = shard_costs()
    costs = dataclasses.replace(costs, elements={**costs.elements, "packed shard": packed}, shard_memory=memory)
    results: list[dict[str, Any]] = [{"measured": dataclasses.asdict(costs)}]
    _say_measured(costs)
    for workers in map(int, chosen.workers.split(",")):
        asked = _asked(chosen, workers, costs)
        for tokens in map(float, chosen.tokens.split(",")):
            forecast = Forecast(costs, tokens, asked)
            stages = forecast.stages()
            slowest = max(stages, key=lambda stage: stage.wall_seconds)
            print(
                f"\n{scaled(tokens)} tokens on {workers:,} workers ({MODEL}): {scaled(forecast.text)}B of text,"
                f" {forecast.units:,.0f} units, {scaled(forecast.distinct)} different words,"
                f" {scaled(forecast.words)} kept"
            )
            print(format_table(shown(stages)))
            print(f"slowest: {slowest.stage}; {forecast.records():,.0f} records in all")
            results.append(
                {
                    "tokens": tokens,
                    "workers": workers,
                    "note": MODEL,
                    "slowest": slowest.stage,
                    "distinct_words": forecast.distinct,
                    "words": forecast.words,
                    "units": forecast.units,
                    "records": forecast.records(),
                    "stages": [dataclasses.asdict(stage) for stage in stages],
                }
            )
        found = list(first_limits(costs, asked))
        print(f"\nwhat gives way first, with {workers:,} workers of {asked.memory_gb:g} GB ({MODEL}):")
        print(
            format_table(
                [{"from tokens": scaled(tokens), "what": what, "remedy": remedy} for tokens, what, remedy in found]
            )
        )
        results += [
            {"workers": workers, "note": MODEL, "from_tokens": tokens, "limit": what, "remedy": remedy}
            for tokens, what, remedy in found
        ]
    return results


def _asked(chosen: argparse.Namespace, workers: int, costs: Costs) -> Asked:
    request = costs.put_seconds if chosen.request_ms is None else chosen.request_ms / 1000
    own: dict[str, Any] = {"workers": workers, "request_seconds": request}
    same = [field.name for field in dataclasses.fields(Asked) if field.name not in own]
    return Asked(**{name: getattr(chosen, name) for name in same}, **own)


def _cut(options: Options, text: str) -> Options:
    """A block size that makes some units of the sample."""
    size = os.path.getsize(text)
    return dataclasses.replace(options, block_bytes=max(1 << 10, min(options.block_bytes, size // 4)))


def _say_measured(costs: Costs) -> None:
    rates = {name: 1 / cost.cpu for name, cost in costs.units.items()}
    print("measured, tokens a CPU second: " + ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()))
    print(f"train: {costs.train_rate:,.0f} tokens a second of wall time")
    print(
        "bytes a token: text "
        + ", ".join([f"{costs.text_bytes:.2f}", *(f"{name} {cost.bytes:.2f}" for name, cost in costs.units.items())])
    )
    print(
        f"a word, microseconds: split {1e6 * costs.split_cpu:.2f}, merge {1e6 * costs.merge_cpu:.2f}, order"
        f" {1e6 * costs.order_cpu:.2f}, unigram {1e6 * costs.unigram_cpu:.2f}, side input {1e6 * costs.side_cpu:.2f}"
    )
    print(
        f"a record: {costs.record_bytes:.0f} bytes, {1e3 * costs.put_seconds:.2f} ms to write;"
        f" different words of n tokens: {costs.distinct_factor:.3g} n^{costs.distinct_power:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
