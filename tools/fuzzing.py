"""Fuzzes what reads files, guided by the branches that an input takes: atheris changes bytes, and keeps what is new.

    pip install atheris
    python -m tools.fuzzing csv --minutes=10      # one of the formats of tests/corpus/test_fuzz_inputs.py
    python -m tools.fuzzing pairs --minutes=10    # word pairs and analogies

Each input has to end in a result or in one line. Text that is read in ranges of 300 bytes and as a whole has to have as
many tokens either way. Kernels check their indexes, as tests/helpers/checked_kernels.py says. An input that fails stays
in --folder, and its trace is on the screen.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

PAIRS = b"word 1\tword 2\tscore\nking\tqueen\t8.5\n# x\ncar car 10\n"
ANALOGIES = b": capitals\nathens greece oslo norway\n"
SIZES = (300, 1 << 20)
"""Bytes of a range."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools.fuzzing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("format", help="what is read")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/fuzzing"))
    chosen = parser.parse_args(arguments)
    import atheris  # no dependency of anything else

    import tests.helpers.checked_kernels  # noqa: F401  before any kernel

    kernels = [f"pipeline.kernels.{module.name}" for module in pkgutil.iter_modules(["pipeline/kernels"])]
    with atheris.instrument_imports(include=["pipeline"], exclude=kernels):
        from pipeline.analysis.judgements import read_analogies, read_pairs
        from pipeline.errors import InputError
        from tests.corpus.test_fuzz_inputs import FILES, tokens_of

    def read_judgements(data: bytes) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            for read in (read_pairs, read_analogies):
                one_line(functools.partial(read, file.name))

    def read_text(data: bytes) -> None:
        values = FILES[chosen.format][1]
        counts = [one_line(functools.partial(tokens_of, data, {**values, "block_bytes": n}, False)) for n in SIZES]
        assert None in counts or counts[0] == counts[1], counts

    def one_line(act: Callable[[], Any]) -> Any:
        try:
            return act()
        except InputError as error:
            message = str(error)
        assert len(message) < 1000, message
        assert "\n" not in message, message
        return None

    seeds = [PAIRS, ANALOGIES] if chosen.format == "pairs" else [FILES[chosen.format][0]]
    folder = chosen.folder / chosen.format.replace(" ", "_")
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / "corpus" / f"seed{number}").write_bytes(seed)
    flags = [
        f"-max_total_time={60 * chosen.minutes:.0f}",
        f"-artifact_prefix={folder}/",
        "-max_len=4096",
        "-timeout=60",
    ]
    atheris.Setup(
        [sys.argv[0], *flags, str(folder / "corpus")], read_judgements if chosen.format == "pairs" else read_text
    )
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
