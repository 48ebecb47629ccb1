"""Recognises, in what runners say, that a worker or a job server could not start, or was lost."""

from __future__ import annotations

import re

from pipeline.errors import InputError, PipelineError

_REMEDY = "install beam2vec where workers run, or send it along by --setup_file=./setup.py"
_TROUBLE = (
    (
        r"ModuleNotFoundError: No module named '([\w.]+)'",
        "a worker has no module {0!r}: " + _REMEDY,
    ),
    (
        r"IOException: (?:Cannot run program .*?)?error=(\d+), ([\w ]+)",
        "no Python worker could be started: {1} (error {0}); --environment_option=process_command= has to name a"
        " program that is on the machines of the cluster",
    ),
    (
        r"Process died with exit code (\d+)",
        "a Python worker ended with exit status {0} while it started: what it said is in the log of the machine that"
        " started it (of Flink's TaskManager)",
    ),
    (
        r"ConnectException: .*?(Connection refused|timed out|No route to host)",
        "no Python worker pool answers ({0}) where the cluster looks for it: check --environment_config, and that one"
        " runs beside each worker of the cluster",
    ),
    (
        r"Unable to fetch remote job server jar at \S*beam-runners-(flink|spark)",
        "the job server of {0} cannot be downloaded: download it elsewhere, and name it by --{0}_job_server_jar",
    ),
    (
        r"UnknownHostException: ([\w.-]+)",
        "the cluster does not know the host {0}, where the Python workers should be: check --environment_config",
    ),
)
"""(pattern of a runner's message when a worker cannot start, what the user is told)"""
_LASTING = (_TROUBLE[0][0], r"IOException: (?:Cannot run program .*?)?error=(?:2|13),")
"""The patterns of failures that a restart does not mend."""
WORKER_LOST = "a Python worker was lost, perhaps killed for want of memory: start the run again"
_ENDED = {
    "SDK worker disconnected": WORKER_LOST,
    "Channel closed prematurely": WORKER_LOST,
    "JobCancellationException: Job was cancelled": "the job was cancelled on the cluster: start the run again to go on",
}
"""What Prism, FnApiRunner and Flink say when they give up a worker or a job -> what the user is told."""


def worker_trouble(text: str) -> PipelineError | None:
    """Why workers or the job server did not start, or ended, if a runner's message says so."""
    for pattern, told in _TROUBLE:
        if found := re.search(pattern, text):
            return InputError(told.format(*found.groups()))
    return next((PipelineError(told) for sign, told in _ENDED.items() if sign in text), None)


def lasting_worker_trouble(text: str) -> PipelineError | None:
    """Why workers will never start, however often they are started again, if a message says so."""
    return worker_trouble(text) if any(re.search(pattern, text) for pattern in _LASTING) else None
