"""Tries to start a worker in a command that serves a pool of them, from this machine and as from another one."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

from tests.helpers.listening import listened_on

_SECONDS = 1.0
"""For an answer: a worker that was started looks for its runner for longer, and the job may end meanwhile."""
_NO_RUNNER = endpoints_pb2.ApiServiceDescriptor(url="127.0.0.1:1")


def attacked(process: subprocess.Popen, timeout: float = 280) -> dict[str, set[str]]:
    """Attacks each port that a command itself opens, until it has ended.

    Returns:
      "here" and "elsewhere" (by the machine's address on its network) -> the gRPC statuses that came back.
    """
    ways = {"here": "127.0.0.1", "elsewhere": _address()}
    statuses: dict[str, set[str]] = {way: set() for way in ways}
    seen, until = set[str](), time.monotonic() + timeout
    while process.poll() is None:
        assert time.monotonic() < until, "the command does not end"
        for socket_name in listened_on(process.pid, alone=True) - seen:
            port = int(socket_name.rpartition(":")[2], 16)
            found = {way: _started(f"{host}:{port}") for way, host in ways.items()}
            for way, status in found.items():
                statuses[way].add(status)
            if found["here"] != "UNAVAILABLE":  # else it is bound, and answers a moment later
                seen.add(socket_name)
        time.sleep(0.05)
    return statuses


def _started(address: str) -> str:
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id="stranger", control_endpoint=_NO_RUNNER)
    with grpc.insecure_channel(address) as channel:
        try:
            beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel).StartWorker(request, timeout=_SECONDS)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def _address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # of the documentation's network; nothing is sent
        if not (found := probe.getsockname()[0]).startswith("127."):
            return found
    pytest.skip("this machine has no address but that of itself")
