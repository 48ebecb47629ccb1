"""While a job runs, nobody but its user reaches it: no port is open, and sockets lie in a private folder."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_runner_api_pb2,
)

from jobs import train as train_job
from jobs.cli.entry import run_command
from jobs.graph import new_graph, pipeline_options
from jobs.runners import launch as runners
from jobs.runners import private_workers
from jobs.runners.worker_failures import WORKER_LOST
from pipeline.errors import InputError, PipelineError
from tests.helpers.commands import TINY, finish, start, train, write_corpus
from tests.helpers.listening import descendants, listened_on, watched
from tests.helpers.warm import WarmProcess

NOBODY = 65534
PROCESSES = ("--direct_running_mode=multi_processing",)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt", lines=300)


MODES = ("", "--direct_running_mode=multi_threading", "--runner=DirectRunner", *PROCESSES)


def all_modes(corpus, folder) -> int:
    for workers in (1, 2):
        for mode in MODES:
            named = [f"--input={corpus}", f"--output={folder}/{workers}{mode}", f"--direct_num_workers={workers}"]
            assert run_command("jobs.train", train_job.main, [*named, *TINY, "--no_report", *filter(None, [mode])]) == 0
    return 0


def test_no_mode_of_the_local_runner_opens_a_port(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/tmp")
    process = WarmProcess(all_modes, corpus, tmp_path)
    seen, samples = watched(process, timeout=280)
    outcome = finish(process)
    assert outcome.status == 0, outcome.stderr
    said = outcome.stdout
    assert samples > 20
    assert len({line for line in said.splitlines() if line.startswith("digest: ")}) == 1
    sockets = {each.partition(" ")[2] for each in seen if each.startswith("unix /tmp/beam2vec-")}
    assert len(sockets) == 8, "four servers for each run with worker processes"
    assert seen == {f"unix {path}" for path in sockets}
    assert not [path for path in sockets if pathlib.Path(path).parent.exists()]


def test_the_watch_sees_what_listens():
    code = "import socket, time; s = socket.create_server(('', 0)); print('up', flush=True); time.sleep(0.3)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    seen, _ = watched(process)
    process.stdout.close()
    assert [each[:13] for each in seen] == ["tcp 00000000:"]


def tried(call, request) -> str:
    try:
        next(call(request, timeout=10))
        return "reached"
    except grpc.RpcError as error:
        return error.code().name


def attack(user: int, file: pathlib.Path, addresses: list[str]) -> int:
    """As another user, asks each server for what it must not give."""
    # gRPC imports on its first call, perhaps from files that only root may read.
    with grpc.insecure_channel("unix:/nowhere") as channel:
        tried(beam_fn_api_pb2_grpc.BeamFnStateStub(channel).State, iter([]))
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    key = beam_fn_api_pb2.StateKey(bag_user_state={"transform_id": "x", "user_state_id": "y"})
    append = beam_fn_api_pb2.StateRequest(id="1", instruction_id="2", state_key=key, append={"data": b"a pickle"})
    path = beam_runner_api_pb2.ArtifactFilePayload(path=str(file)).SerializeToString()
    get = beam_artifact_api_pb2.GetArtifactRequest(
        artifact={"type_urn": "beam:artifact:type:file:v1", "type_payload": path}
    )
    for address in addresses:
        channel = grpc.insecure_channel("unix:" + address)
        print("append", tried(beam_fn_api_pb2_grpc.BeamFnStateStub(channel).State, iter([append])))
        print("file", tried(beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel).GetArtifact, get))
    return 0


def test_no_other_user_reaches_the_workers_state_or_a_file_of_the_job(corpus, tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    secret = tmp_path / "secret"
    secret.write_text("mine")
    with_processes = (*TINY, *PROCESSES, "--direct_num_workers=2", "--epochs=60000", "--no_report")
    process = start("jobs.train", f"--input={corpus}", f"--output={tmp_path / 'run'}", *with_processes)
    try:
        wait_for(lambda: (tmp_path / "run" / "tokens").exists() or process.poll() is not None)
        paths = sorted(each.partition(" ")[2] for each in listened_on(process.pid))
        assert len(paths) == 4
        folder = pathlib.Path(paths[0]).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

        def attacked(user: int) -> list[str]:
            outcome = finish(WarmProcess(attack, user, secret, paths))
            assert outcome.status == 0, outcome.stderr
            return outcome.stdout.split("\n")[:-1]

        assert attacked(NOBODY) == ["append UNAVAILABLE", "file UNAVAILABLE"] * 4
        ours = attacked(os.getuid())
        assert ours.count("append reached") == 1, "or the attack shows nothing"
        assert ours.count("file UNIMPLEMENTED") == 4
    finally:
        process.send_signal(signal.SIGINT)
        outcome = finish(process)
    assert outcome.status == 130, outcome.stderr
    wait_for(lambda: not folder.exists())


def wait_for(condition, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("killed", ["a worker", "the command"])
def test_what_is_killed_takes_the_rest_along(corpus, tmp_path, killed):
    with_processes = (*TINY, *PROCESSES, "--direct_num_workers=2", "--epochs=60000", "--no_report")
    process = start("jobs.train", f"--input={corpus}", f"--output={tmp_path / 'run'}", *with_processes)
    wait_for(lambda: (tmp_path / "run" / "tokens").exists() or process.poll() is not None)
    workers = descendants(process.pid)
    folder = pathlib.Path(sorted(listened_on(process.pid))[0].partition(" ")[2]).parent
    assert len(workers) == 2
    os.kill(workers[1] if killed == "a worker" else process.pid, signal.SIGKILL)
    outcome = finish(process, timeout=30)
    if killed == "a worker":
        assert outcome.status == 1
        assert outcome.error == WORKER_LOST
        assert not (tmp_path / "run" / "lock.json").exists()
    wait_for(lambda: not any(pathlib.Path(f"/proc/{worker}").exists() for worker in workers), 10)
    assert not folder.exists()


MEETING = threading.Barrier(2)


def meet(_) -> int:
    return MEETING.wait(30)


def test_two_workers_of_the_default_runner_are_at_work_at_once():
    """Beam only warns that they are not."""
    MEETING.reset()
    graph = new_graph(pipeline_options([], threads=2))
    _ = graph | beam.Create([0, 1]) | beam.Reshuffle() | beam.Map(meet)
    graph.run().wait_until_finish()


@pytest.mark.parametrize(
    "name",
    [
        *("DirectRunner", "directrunner", "BundleBasedDirectRunner", "TestDirectRunner", "FnApiRunner"),
        *("Direct", "direct", "SwitchingDirect", "FnApi", "apache_beam.runners.direct.direct_runner.DirectRunner"),
    ],
)
def test_every_name_of_the_direct_runner_means_the_one_that_opens_nothing(name):
    options = pipeline_options([f"--runner={name}", "--direct_running_mode=multi_threading"], threads=2)
    assert options.view_as(StandardOptions).runner == "FnApiRunner"
    assert options.get_all_options()["direct_running_mode"] == "in_memory"
    assert options.get_all_options()["direct_num_workers"] == 2
    processes = pipeline_options([f"--runner={name}", *PROCESSES], threads=2)
    assert isinstance(runners.runner_of(processes), private_workers.PrivateProcessRunner)


@pytest.mark.parametrize(("name", "what"), [("Prism", "Prism"), ("flink", "Flink"), ("SPARK", "Spark's job server")])
@pytest.mark.parametrize("ending", ["", "Runner"])
def test_what_listens_is_told_however_the_runner_is_named(name, what, ending):
    """Beam takes names without their ending."""
    assert runners._opens_ports(PipelineOptions([f"--runner={name}{ending}"])) == what


def new_server() -> None:
    private_workers._PrivateServer(None, type("Manager", (), {"_environments": {}})())


def test_a_server_that_would_listen_elsewhere_ends_the_job(monkeypatch):
    """As a newer Beam might, with another way to make its servers."""
    monkeypatch.setattr(private_workers._BoundServer, "add_insecure_port", lambda *_: 4711)
    with pytest.raises(PipelineError, match=r"listen at .*4711"):
        new_server()


def test_a_server_that_listens_on_a_port_too_ends_the_job(monkeypatch):
    kept = []

    def bound(server, asked):
        kept.append(socket.create_server(("127.0.0.1", 0)))
        return add(server, asked)

    add = private_workers._BoundServer.add_insecure_port
    monkeypatch.setattr(private_workers._BoundServer, "add_insecure_port", bound)
    with pytest.raises(PipelineError, match="listen on network ports"):
        new_server()
    for each in kept:
        each.close()


def test_sockets_lie_where_nobody_can_put_a_folder_in_place_of_theirs(tmp_path, monkeypatch):
    open_to_all = tmp_path / "tmp"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(open_to_all))
    with pytest.raises(PipelineError, match=r"everybody may write to .* set TMPDIR to a folder of your own"):
        new_server()
    assert not list(open_to_all.iterdir())


def test_a_job_server_in_this_process_is_refused():
    with pytest.raises(InputError, match="--job_endpoint=embed would open ports"):
        runners.check_runner(PipelineOptions(["--runner=PortableRunner", "--job_endpoint=embed"]))


def test_a_worker_that_cannot_start_ends_the_job(corpus, tmp_path, monkeypatch):
    """Beam would wait for it."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *TINY, *PROCESSES)
    assert (outcome.status, outcome.error) == (1, WORKER_LOST)
