"""Mistakes of the user and faults of the input: one clear line, the right exit status, no traceback."""

from __future__ import annotations

import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

import pyarrow.parquet as pq
import pytest

from jobs.cli.entry import run_command
from pipeline.runs.verify import verify_run
from pipeline.storage.open_storage import open_storage
from tests.helpers.commands import (
    ALONE,
    JOBS,
    ROOT,
    TINY,
    Outcome,
    digest_of,
    finish,
    run,
    start_cold,
    train,
    write_corpus,
)
from tests.helpers.warm import WarmProcess


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt", lines=60)


@pytest.fixture(scope="module")
def digest(corpus, tmp_path_factory) -> str:
    return digest_of(corpus, tmp_path_factory.mktemp("plain") / "run")


def fails(outcome: Outcome, *parts: str, status: int = 2) -> None:
    """It ended with the status, and one line that holds all the parts."""
    assert outcome.status == status, outcome.stderr
    for part in parts:
        assert part in outcome.error


def files_of(folder: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--dims=0"], ["--dims=0", "at least 1"]),
        (["--dims=ten"], ["--dims=ten", "whole number"]),
        (["--dims"], ["--dims", "expected one argument"]),
        (["--dimss=5"], ["--dimss ", "did you mean --dims?"]),
        (["--lern_rate=0.1"], ["--lern_rate", "did you mean --learning_rate?"]),
        (["--min-counts=3"], ["did you mean --min_count?"]),
        (["--model=word2vec"], ["--model=word2vec", "skipgram, cbow"]),
        (["--learning_rate=nan"], ["--learning_rate=nan"]),
        (["--subsample=-1"], ["--subsample=-1", "at least 0"]),
        (["--max_bad_lines=many"], ["--max_bad_lines=many"]),
        (["--wholly_unknown=5"], ["--wholly_unknown is no option"]),
        (["more.txt"], ["'more.txt' belongs to no option", "quote the pattern", "put = between"]),
        (["--vector_size", "100"], ["--vector_size is no option: it is called --dims here"]),
        (["-sample=0"], ["it is called --subsample here"]),
        (["-size=50", "-iter", "3", "--hs=1"], ["called --dims", "called --epochs", "negative sampling alone"]),
        (["--compute_loss=1"], ["--compute_loss is no option: the loss is always computed"]),
        (["-wordNgrams", "2"], ["--wordNgrams is no option: words are joined by --phrases"]),
        (["--cbow=1"], ["--cbow is no option: it is called --model=cbow (or skipgram) here"]),
        (["--runner=NoSuchRunner"], ["--runner=NoSuchRunner"]),
        (["--direct_num_workers=x"], ["--direct_num_workers"]),
        (["--tokenizer=nowhere:function"], ["--tokenizer=nowhere:function", "nowhere"]),
        (["--config=/no/such.yaml"], ["--config=/no/such.yaml", "does not exist"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and value[0].startswith("--") else "",
)
def test_bad_usage_is_named_before_anything_is_written(corpus, tmp_path, arguments, parts):
    output = tmp_path / "run"
    fails(train(f"--input={corpus}", f"--output={output}", *arguments), *parts)
    assert not output.exists()


@pytest.mark.parametrize(("given", "missing"), [("--output=run", "--input"), ("--input=text", "--output")])
def test_input_and_output_are_needed(given, missing):
    fails(train(given), f"{missing} is missing")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (None, ["matches no file"]),
        (b"", ["is empty"]),
        (b" \n\t\r\n\xc2\xa0\n", ["holds no words"]),
        (b"every word here stands alone\n", ["--min_count=2", "5 words", "once", "every"]),
    ],
    ids=["missing", "empty", "white space", "rare words"],
)
def test_input_without_text_or_words(tmp_path, text, parts):
    path = tmp_path / "text.txt"
    if text is not None:
        path.write_bytes(text)
    fails(train(f"--input={path}", f"--output={tmp_path / 'run'}", *ALONE), *parts)


