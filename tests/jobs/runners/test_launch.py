"""Clusters that are not there, workers that cannot start, jobs that go on without the command, and cancelling."""

from __future__ import annotations

import json
import logging
import pathlib
import signal
import socket
import time
from collections.abc import Iterator

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner, PipelineState
from apache_beam.runners.worker import data_plane

from jobs import train as train_job
from jobs.cli.entry import run_command
from jobs.runners.worker_failures import worker_trouble
from pipeline.errors import InputError, OutputInUseError
from pipeline.storage import process_identity
from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import open_storage
from tests.helpers.commands import TINY, digest_of, finish, start, train, write_corpus
from tests.helpers.refusals import FLINK, refusal
from transforms import counts


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt", lines=60)


def test_no_thread_but_its_writer_empties_a_buffer_of_elements(corpus, tmp_path, monkeypatch):
    """FnApiRunner's does, once a second and without a lock: elements are lost."""
    made = []
    begin = data_plane.ClosableOutputStream.create

    def create(*arguments, **options):
        made.append(begin(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(data_plane.ClosableOutputStream, "create", create)
    digest_of(corpus, tmp_path / "run", "--direct_running_mode=multi_processing", "--direct_num_workers=1")
    assert made
    assert not [one for one in made if isinstance(one, data_plane.TimeBasedBufferingClosableOutputStream)]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nobody listens, taken so that nobody begins to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_an_unreachable_cluster_ends_the_command_at_once_and_leaves_no_output(corpus, tmp_path, closed_port):
    master = f"--flink_master=127.0.0.1:{closed_port}"
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, *FLINK, master)
    assert outcome.status == 2
    assert outcome.error.startswith(f"{master}: no Flink cluster answers there (Connection refused)")
    assert not (tmp_path / "run").exists()


def test_job_endpoints_programs_and_files_that_are_not_there_are_told(closed_port):
    endpoint = f"--job_endpoint=127.0.0.1:{closed_port}"
    assert refusal("--runner=PortableRunner", endpoint) == (
        f"{endpoint}: no job server answers there (Connection refused)"
    )
    assert "write HOST:PORT" in refusal("--runner=PortableRunner", "--job_endpoint=nowhere")
    prism = "--runner=PrismRunner"
    pool = f"--environment_config=127.0.0.1:{closed_port}"
    assert refusal(prism, "--environment_type=EXTERNAL", pool) == (
        f"{pool}: no Python worker pool answers there (Connection refused)"
    )
    assert "turns such workers away" in refusal(prism, "--environment_type=PROCESS")
    assert "--prism_location=/no/prism does not exist" in refusal("--runner=PrismRunner", "--prism_location=/no/prism")
    assert "--flink_job_server_jar=no.jar does" in refusal("--runner=FlinkRunner", "--flink_job_server_jar=no.jar")
    assert "--spark_job_server_jar=no.jar does" in refusal("--runner=Spark", "--spark_job_server_jar=no.jar")
    for runner in ("FlinkRunner", "SparkRunner"):
        assert "needs Java" in refusal(f"--runner={runner}", "--job_server_java_launcher=no-java")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("ModuleNotFoundError: No module named 'pipeline' [while running 'x']", "a worker has no module 'pipeline'"),
        ("FAILED: java.io.IOException: error=2, No such file or directory", "No such file or directory (error 2)"),
        ('IOException: Cannot run program "x.sh": error=13, Permission denied', "Permission denied (error 13)"),
        ("java.lang.IllegalStateException: Process died with exit code 1", "ended with exit status 1"),
        ("java.net.ConnectException: finishConnect(..) failed: Connection refused", "no Python worker pool answers"),
        (
            "RuntimeError: Unable to fetch remote job server jar at https://x.org/beam-runners-spark-3.jar: 404",
            "spark cannot be downloaded: download it elsewhere, and name it by --spark_job_server_jar",
        ),
        ("java.net.UnknownHostException: workers-0", "does not know the host workers-0"),
    ],
)
def test_workers_that_cannot_start_are_told_in_one_line(message, told):
    found = worker_trouble(f"Pipeline x failed in state FAILED: {message}\n\tat java")
    assert isinstance(found, InputError)
    assert told in str(found)
    assert worker_trouble("ValueError: a mistake of ours") is None
    cancelled = "org.apache.flink.runtime.client.JobCancellationException: Job was cancelled."
    assert "cancelled on the cluster" in str(worker_trouble(cancelled))


