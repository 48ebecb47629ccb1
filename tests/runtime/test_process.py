"""Processes that work on a run which another process began: set up for it, whoever starts them."""

from __future__ import annotations

import os
import pathlib
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from apache_beam.io.filesystems import FileSystems

from pipeline.options import Options
from pipeline.runtime import progress
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from tests.helpers.commands import ROOT, TINY, digest_of, preprocess, train, write_corpus
from tests.helpers.fake_hdfs import serve
from transforms.job_context import JobContext

ARRIVAL = """
import logging, pickle, sys
import pyarrow as pa
from pipeline.runtime import progress
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
    context = JobContext(Records(open_storage(str(tmp_path))), {}, Options(dims=7), None)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WORKER_ID": name}
    environment.pop("ARROW_DEFAULT_MEMORY_POOL", None)  # which the commands set for themselves
    done = subprocess.run(
        [sys.executable, "-c", ARRIVAL], input=pickle.dumps(context), capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == ["system"]
    assert re.search(rf"^{name or r'worker [0-9]+'}: Count words: ", done.stderr.decode(), re.MULTILINE)


def test_the_command_itself_keeps_its_lines_and_bars(tmp_path):
    preprocess("--help")
    assert progress.runs_the_job()
    context = JobContext(Records(open_storage(str(tmp_path))), {}, Options(), None)
    assert pickle.loads(pickle.dumps(context)) == context
    assert progress._line_prefix == ""


READING = """
import pickle, sys
from pipeline.storage.open_storage import open_storage
pickle.loads(sys.stdin.buffer.read())
sys.stdout.buffer.write(open_storage("hdfs://texts").read("text.txt"))
"""


@pytest.fixture
def name_node() -> Iterator[tuple[list[str], dict[str, bytes]]]:
    """Beam's options that lead to it, and its files."""
    pytest.importorskip("hdfs", reason="pip install 'apache-beam[hadoop]'")
    with serve() as (port, files):
        yield ["--hdfs_host=127.0.0.1", f"--hdfs_port={port}", "--hdfs_user=me"], files
    FileSystems.set_options(None)


def test_a_context_brings_the_file_systems_of_beam_along(tmp_path, name_node):
    options, files = name_node
    files["/texts/text.txt"] = b"some words"
    context = JobContext(Records(open_storage(str(tmp_path))), {}, Options(), None, beam=tuple(options))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", READING], input=pickle.dumps(context), capture_output=True, env=environment, check=False
    )
    assert done.stdout == b"some words", done.stderr.decode()


@pytest.mark.slow
def test_worker_processes_read_what_lies_on_hdfs(tmp_path, name_node):
    """Beam hands such workers none of its options."""
    options, files = name_node
    files["/texts/text.txt"] = write_corpus(tmp_path / "text.txt", lines=60).read_bytes()
    processes = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    found = digest_of("hdfs://texts/text.txt", tmp_path / "there", *processes, *options)
    assert found == digest_of(tmp_path / "text.txt", tmp_path / "here")


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
