"""Runs the commands for the tests: in this process, which is fast, or in one of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from jobs import compare as compare_job
from jobs import evaluate as evaluate_job
from jobs import export as export_job
from jobs import follow as follow_job
from jobs import log as log_job
from jobs import preprocess as preprocess_job
from jobs import promote as promote_job
from jobs import report as report_job
from jobs import reproduce as reproduce_job
from jobs import train as train_job
from jobs import verify as verify_job
from jobs.cli import parser
from jobs.cli.entry import run_command, run_process
from pipeline.options import Options
from tests.helpers import beam_shortcuts, maps  # noqa: F401  of which the second makes reports fast
from tests.helpers.warm import WarmProcess

ROOT = pathlib.Path(__file__).parents[2]
JOBS: dict[str, Callable[[Sequence[str]], int]] = {
    "jobs.compare": compare_job.main,
    "jobs.evaluate": evaluate_job.main,
    "jobs.export": export_job.main,
    "jobs.follow": follow_job.main,
    "jobs.log": log_job.main,
    "jobs.preprocess": preprocess_job.main,
    "jobs.promote": promote_job.main,
    "jobs.report": report_job.main,
    "jobs.reproduce": reproduce_job.main,
    "jobs.train": train_job.main,
    "jobs.verify": verify_job.main,
}
TINY = ("--dims=12", "--epochs=2", "--batch_size=256", "--min_count=2", "--threads=2", "--window=3", "--seed=7")
"""Options of a run that takes half a second on `write_corpus`."""
ALONE = (*TINY, "--threads=1")
"""The same with one worker: for tests of what is said, or of what is there afterwards."""
_OPTIONS = {f"--{field.name}" for field in dataclasses.fields(Options)} - {"--stopwords"}
beam_shortcuts.install()
parser.parse_beam_options = beam_shortcuts.with_answers_kept(parser.parse_beam_options)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    status: int
    stdout: str
    stderr: str

    @property
    def digest(self) -> str:
        found = re.findall(r"^digest: ([0-9a-f]{64})$", self.stdout, re.MULTILINE)
        assert len(found) == 1, f"exit status {self.status}\n{self.stdout}\n{self.stderr}"
        return found[0]

    @property
    def error(self) -> str:
        """The one line that a failed command leaves on stderr, without the command's name."""
        assert "Traceback" not in self.stderr, self.stderr
        lines = [line for line in self.stderr.splitlines() if line.startswith("beam2vec ")]
        assert len(lines) == 1, self.stderr
        return lines[0].partition(": ")[2]


def overridden(arguments: Sequence[str]) -> list[str]:
    """The arguments, of which the last `--name=value` of a model's option counts: those of TINY may be overridden."""
    last = {argument.partition("=")[0]: argument for argument in arguments if argument.partition("=")[0] in _OPTIONS}
    return [argument for argument in arguments if last.get(argument.partition("=")[0], argument) is argument]


def command_name(job: str) -> str:
    """`jobs.train` as users call it."""
    return job.replace("jobs.", "beam2vec ")


def with_one_worker(job: str, arguments: Sequence[str]) -> list[str]:
    """With one worker of Beam, which takes a quarter less; unless it is said how many, where, or in another file."""
    said = ("--direct_", "--runner", "--config")
    if job not in ("jobs.train", "jobs.preprocess") or any(argument.startswith(said) for argument in arguments):
        return [*arguments]
    return [*arguments, "--direct_num_workers=1"]


def run(job: str, *arguments: str) -> Outcome:
    """Run a command in this process, with one worker of Beam: `start` has as many as there are threads."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            status = run_command(command_name(job), JOBS[job], with_one_worker(job, overridden(arguments)))
        except SystemExit as left:  # as argparse does
            status = int(left.code or 0)
    return Outcome(status, out.getvalue(), error.getvalue())


def train(*arguments: str) -> Outcome:
    return run("jobs.train", *arguments)


def preprocess(*arguments: str) -> Outcome:
    return run("jobs.preprocess", *arguments)


def digest_of(text: pathlib.Path | str, output: pathlib.Path, *arguments: str) -> str:
    """Digest of a tiny model trained on `text`; `arguments` add to TINY and override it."""
    outcome = train(f"--input={text}", f"--output={output}", "--no_report", *TINY, *arguments)
    assert outcome.status == 0, outcome.stderr
    return outcome.digest


def start(job: str, *arguments: str) -> WarmProcess:
    """Start a command in a process of its own, without the seconds that imports take: see warm.py."""
    return WarmProcess(_process, job, arguments)


def start_cold(job: str, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen:
    """Start a command as users do: where the start is the point, or variables that are read by it."""
    return subprocess.Popen(
        [sys.executable, "-m", job, *overridden(arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    )


def _process(job: str, arguments: Sequence[str]) -> NoReturn:
    sys.argv = [job, *overridden(arguments)]
    run_process(command_name(job), JOBS[job])


def _command(job: str, arguments: Sequence[str]) -> int:
    sys.argv = [job, *overridden(arguments)]
    return run_command(command_name(job), JOBS[job])


def finish(process: subprocess.Popen | WarmProcess, timeout: float = 120) -> Outcome:
    try:
        out, error = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Outcome(process.returncode, out, error)


def free_ports(count: int) -> list[int]:
    """Ports for servers that take a number, below those that the system gives to connections meanwhile."""
    with contextlib.ExitStack() as taken:
        found: list[int] = []
        while len(found) < count:
            port = random.SystemRandom().randrange(10_000, 32_000)
            with contextlib.suppress(OSError):
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found


def peak(*arguments: str) -> int:
    """Bytes that jobs.train, which has to succeed, needs at most in a process of its own.

    Asked of the process itself: what wait4 tells is at least what this one needed at most.
    """
    outcome = finish(WarmProcess(_peak, arguments), timeout=280)
    assert outcome.status == 0, f"{outcome.status}: {outcome.stdout[-1000:]}{outcome.stderr}"
    return int(outcome.stdout.split()[-1]) << 10


def _peak(arguments: Sequence[str]) -> int:
    status = _command("jobs.train", arguments)
    print("peak", re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
    return status


def write_corpus(path: pathlib.Path, lines: int = 400, words: int = 400, seed: int = 0) -> pathlib.Path:
    """Text with a Zipf-like vocabulary, some of it beyond ASCII; the same for the same arguments.

    Written with integers alone, so that a digest of what is trained on it can be kept.
    """
    draw = random.Random(seed)
    letters = "aeiouBcdfglmnprsTäß语"
    names = ["".join(letters[draw.randrange(len(letters))] for _ in range(2 + i % 7)) + str(i) for i in range(words)]
    sentences = []

    def word() -> str:
        name = names[draw.randrange(draw.randrange(1, words + 1))]
        return name.upper() if draw.randrange(16) == 0 else name

    sentences = [" ".join(word() for _ in range(draw.randrange(1, 40))) for _ in range(lines)]
    path.write_bytes("\n".join(sentences).encode() + b"\n")
    return path
