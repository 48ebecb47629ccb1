"""Runs a graph: checks the runner first, waits for the job or leaves it, and tells a failure in one line."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    SparkRunnerOptions,
    StandardOptions,
)
from apache_beam.runners.runner import PipelineRunner

from jobs.runners import flink, log_filter
from jobs.runners.private_workers import PrivateProcessRunner, servers_on_loopback
from jobs.runners.signals import unwinding_on_signals
from jobs.runners.worker_failures import worker_trouble
from pipeline.errors import InputError, PipelineError, find_in_text
from pipeline.kernels.compile import can_cache_kernels, has_cached_kernels
from pipeline.runtime import interruption
from pipeline.runtime.messages import say, warn
from pipeline.storage import failures
from pipeline.storage.lock import Lock

LOCAL_RUNNER = "FnApiRunner"
"""Runs in threads of this process; taken where no runner is named."""

_HEARS_AFTER = 0.2
"""Seconds between two looks for signals."""
IN_THIS_PROCESS = (
    "",
    "fnapirunner",
    "directrunner",
    "bundlebaseddirectrunner",
    "switchingdirectrunner",
    "testdirectrunner",
)
"""Names of runners, in small letters, for which FnApiRunner is taken; "" where none is named."""


def check_runner(options: PipelineOptions) -> None:
    """InputError if the runner, or its cluster, cannot be reached.

    It takes seconds. The runners themselves would try for minutes, or wait for ever.
    """
    name = runner_name(options)
    endpoint = options.view_as(PortableOptions).job_endpoint
    if endpoint == "embed":
        raise InputError(
            "--job_endpoint=embed would open ports that ask nobody who they are, for the work that the default runner"
            " does without: leave it out, and --runner too"
        )
    if endpoint:
        _check_address("job_endpoint", endpoint, "job server")
    elif name == "portablerunner":
        raise InputError("--runner=PortableRunner needs --job_endpoint=HOST:PORT, where a job server listens")
    elif name == "flinkrunner":
        given = options.view_as(FlinkRunnerOptions)
        _check_file("flink_job_server_jar", given.flink_job_server_jar)
        if not given.flink_submit_uber_jar:
            _check_java(options.view_as(JobServerOptions).job_server_java_launcher)
        if not flink.is_embedded(given.flink_master):
            flink.check(given.flink_master, given.parallelism)
    elif name == "sparkrunner":
        spark = options.view_as(SparkRunnerOptions)
        _check_file("spark_job_server_jar", spark.spark_job_server_jar)
        if not spark.spark_submit_uber_jar:
            _check_java(options.view_as(JobServerOptions).job_server_java_launcher)
    elif name == "prismrunner":
        _check_file("prism_location", options.view_as(PrismRunnerOptions).prism_location)
        _check_workers_of_prism(options.view_as(PortableOptions))


def run(graph: beam.Pipeline, lock: Lock) -> bool:
    """Runs a graph. Returns True when the job has ended, False if it continues without this process.

    A job that continues has been handed the lock. A signal that stops this process cancels a job on a cluster.

    Raises:
      PipelineError: the error of a worker, or why no worker could be started.
    """
    try:
        if runner_name(graph.options) in IN_THIS_PROCESS:
            if not has_cached_kernels():
                this_once = ", this once" if can_cache_kernels() else ""
                say(f"the kernels are compiled on the way: some 20 seconds{this_once}")
            _run_beside(graph)
            return True
        return _run_elsewhere(graph, lock)
    except PipelineError:  # as it was raised
        raise
    except Exception as error:
        if cause := _cause(error, lock):
            raise cause from error
        raise


def _cause(error: Exception, lock: Lock) -> PipelineError | None:
    """Why the job failed: what a worker has written down, else what the runner's message says, else what was logged."""
    text = str(error)
    told = failures.read(lock.storage, lock.token) or find_in_text(text) or worker_trouble(text)
    return told or log_filter.cause_of(error) or _server_trouble(error)