class WithoutThePackage(PipelineRunner):
    """As a cluster whose workers lack beam2vec."""

    def run_pipeline(self, pipeline, options):
        raise RuntimeError("Traceback:\nModuleNotFoundError: No module named 'transforms' [while running 'Inputs']")


def test_a_worker_without_the_package_ends_the_command_with_status_2(corpus, tmp_path):
    runner = "--runner=tests.jobs.runners.test_launch.WithoutThePackage"
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, runner)
    assert outcome.status == 2
    assert "a worker has no module 'transforms': install beam2vec" in outcome.error
    assert not (tmp_path / "run" / "lock.json").exists()


class EndsByALostConnection(PipelineRunner):
    """As Prism, where a second worker fails because the first one's error has ended the job."""

    error = ""
    ends_by = "unknown error"

    def run_pipeline(self, pipeline, options):
        logging.getLogger("SdkWorker").error("Error processing instruction 11.\n%s", self.error)
        raise RuntimeError(f"Pipeline job-1 failed in state FAILED: {self.ends_by}")


TRACEBACK = "Traceback (most recent call last):\n"


@pytest.mark.parametrize("ends_by", ["unknown error", f"{TRACEBACK}grpc._channel._InactiveRpcError: it is gone"])
@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        ("Traceback:\npipeline.errors.OutputInUseError: x is in use [while running 'Train']", 3, "x is in use"),
        ("Traceback:\nModuleNotFoundError: No module named 'transforms'", 2, "a worker has no module 'transforms'"),
    ],
)
def test_an_error_is_told_even_where_the_runner_ends_the_job_by_another(
    corpus, tmp_path, monkeypatch, error, status, told, ends_by
):
    monkeypatch.setattr(EndsByALostConnection, "error", error)
    monkeypatch.setattr(EndsByALostConnection, "ends_by", ends_by)
    runner = "--runner=tests.jobs.runners.test_launch.EndsByALostConnection"
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, runner)
    assert outcome.status == status
    assert told in outcome.error


class EndsByNothing(FnApiRunner):
    """As a runner that does not say what a worker raised."""

    def run_pipeline(self, pipeline, options):
        try:
            return super().run_pipeline(pipeline, options)
        except Exception:
            raise RuntimeError("Pipeline job-1 failed in state FAILED") from None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--min_count=500"], "--min_count=500"),
        (["--learning_rate=9", "--damping=1e6", "--epochs=30"], "finite"),
        (["--phrases=1"], ""),
    ],
)
def test_an_error_is_told_even_where_the_runner_does_not_know_it(corpus, tmp_path, options, told):
    """Raised while counting, and while training."""
    runner = "--runner=tests.jobs.runners.test_launch.EndsByNothing"
    output = tmp_path / "run"
    outcome = train(f"--input={corpus}", f"--output={output}", *TINY, runner, *options)
    beside = train(f"--input={corpus}", f"--output={tmp_path / 'beside'}", *TINY, *options)
    assert outcome.status == beside.status
    if told:
        assert told in outcome.error
        assert outcome.error == beside.error.replace(str(tmp_path / "beside"), str(output))
    assert not (output / "errors").exists()


def test_what_a_worker_has_logged_takes_no_other_errors_place(corpus, tmp_path, monkeypatch):
    missing = f"{TRACEBACK}ModuleNotFoundError: No module named 'fast_tagger'"
    monkeypatch.setattr(EndsByALostConnection, "error", missing)
    monkeypatch.setattr(EndsByALostConnection, "ends_by", f"{TRACEBACK}MemoryError: out of memory")
    runner = "--runner=tests.jobs.runners.test_launch.EndsByALostConnection"
    with pytest.raises(RuntimeError, match="MemoryError: out of memory"):
        train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, runner)


def test_in_this_process_a_module_that_is_missed_and_logged_is_shown_and_ends_nothing(
    corpus, tmp_path, monkeypatch, capsys
):
    def counted_unit(*_, **__):
        try:
            import fast_tagger  # type: ignore[import-not-found]  # noqa: F401
        except ImportError:
            logging.getLogger("tagger").exception("the slow one is taken")
        raise MemoryError("out of memory")

    monkeypatch.setattr(counts, "counted_unit", counted_unit)
    with pytest.raises(Exception, match="out of memory"):
        run_command("jobs.train", train_job.main, [f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY])
    shown = capsys.readouterr().err
    assert "the slow one is taken" in shown
    assert "ModuleNotFoundError: No module named 'fast_tagger'" in shown


