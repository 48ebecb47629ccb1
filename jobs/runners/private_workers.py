"""Worker processes on this machine that only this user can reach.

    python -m jobs.runners.private_workers      what such a process runs; started by PrivateProcessRunner alone

Beam's own runner of processes opens gRPC servers on all network interfaces, and they ask nobody who they are: whoever
reaches one can hand a worker a pickle, which runs as the job's user. Here the same servers listen on Unix sockets
in a folder that only this user may enter, and no worker opens a server of its own.
"""

from __future__ import annotations

if __name__ == "__main__":  # a worker process; a program that uses the package is not changed
    import jobs.runners.environment  # noqa: F401  before Beam is loaded

# isort: split
import contextlib
import itertools
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2, endpoints_pb2
from apache_beam.runners.portability import abstract_job_service
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers
from apache_beam.runners.worker import sdk_worker, sdk_worker_main, worker_pool_main
from apache_beam.transforms.environments import Environment

from jobs.runners import log_filter
from jobs.runners.worker_failures import WORKER_LOST
from pipeline.errors import PipelineError
from pipeline.runtime import json_lines
from pipeline.runtime.private_folders import NotPrivateError, private_folder
from pipeline.runtime.shown_text import Screen

_URN = "beam2vec:env:private_process:v1"
_LONGEST_PATH = 107
"""Bytes in the path of a Unix socket."""
_SECONDS_TO_NOTICE = 0.5
"""Seconds between two looks for requests to a worker that has ended."""
_SECONDS_TO_END = 5.0
"""Seconds that a worker has to end by itself, once it gets no more work."""
_grpc = worker_handlers.grpc
"""A dependency of Beam's."""
_guard = threading.RLock()
"""Held while names in a module of Beam's are replaced."""


class PrivateProcessRunner(FnApiRunner):
    """FnApiRunner with --direct_num_workers processes behind Unix sockets.

    Raises:
      PipelineError: a worker was lost, or a server would listen elsewhere.
    """

    def __init__(self) -> None:
        super().__init__(default_environment=_PrivateProcess())

    def run_pipeline(self, pipeline: Any, options: PipelineOptions) -> Any:
        options.view_as(
            DirectOptions
        ).direct_running_mode = "in_memory"  # in any other mode Beam would not take our kind of worker
        return super().run_pipeline(pipeline, options)


@Environment.register_urn(_URN, None)
class _PrivateProcess(Environment):
    """Marks our pipelines, so that other pipelines in this process keep Beam's servers and workers."""

    def to_runner_api_parameter(self, context: object) -> tuple[str, None]:
        return _URN, None

    @staticmethod
    def from_runner_api_parameter(
        payload: None, capabilities: Any, artifacts: Any, resource_hints: Any, context: object
    ) -> _PrivateProcess:
        return _PrivateProcess(capabilities, artifacts, resource_hints)


class _PrivateServer(worker_handlers.GrpcServer):
    """Beam's servers for control, data, state and logging, on Unix sockets.

    The services for provision and artifacts are left out: they would hand out any file that the user may read.
    """

    def __init__(self, state: Any, manager: Any):
        self.folder = _private_folder()
        open_before = listening_ports()
        paths = (f"unix:{self.folder}/{number}" for number in itertools.count())
        try:
            # With a time limit, a thread of Beam's empties each buffer once a second, even while the stage is writing
            # an element: that element is lost or cut in two (Beam 2.77). So there is no limit.
            ours = _grpc_bound_to(lambda _: next(paths))
            with _with_names(worker_handlers, grpc=ours, DATA_BUFFER_TIME_LIMIT_MS=0):
                super().__init__(state, None, manager)
            addresses = (self.control_port, self.data_port, self.state_port, self.logging_port)
            self.control_address = self.control_port
            if not all(str(address).startswith(f"unix:{self.folder}/") for address in addresses):
                raise PipelineError(f"Beam's servers listen at {addresses}, not in {self.folder}")
            if opened := listening_ports() - open_before:
                raise PipelineError(f"Beam's servers listen on network ports ({', '.join(sorted(opened))})")
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _server(state: Any, provision_info: Any, manager: Any) -> worker_handlers.GrpcServer:
    """Replaces the class of Beam's server: makes ours for our pipelines, and Beam's for all others."""
    if any(environment.urn == _URN for environment in manager._environments.values()):
        return _PrivateServer(state, manager)
    return _BeamServer(state, provision_info, manager)


_BeamServer = worker_handlers.GrpcServer
worker_handlers.GrpcServer = _server
vars(sdk_worker)["print"] = log_filter.print_news


