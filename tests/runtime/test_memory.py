"""A longer text of the same vocabulary needs no more memory: nothing is held whole."""

from __future__ import annotations

import pathlib

import pytest

from tests.helpers.commands import peak, write_corpus

CHEAP = (
    "--dims=8",
    "--epochs=1",
    "--window=1",
    "--negatives=1",
    "--subsample=1e-7",
    "--threads=2",
    "--block_bytes=250000",
    "--replay_words=100000",
    "--no_report",
)
"""Next to no training, but every stage; many units, so that what is held for each would show.

The reservoir grows with the text up to its bound, by some eight bytes a word. Here the bound is soon reached.
"""
MEGABYTE = 1 << 20


def repeated(block: bytes, path: pathlib.Path, size: int) -> pathlib.Path:
    with open(path, "wb") as file:
        for _ in range(-(-size // len(block))):
            file.write(block)
    return path


def peak_of(text: pathlib.Path, output: pathlib.Path, *arguments: str) -> int:
    return peak(f"--input={text}", f"--output={output}", *CHEAP, *arguments)


@pytest.fixture(scope="module")
def block(tmp_path_factory) -> bytes:
    """2 MB of text with 20,000 words."""
    return write_corpus(tmp_path_factory.mktemp("block") / "block", lines=9000, words=20000).read_bytes()


def test_ten_times_the_text_needs_no_more_memory(block, tmp_path):
    short = peak_of(repeated(block, tmp_path / "short.txt", 4 * MEGABYTE), tmp_path / "one")
    long = peak_of(repeated(block, tmp_path / "long.txt", 40 * MEGABYTE), tmp_path / "ten")
    print(f"{short / MEGABYTE:.0f} MB and {long / MEGABYTE:.0f} MB")
    assert long < short + 40 * MEGABYTE


@pytest.mark.slow
@pytest.mark.parametrize("batches", ["stream", "stored"])
def test_a_gigabyte_needs_no_more_memory_than_a_tenth_of_it(block, tmp_path, batches):
    small = peak_of(repeated(block, tmp_path / "small.txt", 100 * MEGABYTE), tmp_path / "one", f"--batches={batches}")
    large = peak_of(repeated(block, tmp_path / "large.txt", 1000 * MEGABYTE), tmp_path / "ten", f"--batches={batches}")
    print(f"{small / MEGABYTE:.0f} MB and {large / MEGABYTE:.0f} MB")
    assert large < small + 50 * MEGABYTE  # ten times as many shards, records and allocations take some
