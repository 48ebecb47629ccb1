"""The runner that a graph goes to: looked at before, waited for or left, and its failures told in one line."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from jobs import worker_messages
from jobs.running import unwinding_on_signals
from jobs.trouble import worker_trouble
from pipeline import progress
from pipeline.errors import InputError, PipelineError, find
from pipeline.lock import Lock

SECONDS_TO_ANSWER = 5.0
"""For a cluster that is asked whether it is there."""
_HEARS_AFTER = 0.2
"""Seconds within which a signal is heard."""
_IN_THIS_PROCESS = ("fnapirunner", "directrunner", "bundlebaseddirectrunner")
_EMBEDDED_FLINK = ("[local]", "[auto]", "[collection]")


def check_runner(options: PipelineOptions) -> None:
    """InputError, within seconds, where what the job is to run on is not there.

    The runners themselves would try for minutes, or wait for ever.
    """
    name = _name(options)
    endpoint = options.view_as(PortableOptions).job_endpoint
    if endpoint and endpoint != "embed":
        _check_address("job_endpoint", endpoint, "job server")
    elif name == "flinkrunner":
        flink = options.view_as(FlinkRunnerOptions)
        _check_file("flink_job_server_jar", flink.flink_job_server_jar)
        if not flink.flink_submit_uber_jar:
            _check_java(options.view_as(JobServerOptions).job_server_java_launcher)
        if flink.flink_master.strip() not in _EMBEDDED_FLINK:
            _check_flink(flink)
    elif name == "prismrunner":
        _check_file("prism_location", options.view_as(PrismRunnerOptions).prism_location)
        _check_workers_of_prism(options.view_as(PortableOptions))


def run(graph: beam.Pipeline, lock: Lock) -> bool:
    """Runs a graph; True once it has ended well, False where it goes on, or only begins, without this process.

    In the latter case the lock is handed over to the workers. A signal that stops this
    process cancels a job on a cluster.

    Raises:
      PipelineError: what a worker raised, or why there is none.
    """
    try:
        if _name(graph.options) in _IN_THIS_PROCESS:
            with _buffers_left_to_their_writers():
                _run_beside(graph)
            return True
        return _run_elsewhere(graph, lock)
    except Exception as error:
        told = worker_trouble(str(error)) or worker_messages.last_left_out() or _server_trouble(error)
        if find(error) is None and told:
            raise told from error
        raise


def _run_beside(graph: beam.Pipeline) -> None:
    """Runs a graph in a thread of its own, so that this one hears signals.

    Python's handlers run in the main thread alone. Where the system hands a signal to another thread,
    a main thread that waits without end, as FnApiRunner's does, sleeps on.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="run-graph") as pool:
        running = pool.submit(lambda: graph.run().wait_until_finish())
        while not futures.wait([running], timeout=_HEARS_AFTER).done:
            pass
        running.result()


@contextlib.contextmanager
def _buffers_left_to_their_writers() -> Iterator[None]:
    """While open, FnApiRunner sends elements on when a buffer is full or a bundle ends, as all other runners do.

    By itself it also empties every buffer once a second, from a thread that does not wait until the stage
    has written its element: elements that are written meanwhile are lost or cut in two (Beam 2.77, seen
    in one of five jobs on a busy machine).
    """
    before = worker_handlers.DATA_BUFFER_TIME_LIMIT_MS
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    try:
        yield
    finally:
        worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = before


def _run_elsewhere(graph: beam.Pipeline, lock: Lock) -> bool:
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)  # tells of each start and end
    cloud = graph.options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or f"beam2vec-{lock.token[:12]}"  # by which it is found again
    runner = _name(graph.options)  # running it forgets
    with unwinding_on_signals() as ours_again:
        result = graph.run()
        ours_again()  # a runner that starts a server takes SIGINT for itself
        if cloud.template_location:
            lock.hand_over()
            return False
        try:
            result.wait_until_finish()
        except (KeyboardInterrupt, SystemExit):
            progress.say("the job is cancelled; run the same command again to go on")
            with contextlib.suppress(Exception):  # it may have ended, or its server may be gone
                result.cancel()
            if runner == "flinkrunner":
                with contextlib.suppress(OSError, ValueError):
                    _cancel_on_flink(graph.options.view_as(FlinkRunnerOptions).flink_master, cloud.job_name)
            raise
        finally:
            worker_messages.job_is_over()
        return True


