"""What all commands share: exit statuses, and errors on one line."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from jobs.cli.entry import run_command
from jobs.runners.signals import received
from pipeline.errors import ArtifactError, InputError, InterruptedRunError, OutputInUseError
from tests.helpers.commands import ROOT


@pytest.mark.parametrize(
    ("error", "status"), [(InputError, 2), (OutputInUseError, 3), (ArtifactError, 1), (InterruptedRunError, 130)]
)
def test_an_error_is_one_line_and_its_status(capsys, error, status):
    def fails(arguments):
        raise error("what is wrong, and what to do")

    assert run_command("jobs.train", fails, []) == status
    assert capsys.readouterr().err == "jobs.train: what is wrong, and what to do\n"


def test_a_signal_decides_the_status_and_one_of_the_command_before_does_not():
    def is_stopped(arguments):
        received.append(signal.SIGTERM)
        stops(arguments)

    def stops(arguments):
        raise InterruptedRunError("stopped")

    assert run_command("jobs.train", is_stopped, []) == 143
    assert run_command("jobs.train", stops, []) == 130


PROGRAM = """
import atexit, os, sys
from jobs.cli.entry import run_process

class Loud:
    def __del__(self):
        os.write(2, b"the interpreter's end")

loud = Loud()
atexit.register(os.write, 2, b"the exit's functions")

def main(arguments):
    print(*arguments)
    return 3 if "said" in arguments else 0

run_process("jobs.test", main)
"""


def ended(*arguments: str, stdout: int = subprocess.PIPE, buffered: bool = True) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment)


def test_a_process_ends_with_the_commands_status_and_without_the_interpreters_end():
    done = ended("all", "is", "said")
    assert (done.returncode, done.stdout, done.stderr) == (3, "all is said\n", "the exit's functions")
    assert ended().returncode == 0


@pytest.mark.parametrize("buffered", [True, False])
def test_a_result_that_cannot_be_written_is_told_and_is_no_success(buffered):
    with open("/dev/full", "w") as full:
        done = ended(stdout=full.fileno(), buffered=buffered)
    assert done.returncode == 1
    assert done.stderr.replace("the exit's functions", "").splitlines() == [
        "jobs.test: standard output cannot be written: No space left on device"
    ]


def test_a_result_that_cannot_be_written_is_told_as_json_where_that_is_asked_for():
    with open("/dev/full", "w") as full:
        done = ended("--log_format=json", stdout=full.fileno())
    error = json.loads(done.stderr.replace("the exit's functions", ""))
    assert (error["event"], error["command"], error["status"]) == ("error", "jobs.test", 1)


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_has_left_ends_the_command_in_silence(buffered):
    reads, writes = os.pipe()
    os.close(reads)
    done = ended(stdout=writes, buffered=buffered)
    os.close(writes)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "the exit's functions")


@pytest.mark.parametrize("library", ["/numpy/", "/apache_beam/", "/llvmlite/"])
def test_ctrl_c_in_the_first_seconds_ends_a_command_in_silence(tmp_path, library):
    """Signalled as soon as a library has been loaded: by then the command's own code has begun."""
    text = tmp_path / "text.txt"
    text.write_text("a rose is a rose\n" * 50)
    command = [sys.executable, "-m", "jobs.train", f"--input={text}", f"--output={tmp_path / 'run'}", "--epochs=900"]
    signal_now = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts the tests may ignore it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    signal.signal(signal.SIGINT, signal_now)
    maps = pathlib.Path(f"/proc/{process.pid}/maps")
    while library not in maps.read_text():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in error
    assert len(error.splitlines()) <= 3


@pytest.mark.parametrize("megabytes", [300, 700])
def test_too_few_addresses_are_told_before_anything_is_loaded(tmp_path, megabytes):
    """Imports failed half way, or a command hung for ever: a thread that it waited for could not be started."""
    text = tmp_path / "text.txt"
    text.write_text("a rose is a rose\n" * 50)
    command = (
        f"ulimit -v {megabytes << 10} && exec {sys.executable} -m jobs.train --input={text} --output={tmp_path / 'run'}"
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 2
    assert done.stderr == f"beam2vec: ulimit -v allows {megabytes} MB of addresses, 1,000 MB are needed: raise it\n"
    assert not (tmp_path / "run").exists()
