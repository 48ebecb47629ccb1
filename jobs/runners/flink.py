"""Asks a Flink cluster, by the REST interface of its JobManager, whether it is there and how a job is; cancels jobs."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from jobs.runners.worker_failures import lasting_worker_trouble
from pipeline.errors import InputError, PipelineError
from pipeline.runtime.messages import warn
from pipeline.storage import failures
from pipeline.storage.lock import Lock

SECONDS_TO_ANSWER = 5.0
"""Time limit of a question whether something is there."""
_EMBEDDED = ("[local]", "[auto]", "[collection]")
_SECONDS_BETWEEN_LOOKS = 3.0


def is_embedded(master: str) -> bool:
    """Whether a --flink_master stands for Flink in the job server's process."""
    return master.strip() in _EMBEDDED


def check(master: str, parallelism: int) -> None:
    """InputError if no cluster answers; a warning if it has too few free slots."""
    try:
        overview = _ask(master, "overview")
        free, slots = int(overview["slots-available"]), int(overview["slots-total"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--flink_master={master.strip()}: no Flink cluster answers there ({reason(error)}); give the address of"
            " the JobManager's REST interface, such as HOST:8081"
        ) from error
    wanted = max(1, parallelism)
    if free < wanted:
        warn(
            f"the cluster has {free} of {slots} slots free, --parallelism={wanted} needs {wanted}: the job waits until"
            " there are as many; start TaskManagers, cancel other jobs, or lower --parallelism"
        )


def cancel(master: str, name: str) -> None:
    """Cancels a job on the cluster. Beam's job server forgets a cancelled job, but leaves it running there."""
    jobs = _running(master, name)
    if len(jobs) > 1:
        warn(f"several jobs on {master} are called {name}: cancel this one there by hand")
    elif jobs:
        _ask(master, f"jobs/{jobs[0]}?mode=cancel", "PATCH")


@contextlib.contextmanager
def cancelled_on_permanent_error(master: str, name: str, lock: Lock) -> Iterator[list[PipelineError]]:
    """While open, cancels the job if it fails for a reason that only the user can change.

    Flink would restart it, for minutes. Yields a list; after such a failure it holds the error.
    """
    found: list[PipelineError] = []
    done = threading.Event()

    def look() -> None:
        while not found and not done.wait(_SECONDS_BETWEEN_LOOKS):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                jobs = _running(master, name)
                if len(jobs) != 1:
                    continue
                error = failures.read(lock.storage, lock.token)
                if not isinstance(error, InputError):
                    error = _lasting_trouble(_ask(master, f"jobs/{jobs[0]}/exceptions"))
                if error:
                    found.append(error)
                    cancel(master, name)

    thread = threading.Thread(target=look, name="look-at-flink", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _lasting_trouble(exceptions: dict[str, Any]) -> PipelineError | None:
    """What keeps workers from starting, among the exceptions of a job."""
    history = exceptions.get("exceptionHistory", {}).get("entries", [])
    texts = (str(exceptions.get("root-exception")), *(str(entry.get("stacktrace")) for entry in history))
    return next(filter(None, map(lasting_worker_trouble, texts)), None)


def _running(master: str, name: str) -> list[str]:
    """The ids of the jobs of a name that have not ended."""
    jobs = _ask(master, "jobs/overview")["jobs"]
    return [job["jid"] for job in jobs if job["name"] == name and job["end-time"] < 0]


def _ask(master: str, path: str, method: str = "GET") -> dict[str, Any]:
    """What the REST interface answers; OSError or ValueError where it does not."""
    address = master if re.match(r"https?://", master) else f"http://{master}"
    request = urllib.request.Request(f"{address.strip().rstrip('/')}/{path}", method=method)
    with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as answer:
        return json.load(answer)


def reason(error: BaseException) -> str:
    """Why something does not answer, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {SECONDS_TO_ANSWER:.0f} s"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return "the answer is not Flink's" if isinstance(cause, (ValueError, KeyError, TypeError)) else str(cause)
