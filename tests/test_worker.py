"""Processes that work on a run which another process began: set up for it, whoever starts them."""

from __future__ import annotations

import os
import pathlib
import pickle
import re
import subprocess
import sys

import pytest
from commands import ROOT, TINY, digest_of, preprocess, train, write_corpus

from pipeline import progress
from pipeline.options import Options
from pipeline.records import Records
from pipeline.storage import open_storage
from transforms.context import Context

ARRIVAL = """
import logging, pickle, sys
import pyarrow as pa
from pipeline import progress
logging.basicConfig(level=logging.WARNING, format="%(message)s")
progress._SECONDS_BETWEEN_LINES = 0.0
assert pa.default_memory_pool().backend_name != "system"
context = pickle.loads(sys.stdin.buffer.read())
assert context.options.dims == 7
print(pa.default_memory_pool().backend_name)
progress.stage("Count words", None, "B").advance(5)
"""


@pytest.mark.parametrize("name", ["sdk-0-0", ""])
def test_a_context_sets_up_the_process_it_arrives_in(tmp_path, name):
    context = Context(Records(open_storage(str(tmp_path))), {}, Options(dims=7), None)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WORKER_ID": name}
    done = subprocess.run(
        [sys.executable, "-c", ARRIVAL], input=pickle.dumps(context), capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == ["system"]
    assert re.search(rf"^{name or r'worker [0-9]+'}: Count words: ", done.stderr.decode(), re.MULTILINE)


def test_the_command_itself_keeps_its_lines_and_bars(tmp_path):
    preprocess("--help")
    assert progress.owns_terminal()
    context = Context(Records(open_storage(str(tmp_path))), {}, Options(), None)
    assert pickle.loads(pickle.dumps(context)) == context
    assert progress._line_prefix == ""


@pytest.mark.slow
def test_worker_processes_make_the_same_bytes(tmp_path):
    """Beam's own processes on this machine, started for the run."""
    text: pathlib.Path = write_corpus(tmp_path / "text.txt")
    wanted = digest_of(text, tmp_path / "plain")
    processes = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    corpus = [f"--input={text}", "--min_count=2", "--window=3", "--seed=7", "--block_bytes=9000", "--threads=2"]
    stored = ["--batches=stored", "--epochs=2"]
    outcome = preprocess(*corpus, *stored, f"--output={tmp_path / 'corpus'}", *processes)
    assert outcome.status == 0, outcome.stderr
    outcome = train(f"--corpus={tmp_path / 'corpus'}", f"--output={tmp_path / 'run'}", *TINY[:3], "--no_report")
    assert outcome.digest == wanted
