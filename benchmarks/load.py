"""Input that is large, or meant to hurt: how a command ends, how long it takes, and how much memory it needs at most.

    python -m benchmarks.load [--only=NAME,NAME] [--size=1]

Each case makes its input, runs one command on it in a process of its own, and removes both. Cases that are read count
and encode (`preprocess`), with one epoch of training where that is said. `--size=0.01` makes all of them smaller.
"""

from __future__ import annotations

import bz2
import dataclasses
import functools
import gzip
import json
import lzma
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from tools.measuring.reports import format_table, report_parser, write_report
from tools.measuring.timing import Process, measured

LINE = "a rose is a rose is a rose"
_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Case:
    """An input, and what is done with it."""

    make: Callable[[pathlib.Path, float], object]
    """writes it to a path; the number is that of --size"""
    options: tuple[str, ...] = ()
    trains: bool = False


def tiny_files(count: int) -> Callable[[pathlib.Path, float], None]:
    def make(path: pathlib.Path, size: float) -> None:
        path.mkdir()
        for number in range(int(count * size)):
            (path / f"{number}.txt").write_text(f"{LINE} {number % 1000}\n")

    return make


def many_words(path: pathlib.Path, size: float) -> None:
    """Each of two million words once a line with frequent ones, and twice in all."""
    with open(path, "w") as file:
        for turn in range(2):
            for number in range(int(2_000_000 * size)):
                file.write(f"{LINE} word{number}{' again' * turn}\n")


def _text(size: float, of: int) -> Iterator[bytes]:
    """Pieces of some million words in lines."""
    piece = "".join(f"{LINE} {number % 5003}\n" for number in range(_PIECE // 32)).encode()
    for _ in range(max(1, int(of * size) // len(piece))):
        yield piece


def large_file(path: pathlib.Path, size: float) -> None:
    with open(path, "wb") as file:
        file.writelines(_text(size, 5 << 30))


def packed(open_packed: Callable) -> Callable[[pathlib.Path, float], None]:
    """Ten billion zeros behind a thousand good lines, which take some megabytes."""

    def make(path: pathlib.Path, size: float) -> None:
        piece = bytes(_PIECE)
        with open_packed(path) as file:
            file.write(f"{LINE}\n".encode() * 1000)
            for _ in range(max(1, int(10_000 * size))):
                file.write(piece)

    return make


def one_line(begin: bytes = b"", end: bytes = b"") -> Callable[[pathlib.Path, float], None]:
    """A billion bytes without a line end, between two thousand good lines."""

    def make(path: pathlib.Path, size: float) -> None:
        good = (begin + LINE.encode() + end + b"\n") * 1000
        with open(path, "wb") as file:
            file.write(good + begin)
            for _ in range(max(1, int(1_000 * size))):
                file.write(b"x" * _PIECE)
            file.write(end + b"\n" + good)

    return make


def nested_json(path: pathlib.Path, size: float) -> None:
    deep = int(100_000 * size)
    good = json.dumps({"text": LINE}) + "\n"
    path.write_text(good * 1000 + '{"text": ' + "[" * deep + "]" * deep + "}\n" + good * 1000)


def parquet_bomb(path: pathlib.Path, size: float) -> None:
    """A gigabyte of text in one row group, of which some kilobytes are stored."""
    text = pa.array([" ".join([LINE] * 37)]).dictionary_encode()
    rows = text.take(pa.array([0] * int(1_000_000 * size)))
    pq.write_table(pa.table({"text": rows}), path, row_group_size=len(rows))


_JSON = ("--input_format=jsonl", "--field=text")
_SOME_BAD = ("--max_bad_lines=1",)
CASES = {
    "20,000 tiny files": Case(tiny_files(20_000)),
    "100,000 tiny files": Case(tiny_files(100_000)),
    "a vocabulary of 2M words": Case(many_words, ("--min_count=1", "--dims=16", "--epochs=1"), trains=True),
    "a file of 5 GB": Case(large_file),
    "gzip of 10 GB of zeros": Case(packed(functools.partial(gzip.open, mode="wb")), _SOME_BAD),
    "bzip2 of 10 GB of zeros": Case(packed(functools.partial(bz2.open, mode="wb")), _SOME_BAD),
    "xz of 10 GB of zeros": Case(packed(functools.partial(lzma.open, mode="wb", preset=1)), _SOME_BAD),
    "zstd of 10 GB of zeros": Case(packed(lambda path: pa.CompressedOutputStream(str(path), "zstd")), _SOME_BAD),
    "Parquet of 1 GB in a row group": Case(parquet_bomb, ("--input_format=parquet", "--field=text")),
    "JSON nested 100,000 deep": Case(nested_json, (*_JSON, *_SOME_BAD)),
    "a line of 1 GB": Case(one_line(), _SOME_BAD),
    "a JSON string of 1 GB": Case(one_line(b'{"text": "', b'"}'), (*_JSON, *_SOME_BAD)),
    "a quoted cell of 1 GB": Case(
        one_line(b'1,"', b'"'), ("--input_format=csv", "--no_header", "--field=2", "--separator=,", *_SOME_BAD)
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = report_parser("benchmarks.load", __doc__)
    parser.add_argument("--only", default="", help="names of cases, or parts of them, separated by commas")
    parser.add_argument("--size", type=float, default=1.0, help="how many times as large the input is (default: 1)")
    chosen = parser.parse_args(arguments)
    wanted = [part for part in chosen.only.split(",") if part]
    rows = []
    for name, case in CASES.items():
        if wanted and not any(part in name for part in wanted):
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "input")
            case.make(path, chosen.size)
            stored = path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())
            done = _run(case, path, f"{folder}/run")
        last = done.errors.strip().splitlines()[-1] if done.errors.strip() else ""
        rows.append(
            {
                "input": name,
                "stored MB": f"{stored / 1e6:.1f}",
                "status": str(done.status),
                "wall s": f"{done.wall:.1f}",
                "CPU s": f"{done.cpu:.1f}",
                "peak MB": f"{done.peak_mb:.0f}",
                "said last": last.replace(folder, "")[:160],
            }
        )
        print(rows[-1], file=sys.stderr)
    print(format_table(rows))
    write_report(chosen.json, vars(chosen), rows)
    return 0


def _run(case: Case, path: pathlib.Path, output: str) -> Process:
    command = [sys.executable, "-m", "jobs.train" if case.trains else "jobs.preprocess"]
    more = ["--no_report"] if case.trains else []
    return measured(
        [*command, f"--input={path}", f"--output={output}", *case.options, *more],
        PYTHONPATH=os.pathsep.join(sys.path),
    )


if __name__ == "__main__":
    sys.exit(main())
