"""The job on Flink: in one process with Flink embedded, and on a cluster that loses its parts.

    pytest -m flink      Flink embedded (half a minute)
    pytest -m cluster    a JobManager with two TaskManagers, killed in turn (some minutes)

Both need Java; the pieces come from `python -m deploy.pieces flink boot`. Tests are skipped, with the reason, where
they cannot be had.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from deploy.flink.cluster import Cluster
from deploy.pieces import FLINK
from pipeline.runs.verify import verify_run
from pipeline.storage import object_store as object_storage
from pipeline.storage.open_storage import open_storage
from tests.helpers import programs, real_s3
from tests.helpers.commands import (
    ROOT,
    TINY,
    digest_of,
    finish,
    free_ports,
    preprocess,
    start_cold,
    train,
    write_corpus,
)
from tests.helpers.pool_attack import attacked

pytestmark = pytest.mark.timeout(900)  # a job takes a minute here, and several on a busy machine
CORPUS_SIDE = [option for option in TINY if not option.startswith(("--dims", "--batch_size"))]
"""Of TINY, what jobs.preprocess takes."""
SLOW = {"PYTHONPATH": str(ROOT)}
"""Where workers find the slow tokeniser."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt", lines=1500)


@pytest.fixture(scope="module")
def embedded() -> list[str]:
    """The options of Flink in a process beside the command, with the workers in the command."""
    jar = programs.needed("flink")
    return ["--runner=FlinkRunner", "--parallelism=2", f"--flink_job_server_jar={jar}", f"--flink_version={FLINK}"]


@pytest.mark.flink
def test_embedded_flink_has_the_same_digest(embedded, tmp_path):
    corpus = write_corpus(tmp_path / "text.txt", lines=200)
    digest = digest_of(corpus, tmp_path / "here")
    output = tmp_path / "there"
    assert digest_of(corpus, output, *embedded, "--block_bytes=9000", "--batches=stored") == digest
    assert verify_run(open_storage(str(output)), True).problems == []


@pytest.mark.flink
def test_no_other_machine_starts_a_worker_in_the_command(embedded, tmp_path):
    corpus = write_corpus(tmp_path / "text.txt", lines=200)
    options = [*embedded, "--flink_master=[local]", "--no_report", *TINY]
    process = start_cold("jobs.train", f"--input={corpus}", f"--output={tmp_path / 'run'}", *options)
    statuses = attacked(process)
    assert finish(process).status == 0
    assert statuses["elsewhere"] == {"UNAVAILABLE"}
    assert statuses["here"] & {"OK", "DEADLINE_EXCEEDED"}, "or the attack shows nothing"


@pytest.mark.flink
def test_a_corpus_made_on_embedded_flink_trains_to_the_same_digest(embedded, tmp_path):
    corpus = write_corpus(tmp_path / "text.txt", lines=200)
    made = preprocess(
        f"--input={corpus}",
        f"--output={tmp_path / 'corpus'}",
        *CORPUS_SIDE,
        "--block_bytes=9000",
        "--batches=stored",
        *embedded,
    )
    assert made.status == 0, made.stderr
    assert verify_run(open_storage(str(tmp_path / "corpus")), True).problems == []
    trained = train(f"--corpus={tmp_path / 'corpus'}", f"--output={tmp_path / 'run'}", *TINY, "--no_report")
    assert trained.digest == digest_of(corpus, tmp_path / "here")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The variables that lead s3:// to a real server; none where that is not at hand."""
    if programs.found("versitygw") is None:
        yield {}
        return
    with real_s3.serve(tmp_path_factory.mktemp("s3")) as server:
        yield server.environment


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, bucket) -> Iterator[Cluster]:
    """A JobManager and two TaskManagers, whose workers know the bucket."""
    programs.needed("flink"), programs.needed("boot")
    rest, rpc, blob = free_ports(3)
    folder = tmp_path_factory.mktemp("cluster")
    made = Cluster(folder, rest_port=rest, rpc_port=rpc, blob_port=blob, restarts=20)  # one test disturbs it often
    made.write_config()
    try:
        made.start("jobmanager")
        for number in (1, 2):
            made.start("taskmanager", number, {**SLOW, **bucket})
        made.wait(2)
        yield made
    finally:
        made.stop()


def workers(cluster: Cluster) -> list[int]:
    """Python workers that run on the cluster: they have its folder in their environment."""
    shown = subprocess.run(["pgrep", "-f", "sdk_worker_main"], capture_output=True, text=True).stdout
    found = []
    for pid in map(int, shown.split()):
        with contextlib.suppress(OSError):
            if os.fsencode(cluster.folder / "workers") in pathlib.Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found


class Disturbed:
    """A run on the cluster, and what is done to it when its output has come so far."""

    def __init__(self, cluster: Cluster, output: pathlib.Path, arguments: list[str], variables: dict[str, str]):
        self.cluster, self.output, self.variables = cluster, output, variables
        self.process = start_cold("jobs.train", *cluster.options(), *arguments, environment=SLOW)

    def at(self, stage: str, records: int, act: Callable[[], None]) -> None:
        """Acts once a stage has left so many records."""
        folder = self.output / "records" / stage
        until = time.monotonic() + 300
        while len(list(folder.glob("*/*.json"))) < records:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < until, f"{stage} has not come to {records} records"
            time.sleep(0.02)
        act()

    def kill_taskmanager(self, number: int) -> None:
        """Kills one as the kernel does when memory is short, and starts another, as Kubernetes would."""
        os.kill(self.cluster.pids()[f"taskmanager-{number}"], signal.SIGKILL)
        self.cluster.start("taskmanager", number, {**SLOW, **self.variables})

    def kill_workers(self) -> None:
        found = workers(self.cluster)
        assert found, "no Python worker is at work"
        for pid in found:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.cluster
