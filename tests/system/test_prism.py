"""The job on Prism, Beam's portable runner: graphs, elements and errors go through gRPC and pickling.

Prism is built by `python -m tests.helpers.programs prism`; where it is not, these tests are skipped.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.runners.private_workers import listening_ports
from pipeline.runs.verify import verify_run
from pipeline.storage.open_storage import open_storage
from tests.helpers import programs
from tests.helpers.commands import ROOT, TINY, digest_of, finish, preprocess, start, train, write_corpus
from tests.helpers.pool_attack import attacked

PRISM = programs.found("prism")
pytestmark = [
    pytest.mark.skipif(PRISM is None, reason="no Prism here: python -m tests.helpers.programs prism"),
    # Beam's thread that reads from a worker that is gone.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]
ON_PRISM = ("--runner=PrismRunner", f"--prism_location={PRISM}")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder / "a.txt", lines=120)
    packed = write_corpus(folder / "b", lines=120, seed=1)
    (folder / "b.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    return folder


@pytest.fixture(scope="module")
def digest(corpus, tmp_path_factory) -> str:
    return digest_of(corpus, tmp_path_factory.mktemp("here") / "run")


@contextlib.contextmanager
def worker_pool(log: pathlib.Path, **environment: str) -> Iterator[tuple[str, int]]:
    """Workers in processes of their own; the option that leads to them, and the pool's process id."""
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", "--service_port=0"]
    # The pool starts its workers as "python": that has to be this one, whatever is on the path.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    with open(log, "wb") as said:
        pool = subprocess.Popen(
            command,
            env={**os.environ, "PATH": path, **environment},
            cwd=log.parent,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        while (found := re.search(r"servicer at port: (localhost:\d+)", log.read_text())) is None:
            assert pool.poll() is None, log.read_text()
            time.sleep(0.05)
        yield f"--environment_config={found[1]}", pool.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pool.pid, signal.SIGKILL)
        pool.wait()


@contextlib.contextmanager
def own_ports() -> Iterator[set[str]]:
    """All on which this process begins to listen while open."""
    before, found, over = listening_ports(), set[str](), threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            found.update(listening_ports() - before)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            yield found
        finally:
            over.set()
            looking.result()


def test_prism_is_told_to_listen_for_everybody(corpus, tmp_path):
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, *ON_PRISM, "--no_report")
    assert "Prism listens on all network interfaces" in outcome.stderr
    assert outcome.status == 0


def test_no_other_machine_starts_a_worker_in_the_command(corpus, tmp_path):
    process = start("jobs.train", f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, *ON_PRISM, "--no_report")
    statuses = attacked(process)
    assert finish(process).status == 0
    assert statuses["elsewhere"] == {"UNAVAILABLE"}
    assert statuses["here"] & {"OK", "DEADLINE_EXCEEDED"}, "or the attack shows nothing"


def test_the_digest_is_that_of_threads_in_this_process(corpus, digest, tmp_path):
    output = tmp_path / "run"
    with own_ports() as opened:
        assert digest_of(corpus, output, *ON_PRISM, "--block_bytes=9000", "--batches=stored") == digest
    assert verify_run(open_storage(str(output)), True).problems == []
    assert opened, "a pool of workers"
    addresses = {port.partition(":")[0] for port in opened}
    assert {address.removeprefix("0000000000000000FFFF0000") for address in addresses} == {"0100007F"}, "127.0.0.1"


def test_replicas_have_one_digest_too(corpus, tmp_path):
    several = ("--replicas=2", "--rounds=2", "--epochs=1", "--holdout=0.1")
    here = digest_of(corpus, tmp_path / "here", *several)
    assert digest_of(corpus, tmp_path / "run", *several, *ON_PRISM) == here
    assert verify_run(open_storage(str(tmp_path / "run"))).problems == []