@worker_handlers.WorkerHandler.register_environment(_URN, None)
class _Worker(worker_handlers.GrpcWorkerHandler):
    """One process, from the runner's side."""

    def __init__(self, payload: None, state: Any, provision_info: Any, server: _PrivateServer):
        super().__init__(state, provision_info, server)
        self._folder = server.folder
        self._ending = threading.Event()

    def port_from_worker(self, port: str) -> str:
        return port  # a path already

    def start_worker(self) -> None:
        descriptor = endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
        environment = {
            "CONTROL_API_SERVICE_DESCRIPTOR": str(descriptor),
            "WORKER_ID": self.worker_id,
            "PYTHONPATH": os.pathsep.join(sys.path),  # a tokeniser may lie anywhere that this process looks
        }
        # -P: "python -m" would look for modules in the working directory first.
        command = [sys.executable, "-P", "-m", "jobs.runners.private_workers", self._folder]
        self._process = subprocess.Popen(command, env={**os.environ, **environment}, stdin=subprocess.PIPE)
        threading.Thread(target=self._watch, name="watch-worker", daemon=True).start()

    def _watch(self) -> None:
        """Ends the job when the process ends first: Beam would wait for it for ever."""
        self._process.wait()
        lost = PipelineError(WORKER_LOST)
        if not self._ending.is_set():
            self.control_conn.push = _raising(lost)
        while not self._ending.is_set():  # repeated, since a request may still be on its way
            for future in list(self.control_conn._futures_by_id.values()):
                future.abort(lost)
                if not future.is_done():  # who waits for data of the worker only looks for an answer
                    future.set(beam_fn_api_pb2.InstructionResponse(error=WORKER_LOST))
            self._ending.wait(_SECONDS_TO_NOTICE)

    def close(self) -> None:
        self._ending.set()
        super().close()

    def stop_worker(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _raising(error: PipelineError) -> Callable[[Any], None]:
    def push(request: Any) -> None:
        if isinstance(request, beam_fn_api_pb2.InstructionRequest):  # not the mark that ends the connection
            raise error

    return push


class _BoundServer:
    """A grpc.Server of which each port is bound as `address` says."""

    def __init__(self, server: Any, address: Callable[[str], str]):
        self._server, self._address = server, address

    def add_insecure_port(self, asked: str) -> int | str:
        """Returns the port; of a Unix socket, which has none, the address."""
        address = self._address(asked)
        port = self._server.add_insecure_port(address)
        return address if address.startswith("unix:") else port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


def _grpc_bound_to(address: Callable[[str], str]) -> types.SimpleNamespace:
    """Replaces the module `grpc` where a server is made: the server listens at address(what was asked for).

    Beam asks for "[::]:0": any port, on all network interfaces.
    """
    return types.SimpleNamespace(
        server=lambda *arguments, **options: _BoundServer(_grpc.server(*arguments, **options), address)
    )


@contextlib.contextmanager
def _with_names(module: types.ModuleType, **names: object) -> Iterator[None]:
    """While open, replaces names in a module of Beam's."""
    with _guard:
        before = {name: getattr(module, name) for name in names}
        vars(module).update(names)
        try:
            yield
        finally:
            vars(module).update(before)


@contextlib.contextmanager
def servers_on_loopback() -> Iterator[None]:
    """While open, servers that Beam starts in this process can only be reached from this machine.

    These are the pool of workers, which connect to any address that they are told and run what it sends, and the
    service that takes a job's artifacts.
    """
    ours = _grpc_bound_to(lambda asked: f"127.0.0.1:{asked.rpartition(':')[2]}")
    with _with_names(worker_pool_main, grpc=ours), _with_names(abstract_job_service, grpc=ours):
        yield


def _private_folder() -> str:
    """A new folder that only this user may enter, with a path short enough for sockets in it.

    Raises:
      PipelineError: another user could put a folder of his own in its place.
    """
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > _LONGEST_PATH - len("/beam2vec-xxxxxxxx/9"):
        base = "/tmp"
    made = tempfile.mkdtemp(prefix="beam2vec-", dir=base)
    try:
        private_folder(made)
    except NotPrivateError as error:
        os.rmdir(made)
        remedy = "set TMPDIR to a folder of your own"
        raise PipelineError(f"no place for the workers' sockets ({error}): {remedy}") from error
    return made


def listening_ports() -> set[str]:
    """Addresses on which this process listens, as hexadecimal "address:port" of /proc/net."""
    inodes = set()
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(entry.path))
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == "0A" and f"socket:[{rest[5]}]" in inodes:
                    found.add(local)
    return found


def main(folder: str) -> None:
    """The program of a worker process: works until its runner is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command too, which ends its workers
    watcher = threading.Thread(target=_end_with_the_runner, args=[folder], daemon=True)
    watcher.start()
    sys.stdout, sys.stderr = Screen(sys.stdout), Screen(sys.stderr)
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.startswith("pipeline"))
    handler.addFilter(log_filter.is_news)
    logging.basicConfig(format="%(message)s", handlers=[handler], force=True)
    if json_lines.is_asked_for():
        json_lines.log_as_json(handler)
    try:
        with log_filter.left_out(for_good=True):
            sdk_worker_main.main(sys.argv)
    finally:  # where the connection is lost since the runner is gone, the watcher has a folder to remove
        watcher.join(_SECONDS_TO_NOTICE)


def _end_with_the_runner(folder: str) -> NoReturn:
    """Leaves at once when the runner's process has ended, or closes our stdin: then nothing more can be committed."""
    while os.read(0, 1024):
        pass
    shutil.rmtree(folder, ignore_errors=True)  # a runner that was killed has not removed it
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