def test_killed_taskmanagers_and_workers_change_no_bit(cluster, bucket, corpus, tmp_path, monkeypatch):
    options = [
        *TINY,
        "--no_report",
        "--tokenizer=tests.helpers.slow_words:split",
        "--block_bytes=40000",
        "--batches=stored",
        "--batch_size=64",
        "--epochs=10",
        "--checkpoint_every=20",
        "--keep_checkpoints=2",
    ]
    output = tmp_path / "run"
    quickly = "--environment_expiration_millis=15000"  # killed workers are replaced after a shorter time
    disturbed = Disturbed(cluster, output, [quickly, f"--input={corpus}", f"--output={output}", *options], bucket)
    try:
        disturbed.at("counts", 4, lambda: disturbed.kill_taskmanager(1))
        disturbed.at("batches", 5, lambda: disturbed.kill_taskmanager(2))
        disturbed.at("metrics", 5, lambda: disturbed.kill_taskmanager(1))  # one for each checkpoint, and never pruned
        disturbed.at("metrics", 40, disturbed.kill_workers)
        outcome = finish(disturbed.process, timeout=300)
    finally:
        disturbed.process.kill()
    assert outcome.status == 0, outcome.stderr
    assert verify_run(open_storage(str(output)), True).problems == []
    assert outcome.digest == digest_of(corpus, tmp_path / "here", *options)


@pytest.mark.cluster
def test_a_signal_to_the_command_cancels_the_job_on_the_cluster(cluster, bucket, corpus, tmp_path):
    output = tmp_path / "run"
    arguments = [f"--input={corpus}", f"--output={output}", *TINY, "--epochs=60000"]
    disturbed = Disturbed(cluster, output, arguments, bucket)
    try:
        disturbed.at("vocabulary", 1, disturbed.process.terminate)
        outcome = finish(disturbed.process)
    finally:
        disturbed.process.kill()
    assert outcome.status == 143, outcome.stderr
    assert not (output / "lock.json").exists()
    until = time.monotonic() + 20
    while [job for job in cluster.ask("jobs")["jobs"] if job["status"] in ("RUNNING", "CANCELLING")]:
        assert time.monotonic() < until, "the job goes on"
        time.sleep(0.2)


@pytest.mark.cluster
def test_a_corpus_made_there_and_several_trainers_have_the_same_digest(cluster, corpus, tmp_path):
    layout = ["--block_bytes=100000", "--batches=stored"]
    there = [f"--output={tmp_path / 'corpus'}", *cluster.options(), *layout, *CORPUS_SIDE]
    made = preprocess(f"--input={corpus}", *there)
    assert made.status == 0, made.stderr
    replicas = ["--no_report", *TINY, "--replicas=2", "--rounds=2"]
    from_corpus = [f"--corpus={tmp_path / 'corpus'}", f"--output={tmp_path / 'run'}", *replicas, *cluster.options()]
    trained = train(*from_corpus)
    assert trained.status == 0, trained.stderr
    assert trained.digest == digest_of(corpus, tmp_path / "here", *replicas)


@pytest.mark.cluster
def test_several_trainers_that_lose_a_taskmanager_and_their_workers_have_the_same_digest(
    cluster, bucket, corpus, tmp_path
):
    options = [*TINY, "--no_report", "--batch_size=64", "--replicas=2", "--rounds=3", "--holdout=0.05"]
    output = tmp_path / "run"
    quickly = "--environment_expiration_millis=15000"
    arguments = [quickly, f"--input={corpus}", f"--output={output}", *options, "--block_bytes=100000"]
    disturbed = Disturbed(cluster, output, arguments, bucket)
    try:
        disturbed.at("slices", 1, lambda: disturbed.kill_taskmanager(1))
        disturbed.at("metrics", 2, lambda: disturbed.kill_taskmanager(2))  # one for each round, and never pruned
        disturbed.at("metrics", 4, disturbed.kill_workers)
        outcome = finish(disturbed.process, timeout=300)
    finally:
        disturbed.process.kill()
    assert outcome.status == 0, outcome.stderr
    assert verify_run(open_storage(str(output)), True).problems == []
    assert outcome.digest == digest_of(corpus, tmp_path / "here", *options)


@pytest.mark.cluster
def test_text_and_output_in_a_bucket_and_no_secret_in_any_file_of_the_cluster(
    cluster, bucket, corpus, tmp_path, monkeypatch
):
    if not bucket:
        pytest.skip("no versitygw here: python -m tests.helpers.programs versitygw")
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(object_storage, "_stores", {})
    open_storage("s3://bucket").put("texts/text.txt", corpus.read_bytes())
    found = digest_of("s3://bucket/texts", "s3://bucket/run", *cluster.options(), "--block_bytes=100000")
    assert found == digest_of(corpus, tmp_path / "here")
    secret = bucket["AWS_SECRET_ACCESS_KEY"].encode()
    files = [file for file in cluster.folder.rglob("*") if file.is_file()]
    assert any(file.name == "pipeline_options.json" for file in files), "what boot writes the options into"
    assert not [file for file in files if secret in file.read_bytes()]


@pytest.mark.cluster
def test_a_worker_without_the_package_is_told_in_one_line(cluster, corpus, tmp_path):
    bare = tmp_path / "worker.sh"
    bare.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {ROOT}/deploy/flink/worker.sh "$@"\n')
    bare.chmod(0o755)
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, *cluster.options(bare))
    assert outcome.status == 2
    assert "a worker has no module 'pipeline': install beam2vec where workers run" in outcome.error