def test_truncated_and_damaged_gzip_are_named_with_the_place(corpus, digest, tmp_path):
    packed = gzip.compress(corpus.read_bytes())
    path = tmp_path / "text.gz"
    path.write_bytes(packed[: len(packed) // 2])
    arguments = [f"--input={path}", *ALONE]
    fails(train(*arguments, f"--output={tmp_path / 'one'}"), str(path), "truncated", f"byte {len(packed) // 2:,}")
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xFF
    path.write_bytes(damaged)
    fails(train(*arguments, f"--output={tmp_path / 'two'}"), str(path), "damaged")
    path.write_bytes(packed)  # the same command goes on once the file is whole: nothing of it was kept
    outcome = train(*arguments, f"--output={tmp_path / 'two'}")
    assert "input changed" in outcome.stderr
    assert outcome.digest == digest
    repaired = train(*arguments, f"--output={tmp_path / 'two'}", "--overwrite")
    assert repaired.digest == digest


def test_lines_that_are_not_utf8_are_counted_dead_lettered_and_left_out(corpus, digest, tmp_path):
    lines = corpus.read_bytes().splitlines(keepends=True)
    bad = [lines[:20], [b"broken \xff line\n"], lines[20:40], [b"\xc3( another\n"], lines[40:]]
    path, output = tmp_path / "text.txt", tmp_path / "run"
    path.write_bytes(b"".join(line for part in bad for line in part))
    arguments = [f"--input={path}", f"--output={output}", *TINY, "--block_bytes=1500"]
    fails(train(*arguments, "--max_bad_lines=1"), "2 of 62 lines", "--max_bad_lines=1", "dead_letters")
    place = f"(the first: not UTF-8, text.txt byte {sum(map(len, lines[:20])):,})"
    advice = "; name the encoding, e.g. --encoding=cp1252"
    fails(train(*arguments, "--max_bad_lines=1%"), "2 of 62 lines", place, advice)
    tolerated = train(*arguments, "--max_bad_lines=2")
    assert f"2 of 62 lines cannot be read and are left out {place}: see" in tolerated.stderr
    assert tolerated.digest == digest
    letters = [row for file in sorted(output.glob("dead_letters/*/*")) for row in pq.read_table(file).to_pylist()]
    assert [row["uri"] for row in letters] == [str(path)] * 2
    first = sum(map(len, lines[:20]))
    assert [row["offset"] for row in letters] == [first, first + 14 + sum(map(len, lines[20:40]))]


def test_a_line_that_breaks_off_is_named_where_it_is_one_bad_line_too_many(tmp_path):
    path = tmp_path / "text.gz"
    packed = gzip.compress(write_corpus(tmp_path / "text.txt", lines=60).read_bytes())
    path.write_bytes(packed[: len(packed) // 2])
    outcome = train(f"--input={path}", f"--output={tmp_path / 'run'}", *ALONE, "--allow_truncated")
    fails(outcome, "1 of ", "(the first: the compressed data break off in this line, text.gz byte ")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_text_in_utf_16_is_told_as_such(encoding, pack, tmp_path):
    """All but its first line would pass: plain English with NUL bytes is UTF-8 too."""
    path = tmp_path / "text.txt"
    path.write_bytes(pack(("some words\n" * 3000).encode(encoding)))
    outcome = train(f"--input={path}", f"--output={tmp_path / 'run'}", *ALONE)
    fails(outcome, f"text.txt is {encoding.upper()}, which has to be named: set --encoding={encoding}")


def test_a_nul_among_letters_is_a_letter(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"one two th\0ree four\n" * 50)
    assert digest_of(path, tmp_path / "run")


def test_a_vocabulary_too_small_for_the_policy(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("one two three\n" * 50)
    arguments = [f"--input={path}", f"--output={tmp_path / 'run'}", *ALONE, "--negative_policy=distinct"]
    fails(train(*arguments, "--negatives=3"), "--negative_policy=distinct", "at least 4 words", "there are 3")
    outcome = train(*arguments, "--negatives=2")
    assert outcome.status == 0, outcome.stderr
    assert "valid for them too: --negatives is 2, the run has 3" in outcome.stderr


def test_a_run_that_left_no_word_goes_on_with_other_options_and_counts_nothing_again(corpus, digest, tmp_path):
    output = tmp_path / "run"
    arguments = [f"--input={corpus}", f"--output={output}", *ALONE]
    fails(train(*arguments, "--min_count=5000"), "--min_count=5000 leaves no word")
    counts = next(output.glob("counts/*/*")).stat().st_mtime_ns
    fails(train(*arguments, "--lowercase"), "--lowercase is True, the run has False", "there is no model yet")
    assert train(*arguments).digest == digest
    assert next(output.glob("counts/*/*")).stat().st_mtime_ns == counts
    assert run("jobs.verify", f"--run={output}", "--input").status == 0


def test_another_model_or_input_in_the_same_output_is_refused_with_what_differs(tmp_path):
    corpus, output = write_corpus(tmp_path / "corpus.txt", lines=60), tmp_path / "run"
    digest = digest_of(corpus, output)
    arguments = [f"--input={corpus}", f"--output={output}", *ALONE]
    fails(train(*arguments, "--dims=13", "--epochs=3"), "--dims is 13, the run has 12", "--epochs is 3", "--overwrite")
    other = write_corpus(tmp_path / "other.txt", lines=10)
    fails(train(f"--input={other}", *arguments[1:]), f"input added: {other}", f"input gone: {corpus}")
    before = corpus.stat()
    corpus.write_bytes(corpus.read_bytes() + b"more\n")
    fails(train(*arguments), "input changed", f"size {before.st_size} -> {before.st_size + 5}")
    corpus.write_bytes(corpus.read_bytes()[:-5])
    os.utime(corpus, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    fails(train(*arguments), "input changed", "same size")
    os.utime(corpus, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert train(*arguments).digest == digest


def test_execution_and_layout_options_may_change_when_a_run_goes_on(corpus, tmp_path):
    output = tmp_path / "run"
    digest = digest_of(corpus, output, "--block_bytes=2000")
    again = train(
        f"--input={corpus}", f"--output={output}", *TINY, "--threads=1", "--block_bytes=3000", "--batches=stored"
    )
    assert again.digest == digest
    assert "--block_bytes=3000 is ignored" in again.stderr


def test_overwrite_makes_what_a_fresh_run_would(corpus, tmp_path):
    output = tmp_path / "run"
    digest_of(corpus, output)
    counts = next(output.glob("counts/*/*")).stat().st_mtime_ns
    arguments = [f"--input={corpus}", f"--output={output}", *ALONE, "--window=2"]
    replaced = train(*arguments, "--overwrite")
    assert replaced.digest == digest_of(corpus, tmp_path / "fresh", "--window=2")
    assert next(output.glob("counts/*/*")).stat().st_mtime_ns == counts  # what is alike is reused


def test_an_output_that_is_no_run_is_never_touched(corpus, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.tex").write_text("years of work")
    for more in ([], ["--overwrite"]):
        fails(train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *ALONE, *more), "not empty", "thesis.tex")
    assert files_of(tmp_path / "run") == ["thesis.tex"]
    fails(train(f"--input={corpus}", f"--output={corpus}", *ALONE), f"{corpus} is a file, but a folder is needed there")
    fails(run("jobs.verify", f"--run={tmp_path / 'run'}"), "is not the output of a run")


def test_what_dry_run_prints_can_be_given(corpus, tmp_path):
    arguments = [f"--input={corpus}", f"--output={tmp_path / 'run'}", "--dry_run", "--lowercase", "--dims=7"]
    plan = train(*arguments).stdout
    printed = re.findall(r"--\w+=\S+", "\n".join(line for line in plan.splitlines() if not line.startswith("output")))
    assert "--lowercase=True" in printed
    again = train(*arguments[:3], *printed)
    assert again.stdout == plan, again.stderr


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path):
    packed = tmp_path / "text.gz"
    packed.write_bytes(gzip.compress(b"one two, three\n" * 9))
    outcome = train(f"--input={packed}", f"--output={tmp_path / 'run'}", "--dry_run", "--dims=7")
    assert outcome.status == 0
    for part in ("1 file, ", "one | two, | three", "--dims=7", "FnApiRunner", "nothing was written", "unpacked"):
        assert part in outcome.stdout
    assert not (tmp_path / "run").exists()


def test_a_config_file_holds_the_same_names_and_the_command_line_wins(corpus, digest, tmp_path):
    config = tmp_path / "config.yaml"
    given = dict(option.removeprefix("--").split("=") for option in TINY) | {
        "input": f"[{corpus}]",
        "output": tmp_path / "run",
        "dims": 99,
        "direct_num_workers": 2,
        "overwrite": "false",
    }
    config.write_text("".join(f"{name}: {value}\n" for name, value in given.items()))
    outcome = train(f"--config={config}", "--dims=12")
    assert outcome.digest == digest
    config.write_text("seed: 010\n")
    assert "--seed=10" in train(f"--config={config}", f"--input={corpus}", "--output=x", "--dry_run").stdout
    config.write_text("epochs: 1:30\n")
    fails(train(f"--config={config}", f"--input={corpus}", "--output=x"), "--epochs=1:30")
    config.write_text("dimz: 3\n")
    fails(train(f"--config={config}", f"--input={corpus}", "--output=x"), "did you mean --dims?")
    wrong = {"- dims\n": "must hold names and values", "dims: [\n": "is not YAML", "dims: [1]\n": "--dims"}
    for text, why in wrong.items():
        config.write_text(text)
        fails(train(f"--config={config}", f"--input={corpus}", f"--output={tmp_path / 'x'}"), why)


def test_damage_in_a_run_is_found_and_repaired(corpus, tmp_path):
    output = tmp_path / "run"
    digest = digest_of(corpus, output)
    part = next(output.glob("checkpoints/*/*/part-*"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    found = run("jobs.verify", f"--run={output}")
    assert found.status == 1
    assert str(part) in found.stderr
    assert digest_of(corpus, output) == digest  # the damaged checkpoint is made anew
    next(output.glob("vocabulary/*/*")).unlink()
    assert digest_of(corpus, output) == digest
    checked = run("jobs.verify", f"--run={output}", "--input")
    assert (checked.status, checked.digest) == (0, digest)


def test_the_command_as_a_process_says_one_line_and_its_status(tmp_path):
    outcome = finish(start_cold("jobs.train", f"--input={tmp_path}/none", f"--output={tmp_path}/run"))
    assert outcome.status == 2
    assert outcome.stdout == ""
    assert outcome.stderr == f"beam2vec train: {outcome.error}\n"
    assert "matches no file" in outcome.error


def test_a_compiler_switched_off_is_one_line():
    outcome = finish(start_cold("jobs.train", "--input=x", "--output=y", environment={"NUMBA_DISABLE_JIT": "1"}))
    fails(outcome, "NUMBA_DISABLE_JIT is set", "unset it")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_lost_record_of_what_was_read_is_made_again(corpus, tmp_path, pack):
    (tmp_path / "text").write_bytes(pack(corpus.read_bytes()))
    arguments = [f"--input={tmp_path / 'text'}", f"--output={tmp_path / 'run'}", *ALONE, "--no_report"]
    made = train(*arguments)
    for spoil in (pathlib.Path.unlink, lambda record: record.write_bytes(b"{" + record.read_bytes())):
        for record in (tmp_path / "run/records").glob("text/*/*" if pack is gzip.compress else "counts/*/*"):
            spoil(record)
        assert run("jobs.verify", f"--run={tmp_path / 'run'}", "--input").status == 1
        assert train(*arguments).digest == made.digest
        assert run("jobs.verify", f"--run={tmp_path / 'run'}", "--input").status == 0


def without(number: int, job: str, *arguments: str) -> int:
    """A command without one of its streams, as Python starts where the caller has closed it."""
    os.close(number)
    setattr(sys, ("stdin", "stdout", "stderr")[number], None)
    return run_command(job, JOBS[job], arguments)


def test_a_stream_that_the_caller_has_closed_is_no_obstacle(corpus, digest, tmp_path):
    arguments = " ".join([f"--input={corpus}", f"--output={tmp_path / 'run'}", "--no_report", *TINY])
    command = f"{sys.executable} -m jobs.train {arguments} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], cwd=ROOT, timeout=100, check=False).returncode == 0
    assert verify_run(open_storage(str(tmp_path / "run"))).digest == digest
    for number in (1, 2):
        outcome = finish(WarmProcess(without, number, "jobs.verify", f"--run={tmp_path / 'run'}"))
        assert outcome.status == 0, outcome


def in_latin_1(job: str, *arguments: str) -> int:
    """A command that prints as with PYTHONIOENCODING=latin-1."""
    sys.stdout.reconfigure(encoding="latin-1")
    sys.stderr.reconfigure(encoding="latin-1")
    return run_command(job, JOBS[job], arguments)


def test_who_reads_the_result_may_leave_and_may_not_know_its_letters(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("один два три четыре\n" * 50)
    made = finish(WarmProcess(in_latin_1, "jobs.train", f"--input={path}", f"--output={tmp_path / 'run'}", *TINY))
    assert made.status == 0, made.stderr
    assert "digest: " in made.stdout
    gone = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m jobs.verify --run={tmp_path / 'run'} | true; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert (gone.returncode, gone.stderr) == (141, b"")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_tar_archive_is_refused(corpus, tmp_path, pack):
    with tarfile.open(tmp_path / "plain.tar", "w") as archive:
        archive.add(corpus, "text.txt")
    (tmp_path / "texts").write_bytes(pack((tmp_path / "plain.tar").read_bytes()))
    outcome = train(f"--input={tmp_path / 'texts'}", f"--output={tmp_path / 'run'}", *ALONE)
    fails(outcome, "texts is a tar archive", "unpack it first")


def test_a_run_may_lie_in_the_folder_of_its_input(corpus, digest, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(corpus, folder)
    assert digest_of(folder, folder / "run") == digest
    assert digest_of(folder, folder / "run") == digest