def test_so_is_that_of_preprocessing_and_training_by_themselves(corpus, digest, tmp_path):
    side = [f"--{name}" for name in ("min_count=2", "window=3", "seed=7", "block_bytes=9000", "threads=2")]
    made = preprocess(f"--input={corpus}", f"--output={tmp_path / 'corpus'}", *side, *ON_PRISM)
    assert made.status == 0, made.stderr
    trained = train(f"--corpus={tmp_path / 'corpus'}", f"--output={tmp_path / 'run'}", *TINY, *ON_PRISM, "--no_report")
    assert trained.digest == digest


def test_workers_of_their_own_have_the_same_digest_and_a_killed_one_ends_the_job(corpus, digest, tmp_path):
    with worker_pool(tmp_path / "log", PYTHONPATH=str(ROOT)) as (config, pid):
        arguments = [*ON_PRISM, "--environment_type=EXTERNAL", config, "--no_report", *TINY, f"--input={corpus}"]
        assert digest_of(corpus, tmp_path / "run", *arguments) == digest
        output = tmp_path / "killed"
        process = start("jobs.train", *arguments, f"--output={output}", "--epochs=60000", "--checkpoint_every=10")
        wait_for_a_checkpoint(output, process)
        os.killpg(pid, signal.SIGKILL)
        outcome = finish(process)
    assert outcome.status == 1, outcome.stderr
    assert outcome.error.startswith("a Python worker was lost")
    assert not (output / "lock.json").exists()
    report = verify_run(open_storage(str(output)), True)
    assert report.state == "unfinished"
    # A worker that is killed may leave points or parts behind that it had not recorded.
    assert [problem for problem in report.problems if "that no record names" not in problem] == []


WITHOUT_THE_PACKAGE = """
import sys


class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pipeline", "transforms", "jobs"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Without())
"""


def test_a_worker_without_the_package_is_told_in_one_line(corpus, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "sitecustomize.py").write_text(WITHOUT_THE_PACKAGE)  # the tests' own environment has it installed
    with worker_pool(tmp_path / "log", PYTHONPATH=str(bare)) as (config, _):
        arguments = [*ON_PRISM, "--environment_type=EXTERNAL", config]
        outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, *arguments)
    assert outcome.status == 2
    assert "a worker has no module 'pipeline': install beam2vec where workers run" in outcome.error


def test_an_error_of_a_worker_keeps_its_line_and_its_status(tmp_path):
    (tmp_path / "text.txt").write_bytes(b"a b a b\n\xff\xfe\n" * 50)
    arguments = [f"--input={tmp_path / 'text.txt'}", f"--output={tmp_path / 'run'}", *TINY, *ON_PRISM]
    outcome = finish(start("jobs.train", *arguments))  # with what is said after the command's last line
    assert outcome.status == 2
    assert outcome.error.startswith("50 of 100 lines cannot be read, more than --max_bad_lines=1%")


def test_a_signal_during_training_leaves_a_checkpoint_and_no_server(corpus, digest, tmp_path):
    output = tmp_path / "run"
    arguments = [f"--input={corpus}", f"--output={output}", "--no_report", *TINY, "--epochs=60000"]
    prism = tmp_path / "prism"  # by a name of its own it is told from those of other tests
    prism.symlink_to(PRISM)
    on_prism = ["--runner=PrismRunner", f"--prism_location={prism}"]
    process = start("jobs.train", *arguments, *on_prism, "--checkpoint_every=10")
    wait_for_a_checkpoint(output, process)
    assert running(prism)
    process.terminate()
    outcome = finish(process)
    assert outcome.status == 143, outcome.stderr
    assert "run the same command again to go on" in outcome.stderr
    assert not (output / "lock.json").exists()
    assert verify_run(open_storage(str(output)), True).problems == []
    until = time.monotonic() + 60
    while running(prism):
        assert time.monotonic() < until, "Prism goes on"
        time.sleep(0.05)


def wait_for_a_checkpoint(output: pathlib.Path, process: subprocess.Popen) -> None:
    while not list(output.glob("records/checkpoints/*/*.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def running(program: pathlib.Path) -> list[str]:
    """Processes that run a program."""
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in shown.splitlines() if line.startswith(str(program))]