class Lost(grpc.RpcError, grpc.Call):
    """As a job server that is killed."""

    def details(self) -> str:
        return "Stream removed"


def test_a_server_that_is_lost_is_told_in_one_line(corpus, tmp_path, monkeypatch):
    def lose(*arguments):
        raise Lost

    monkeypatch.setattr(EndsByALostConnection, "run_pipeline", lose)
    runner = "--runner=tests.jobs.runners.test_launch.EndsByALostConnection"
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, runner)
    assert (outcome.status, outcome.error) == (
        1,
        "the runner's server was lost (Stream removed): start the run again",
    )


STAGES = {
    "WorkUnits",
    "CountWords",
    "BuildVocabulary",
    "UnigramDistribution",
    "EncodeTokens",
    "GenerateBatches",
    "Train",
}


class Names(beam.pipeline.PipelineVisitor):
    """The names of a graph's stages."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def enter_composite_transform(self, node) -> None:
        self.found.add(node.full_label)


class Later(PipelineRunner):
    """As a launcher of templates: what it was given runs when the test says so."""

    given: list = []  # noqa: RUF012

    def run_pipeline(self, pipeline, options):
        self.given.append((pipeline, options))
        return self

    def wait_until_finish(self):
        raise AssertionError("the launcher waits")


def test_a_launcher_leaves_at_once_and_the_workers_end_the_job_alone(corpus, tmp_path):
    output = tmp_path / "run"
    arguments = ["--runner=tests.jobs.runners.test_launch.Later", "--template_location=gs://bucket/template"]
    outcome = train(f"--input={corpus}", f"--output={output}", *TINY, *arguments)
    assert outcome.status == 0, outcome.stderr
    assert "the job goes on without this command" in outcome.stdout
    assert "digest: " not in outcome.stdout.replace("digest, once", "")
    assert sorted(path.name for path in output.iterdir()) == ["lock.json", "run.json"]
    second = train(f"--input={corpus}", f"--output={output}", *TINY)
    assert second.status == 3, "the output is in use, though its launcher is gone"
    ((pipeline, _),) = Later.given  # one graph, with all stages in it
    names = Names()
    pipeline.visit(names)
    assert names.found >= STAGES
    FnApiRunner().run_pipeline(pipeline, PipelineOptions([])).wait_until_finish()
    digest = digest_of(corpus, tmp_path / "here")
    (output / "lock.json").unlink()
    assert digest_of(corpus, output) == digest


def test_a_lock_that_was_handed_over_outlives_its_process_until_it_expires(tmp_path, monkeypatch):
    storage = open_storage(str(tmp_path))
    with Lock(storage) as held:
        held.hand_over()
    monkeypatch.setattr(process_identity, "is_dead", lambda host, pid, process: process != "")
    with pytest.raises(OutputInUseError):
        Lock(storage).acquire()
    Lock.attach(storage, held.token).renew()
    held = json.loads(storage.read("lock.json"))
    storage.put("lock.json", json.dumps({**held, "expires": time.time() - 1}).encode())
    Lock(storage).acquire()


class Endless(PipelineRunner):
    """A job on a cluster that ends when it is cancelled."""

    def run_pipeline(self, pipeline, options):
        signal.signal(signal.SIGINT, lambda *_: print("not ours", flush=True))  # as Beam's job servers do
        return self

    def wait_until_finish(self):
        print("running", flush=True)
        time.sleep(200)
        return PipelineState.DONE

    def cancel(self):
        print("cancelled", flush=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_job_and_frees_the_output(corpus, tmp_path, number):
    output = tmp_path / "run"
    process = start(
        "jobs.train",
        f"--input={corpus}",
        f"--output={output}",
        *TINY,
        "--runner=tests.jobs.runners.test_launch.Endless",
    )
    assert process.stdout.readline() == "running\n"
    process.send_signal(number)
    outcome = finish(process)
    assert outcome.status == 128 + number
    assert outcome.stdout == "cancelled\n"
    assert "start the run again to go on" in outcome.stderr
    assert not (output / "lock.json").exists()