def _cancel_on_flink(master: str, name: str) -> None:
    """Beam's job server lets go of a job that is cancelled, but leaves it running on Flink's cluster."""
    if master.strip() in _EMBEDDED_FLINK:
        return
    jobs = [job for job in _ask_flink(master, "jobs/overview")["jobs"] if job["name"] == name and job["end-time"] < 0]
    if len(jobs) > 1:
        progress.say(f"several jobs on {master} are called {name}: cancel this one there by hand")
    elif jobs:
        _ask_flink(master, f"jobs/{jobs[0]['jid']}?mode=cancel", "PATCH")


def _ask_flink(master: str, path: str, method: str = "GET") -> dict[str, Any]:
    """What the REST interface of a JobManager answers; OSError or ValueError where it does not."""
    address = master if re.match(r"https?://", master) else f"http://{master}"
    request = urllib.request.Request(f"{address.rstrip('/')}/{path}", method=method)
    with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as answer:
        return json.load(answer)


def _name(options: PipelineOptions) -> str:
    """The runner's name without its module, in small letters, as Beam compares them."""
    return str(options.view_as(StandardOptions).runner or "").rpartition(".")[2].lower()


def _check_address(option: str, address: str, who: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER):
            pass
    except ValueError:
        raise InputError(f"--{option}={address}: write HOST:PORT") from None
    except OSError as error:
        raise InputError(f"--{option}={address}: no {who} answers there ({_reason(error)})") from error


def _check_workers_of_prism(options: PortableOptions) -> None:
    """Prism, which runs on this machine, waits for ever for workers that do not come, or breaks off."""
    if options.environment_type == "PROCESS":
        raise InputError(
            "--environment_type=PROCESS does not work on Prism, which turns such workers away: leave it out, or start a"
            " worker pool and use EXTERNAL"
        )
    config = options.environment_config or ""
    if options.environment_type == "EXTERNAL" and config and not config.startswith("{"):  # which holds JSON
        _check_address("environment_config", config, "Python worker pool")


def _check_flink(flink: Any) -> None:
    master = flink.flink_master.strip()
    try:
        overview = _ask_flink(master, "overview")
        free, slots = int(overview["slots-available"]), int(overview["slots-total"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--flink_master={master}: no Flink cluster answers there ({_reason(error)}); give the address of the"
            " JobManager's REST interface, such as HOST:8081"
        ) from error
    wanted = max(1, flink.parallelism)
    if free < wanted:
        progress.say(
            f"the cluster has {free} of {slots} slots free, --parallelism={wanted} needs {wanted}: the job waits until"
            " there are as many; start TaskManagers, cancel other jobs, or lower --parallelism"
        )


def _server_trouble(error: Exception) -> PipelineError | None:
    if not isinstance(error, grpc.RpcError):
        return None
    return PipelineError(f"the runner's server was lost ({_reason(error)}): run the same command again")


def _check_file(option: str, place: str | None) -> None:
    if place and "://" not in place and not os.path.exists(place):
        raise InputError(f"--{option}={place} does not exist")


def _check_java(launcher: str) -> None:
    if shutil.which(launcher) is None:
        raise InputError(
            f"--job_server_java_launcher={launcher} is not there: Flink's job server needs Java 11 or 17 here"
        )


def _reason(error: BaseException) -> str:
    """Why something does not answer, in a few words."""
    if isinstance(error, grpc.Call):
        return error.details() or str(error.code())
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {SECONDS_TO_ANSWER:.0f} s"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return "the answer is not Flink's" if isinstance(cause, (ValueError, KeyError, TypeError)) else str(cause)
