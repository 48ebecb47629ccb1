"""What the log of a runner's workers leaves out, and what it shows."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable, Sequence

from jobs.cli.entry import run_command
from jobs.runners import log_filter, private_workers
from pipeline.errors import InputError


def test_tracebacks_of_our_errors_are_left_out_and_others_shown():
    shown = io.StringIO()
    say = vars(private_workers.sdk_worker)["print"]  # by which Beam prints what a worker raised
    say("Traceback (most recent call last):\n...\npipeline.errors.InputError: no words", file=shown)
    say("Traceback (most recent call last):\n...\ngrpc._channel._InactiveRpcError: the job is gone", file=shown)
    say("Traceback (most recent call last):\n...\nKeyError: 3", file=shown)
    say("as it was", file=shown)
    assert shown.getvalue() == "Traceback (most recent call last):\n...\nKeyError: 3\nas it was\n"


class _MultiThreadedRendezvous(Exception):  # noqa: N818
    """As gRPC calls it."""


def in_a_thread(act: Callable[[], object]) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


def test_a_worker_whose_runner_is_gone_says_nothing_beside_the_error_that_ended_the_job(capsys, monkeypatch):
    """Prism forgets the workers of a job that failed, while they still ask what to do."""
    gone = "Traceback (most recent call last):\n...\ngrpc._channel._InactiveRpcError: 'job-7' is not registered"
    worker = logging.getLogger("apache_beam.worker")
    say = vars(private_workers.sdk_worker)["print"]
    failed: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda thread: failed.append(thread.exc_value))

    def lost(error: Exception) -> None:
        try:
            raise error
        except Exception:
            worker.exception("Failed to read inputs in the data plane.")
            raise

    def main(arguments: Sequence[str]) -> int:
        say(gone, file=sys.stderr)
        worker.error("Error processing instruction 11.\n%s", gone)
        worker.error("Error processing instruction 12: out of memory")
        in_a_thread(lambda: lost(_MultiThreadedRendezvous("the job is gone")))
        in_a_thread(lambda: {}["zeroth"])
        in_a_thread(lambda: worker.error("13.\nTraceback (most recent call last):\nKeyError: 'first'"))
        log_filter.job_is_over()
        in_a_thread(lambda: lost(KeyError("second")))
        in_a_thread(lambda: say("Traceback (most recent call last):\nKeyError: 'third'", file=sys.stderr))
        raise InputError("50 of 100 lines cannot be read")

    assert run_command("jobs.train", main, []) == 2
    assert [str(error) for error in failed] == ["'zeroth'"]
    assert capsys.readouterr().err.splitlines() == [
        "Error processing instruction 12: out of memory",
        "13.",
        "Traceback (most recent call last):",
        "KeyError: 'first'",
        "jobs.train: 50 of 100 lines cannot be read",
    ]
