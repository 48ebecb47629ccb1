"""A small text, preprocessed and trained on in several ways: for test_preprocess.py and test_corpus.py.

Their fixtures are in corpus_fixtures.py.
"""

from __future__ import annotations

import pathlib

import pyarrow as pa

from beam2vec import Run
from tests.helpers.commands import preprocess, train

CORPUS_SIDE = ("--min_count=2", "--window=3", "--seed=7", "--block_bytes=12000")
"""As in TINY, with several units."""
TRAINING = ("--dims=12", "--epochs=2", "--batch_size=256", "--threads=2", "--no_report")
STORED = ("--batches=stored", "--epochs=2")


def made(text: pathlib.Path, output: pathlib.Path | str, *arguments: str) -> str:
    outcome = preprocess(f"--input={text}", f"--output={output}", *CORPUS_SIDE, "--threads=2", *arguments)
    assert outcome.status == 0, outcome.stderr
    return str(output)


def files(folder: str) -> dict[str, tuple[int, int]]:
    """Path -> (time of the last change, inode); folders too, and the folder itself."""
    found = ((p, p.stat()) for p in [pathlib.Path(folder), *pathlib.Path(folder).rglob("*")])
    return {str(p.relative_to(folder)): (s.st_mtime_ns, s.st_ino) for p, s in found}


def from_corpus(corpus: str, output: pathlib.Path | str, *arguments: str):
    return train(f"--corpus={corpus}", f"--output={output}", *TRAINING, *arguments)


def rows(run: Run, epoch: int) -> list[dict]:
    return pa.Table.from_batches(run.batches(epoch)).to_pylist()


def copied(corpus: str, target: pathlib.Path, but: str | tuple[str, ...] = "//") -> pathlib.Path:
    for path in pathlib.Path(corpus).rglob("*"):
        name = str(path.relative_to(corpus))
        if path.is_file() and not name.startswith(but):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(path.read_bytes())
    return target


def content(folder: str) -> dict[str, bytes]:
    """Everything but run.json, and what a killed writer left half written."""
    paths = (p for p in pathlib.Path(folder).rglob("*") if p.is_file() and p.name != "run.json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if not p.name.startswith(".")}


def tables(folder: str) -> list[tuple[str, bytes]]:
    """What others read of a corpus."""
    wanted = ("batches/", "tokens/", "vocabulary/", "unigram/")
    return sorted(item for item in content(folder).items() if item[0].startswith(wanted))