def _run_beside(graph: beam.Pipeline) -> None:
    """Runs a graph in another thread, so that this one can handle signals.

    Python runs handlers in the main thread alone. If the system delivers a signal to another thread while the main
    thread waits without a time limit, as FnApiRunner does, the handler does not run.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="run-graph") as pool:
        running = pool.submit(lambda: graph.run().wait_until_finish())
        try:
            while not futures.wait([running], timeout=_HEARS_AFTER).done:
                pass
        except BaseException:  # KeyboardInterrupt, in a program that handles signals by itself
            interruption.cancel()
            raise
        running.result()


def _run_elsewhere(graph: beam.Pipeline, lock: Lock) -> bool:
    if opens := _opens_ports(graph.options):
        warn(
            f"{opens} listens on all network interfaces while the job runs, and whoever reaches it can run code as"
            " you: SECURITY.md has how to keep others out"
        )
    log_filter.workers_are_elsewhere()
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)  # tells of each start and end
    cloud = graph.options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or f"beam2vec-{lock.token[:12]}"  # by which it is found again
    master = graph.options.view_as(FlinkRunnerOptions).flink_master
    on_flink = runner_name(graph.options) == "flinkrunner" and not flink.is_embedded(
        master
    )  # asked before the job runs, which changes the options
    with unwinding_on_signals() as ours_again:
        with servers_on_loopback():
            result = graph.run()
        ours_again()  # a runner that starts a server takes SIGINT for itself
        if cloud.template_location:
            lock.hand_over()
            return False
        found: list[PipelineError] = []
        watched: contextlib.AbstractContextManager = contextlib.nullcontext(found)
        if on_flink:
            watched = flink.cancelled_on_permanent_error(master, cloud.job_name, lock)
        try:
            with watched as found:
                result.wait_until_finish()
        except (KeyboardInterrupt, SystemExit):
            say("the job is cancelled; start the run again to go on")
            with contextlib.suppress(Exception):  # it may have ended, or its server may be gone
                result.cancel()
            if on_flink:
                with contextlib.suppress(OSError, ValueError):
                    flink.cancel(master, cloud.job_name)
            raise
        except Exception as error:
            if found:
                raise found[0] from error
            raise
        finally:
            log_filter.job_is_over()
        return True


def runner_of(options: PipelineOptions) -> PipelineRunner | None:
    """The runner for multi_processing, whose workers only this user can reach; None for all others: Beam finds them."""
    processes = options.view_as(DirectOptions).direct_running_mode == "multi_processing"
    return PrivateProcessRunner() if processes and runner_name(options) == LOCAL_RUNNER.lower() else None


def runner_name(options: PipelineOptions) -> str:
    """`whole_name` of the runner that the options name."""
    return whole_name(options.view_as(StandardOptions).runner)


def whole_name(given: str | None) -> str:
    """A runner's name without its module, in small letters, ending in "runner": Beam takes `Direct`, too."""
    name = str(given or "").rpartition(".")[2].lower()
    return name if not name or name.endswith("runner") else f"{name}runner"


def _opens_ports(options: PipelineOptions) -> str:
    """What the runner starts on this machine that listens on all network interfaces; "" if it starts nothing such."""
    if options.view_as(PortableOptions).job_endpoint:
        return ""
    flink_options = options.view_as(FlinkRunnerOptions)
    if runner_name(options) == "flinkrunner" and flink.is_embedded(flink_options.flink_master):
        return "Flink"
    if runner_name(options) == "flinkrunner" and not flink_options.flink_submit_uber_jar:
        return "Flink's job server"
    return {"prismrunner": "Prism", "sparkrunner": "Spark's job server"}.get(runner_name(options), "")


def _check_address(option: str, address: str, who: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), flink.SECONDS_TO_ANSWER):
            pass
    except ValueError:
        raise InputError(f"--{option}={address}: write HOST:PORT") from None
    except OSError as error:
        raise InputError(f"--{option}={address}: no {who} answers there ({flink.reason(error)})") from error


def _check_workers_of_prism(options: PortableOptions) -> None:
    """InputError for workers that Prism refuses, or would wait for without end."""
    if options.environment_type == "PROCESS":
        raise InputError(
            "--environment_type=PROCESS does not work on Prism, which turns such workers away: leave it out, or start a"
            " worker pool and use EXTERNAL"
        )
    config = options.environment_config or ""
    if options.environment_type == "EXTERNAL" and config and not config.startswith("{"):  # which holds JSON
        _check_address("environment_config", config, "Python worker pool")


def _server_trouble(error: Exception) -> PipelineError | None:
    """The error for a lost connection to the runner; None for other errors.

    gRPC's class is recognised by its name: gRPC is a dependency of Beam, not of ours.
    """
    if all(cls.__name__ != "RpcError" for cls in type(error).__mro__):
        return None
    details = getattr(error, "details", None)
    told = details() if callable(details) else error
    return PipelineError(f"the runner's server was lost ({told}): start the run again")


def _check_file(option: str, place: str | None) -> None:
    if place and "://" not in place and not os.path.exists(place):
        raise InputError(f"--{option}={place} does not exist")


def _check_java(launcher: str) -> None:
    if shutil.which(launcher) is None:
        raise InputError(
            f"--job_server_java_launcher={launcher} is not there: the runner's job server needs Java 11 or 17 here"
        )
