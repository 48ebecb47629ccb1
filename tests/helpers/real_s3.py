"""A real S3 server over a folder: versitygw, built by `python -m tests.helpers.programs versitygw`."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.helpers import programs
from tests.helpers.commands import free_ports

BUCKET = "bucket"


class Server:
    """The server, which can be killed and started again with what it holds."""

    def __init__(self, folder: pathlib.Path, program: pathlib.Path):
        self._folder, self._program = folder, program
        (folder / BUCKET).mkdir()
        (self.port,) = free_ports(1)
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-logs",
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        variables = {
            "ROOT_ACCESS_KEY_ID": self.environment["AWS_ACCESS_KEY_ID"],
            "ROOT_SECRET_ACCESS_KEY": self.environment["AWS_SECRET_ACCESS_KEY"],
        }
        command = [str(self._program), "--port", f"127.0.0.1:{self.port}", "--quiet", "posix", str(self._folder)]
        self._process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise RuntimeError("versitygw did not start")

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        self.start()
        try:
            yield self
        finally:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def serve(folder: pathlib.Path) -> Iterator[Server]:
    """The server for a test, which is skipped where there can be none."""
    program = programs.needed("versitygw")
    try:
        os.setxattr(folder, "user.beam2vec", b"")
    except OSError as error:
        pytest.skip(f"versitygw needs extended attributes, {folder} has none: {error}")
    with Server(folder, program).running() as server:
        yield server
