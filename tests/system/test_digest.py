"""One digest for one (corpus, configuration, seed), however the work is cut, spread and stored."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pathlib

import pyarrow as pa
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__

from tests.helpers.commands import TINY, digest_of, finish, start_cold, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt", lines=160)


@pytest.fixture(scope="module")
def digest(corpus, tmp_path_factory) -> str:
    """Of the plainest run: one thread, one worker, the whole file in a block."""
    output = tmp_path_factory.mktemp("plain") / "run"
    return digest_of(corpus, output, "--threads=1", "--direct_num_workers=1", "--block_bytes=100000000")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threads=2", "--direct_num_workers=4"],
        ["--threads=4", "--direct_num_workers=1", "--block_bytes=12000"],
        ["--threads=1", "--direct_num_workers=4", "--block_bytes=600"],
        ["--threads=2", "--batches=stored", "--block_bytes=3000"],
        ["--checkpoint_every=7", "--keep_checkpoints=2"],
    ],
    ids=" ".join,
)
def test_threads_workers_blocks_and_stored_batches_change_no_bit(corpus, digest, tmp_path, arguments):
    assert digest_of(corpus, tmp_path / "run", *arguments) == digest


def test_blocks_smaller_than_a_line_change_no_bit(tmp_path):
    text = write_corpus(tmp_path / "short.txt", lines=20)
    whole = digest_of(text, tmp_path / "whole")
    assert digest_of(text, tmp_path / "cut", "--block_bytes=100") == whole


def test_parts_of_the_file_in_order_change_no_bit(corpus, digest, tmp_path):
    lines = corpus.read_bytes().splitlines(keepends=True)
    parts = tmp_path / "parts"
    parts.mkdir()
    for index, start_line in enumerate(range(0, len(lines), 30)):
        (parts / f"part-{index:03d}.txt").write_bytes(b"".join(lines[start_line : start_line + 30]))
    assert digest_of(parts, tmp_path / "run", "--block_bytes=8000") == digest
    twice = f"{parts}/*.txt,{parts}/part-003.txt"  # a file that two patterns match is read once
    assert digest_of(twice, tmp_path / "patterns") == digest


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_compression_changes_no_bit(corpus, digest, tmp_path, pack):
    text = corpus.read_bytes()
    half = text.index(b"\n", len(text) // 2) + 1
    packed = tmp_path / "packed"
    packed.write_bytes(pack(text[:half]) + pack(text[half:]))
    assert digest_of(packed, tmp_path / "run", "--block_bytes=3000") == digest


def test_plain_and_compressed_files_in_one_corpus_change_no_bit(corpus, digest, tmp_path):
    text = corpus.read_bytes()
    cuts = [text.index(b"\n", len(text) * i // 5) + 1 for i in range(5)]
    folder = tmp_path / "mixed"
    folder.mkdir()
    packers = {"a": bytes, "b": gzip.compress, "c": zstd, "d": lzma.compress, "e": bz2.compress}
    for (name, pack), first, last in zip(packers.items(), [0, *cuts[1:]], [*cuts[1:], len(text)]):
        (folder / name).write_bytes(pack(text[first:last]))
    assert digest_of(folder, tmp_path / "run") == digest


def test_line_ends_and_a_byte_order_mark_change_no_bit(corpus, digest, tmp_path):
    text = tmp_path / "windows.txt"
    text.write_bytes(b"\xef\xbb\xbf" + corpus.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    assert digest_of(text, tmp_path / "run", "--block_bytes=3333") == digest


@pytest.mark.parametrize("model", ["skipgram", "cbow"])
@pytest.mark.parametrize("policy", ["distinct", "any"])
def test_both_models_and_every_policy_have_one_digest(corpus, tmp_path, model, policy):
    arguments = [f"--model={model}", f"--negative_policy={policy}", "--epochs=1", "--subsample=0"]
    plain = digest_of(corpus, tmp_path / "plain", *arguments, "--threads=1")
    spread = ["--threads=4", "--direct_num_workers=3", "--block_bytes=4000", "--batches=stored"]
    assert digest_of(corpus, tmp_path / "spread", *arguments, *spread) == plain


def test_older_cpus_change_no_bit(corpus, digest, tmp_path):
    """NumPy and Numba held to AVX2 and FMA, as on a CPU of 2013; machine code has a cache for each."""
    wide = [name for name in __cpu_dispatch__ if "AVX512" in name or name == "X86_V4"]
    environment = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+cx16",
        "NPY_DISABLE_CPU_FEATURES": " ".join(wide),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ",
    }
    process = start_cold(
        "jobs.train", f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, environment=environment
    )
    outcome = finish(process)
    assert outcome.status == 0, outcome.stderr
    assert outcome.digest == digest


@pytest.mark.parametrize(
    "argument", ["--seed=8", "--power=0.7", "--subsample=1e-2", "--damping=1", "--max_sentence=7", "--lowercase"]
)
def test_other_model_options_have_another_digest(corpus, digest, tmp_path, argument):
    assert digest_of(corpus, tmp_path / "run", argument) != digest
