"""What Flink's own interface is asked for, and told."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from jobs.runners import flink
from jobs.runners import launch as runners
from pipeline.errors import ArtifactError, InputError, PipelineError
from pipeline.storage import failures
from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import open_storage
from tests.helpers.refusals import FLINK, refusal


@contextlib.contextmanager
def answering(status: int, body: bytes, asked: list[str] | None = None) -> Iterator[str]:
    """An HTTP server with one answer; its host and port. What it was asked goes to `asked`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(f"{self.command} {self.path}")
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_PATCH = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_at_which_something_else_answers_is_told(monkeypatch):
    with answering(404, b"") as address:
        assert "no Flink cluster answers there (HTTP status 404)" in refusal(*FLINK, f"--flink_master={address}")
    with answering(200, b"<html>") as address:
        assert "(the answer is not Flink's)" in refusal(*FLINK, f"--flink_master=http://{address}/")
    monkeypatch.setattr(flink, "SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "no answer within" in refusal(*FLINK, f"--flink_master=127.0.0.1:{silent.getsockname()[1]}")


def test_too_few_free_slots_are_told_and_enough_are_not(caplog):
    overview = json.dumps({"slots-available": 1, "slots-total": 2}).encode()
    with answering(200, overview) as address:
        runners.check_runner(PipelineOptions([*FLINK, f"--flink_master={address}", "--parallelism=1"]))
        assert not caplog.messages
        runners.check_runner(PipelineOptions([*FLINK, f"--flink_master={address}", "--parallelism=2"]))
    assert "1 of 2 slots free, --parallelism=2 needs 2" in caplog.text


MISSING = "ExecutionException: SDK harness: Traceback:\nModuleNotFoundError: No module named 'pipeline'\n\tat java"
LOST = "java.lang.IllegalStateException: Process died with exit code 137"


@pytest.mark.parametrize(
    ("exceptions", "told"),
    [
        ({"root-exception": MISSING}, "a worker has no module 'pipeline'"),
        ({"exceptionHistory": {"entries": [{"stacktrace": LOST}, {"stacktrace": MISSING}]}}, "no module 'pipeline'"),
        ({"root-exception": LOST}, None),
        ({"root-exception": None, "exceptionHistory": {"entries": []}}, None),
    ],
)
def test_a_job_on_flink_whose_workers_cannot_start_is_cancelled(monkeypatch, tmp_path, exceptions, told):
    check_cancelled(monkeypatch, Lock(open_storage(str(tmp_path))), exceptions, told)


@pytest.mark.parametrize(
    ("error", "told"), [(InputError("no words"), "no words"), (ArtifactError("the store is away"), None)]
)
def test_a_job_on_flink_whose_input_is_bad_is_cancelled(monkeypatch, tmp_path, error, told):
    lock = Lock(open_storage(str(tmp_path)))
    with contextlib.suppress(PipelineError), failures.recorded(lock.storage, lock.token):
        raise error
    check_cancelled(monkeypatch, lock, {"root-exception": "the job has failed"}, told)


def check_cancelled(monkeypatch, lock, exceptions, told):
    """Looks at a job on Flink until it is cancelled, which `told` is said of, or has been looked at thrice."""
    monkeypatch.setattr(flink, "_SECONDS_BETWEEN_LOOKS", 0.01)
    jobs = {"jobs": [{"jid": "a", "name": "ours", "end-time": -1}]}
    asked: list[str] = []
    with (
        answering(200, json.dumps({**jobs, **exceptions}).encode(), asked) as address,
        flink.cancelled_on_permanent_error(address, "ours", lock) as found,
    ):
        wanted = "PATCH /jobs/a?mode=cancel" if told else "GET /jobs/a/exceptions"
        until = time.monotonic() + 60
        while asked.count(wanted) < (1 if told else 3) and time.monotonic() < until and bool(found) <= bool(told):
            time.sleep(0.01)
    assert [told in str(error) for error in found] == ([True] if told else [])
    assert ("PATCH /jobs/a?mode=cancel" in asked) == bool(told)


def test_a_job_on_flink_is_cancelled_by_its_name_unless_another_has_the_same(caplog):
    jobs = [
        {"jid": "a", "name": "ours", "end-time": -1},
        {"jid": "b", "name": "ours", "end-time": 5},
        {"jid": "c", "name": "another", "end-time": -1},
    ]
    asked: list[str] = []
    with answering(200, json.dumps({"jobs": jobs}).encode(), asked) as address:
        flink.cancel(f"http://{address}", "ours")
        assert asked == ["GET /jobs/overview", "PATCH /jobs/a?mode=cancel"]
    with answering(200, json.dumps({"jobs": jobs * 2}).encode(), asked) as address:
        flink.cancel(f"http://{address}", "ours")
    assert len(asked) == 3
    assert "cancel this one there by hand" in caplog.text
