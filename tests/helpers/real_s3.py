"""A real S3 server over a folder: versitygw, built by `python -m deploy.pieces versitygw`."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from deploy.pieces import PIECES, UnavailableError
from tests.helpers.commands import free_ports

BUCKET = "bucket"


class Server:
    """The server, which can be killed and started again with what it holds."""

    def __init__(self, folder: pathlib.Path):
        try:
            self._program = PIECES["versitygw"].get()
        except UnavailableError as error:
            pytest.skip(f"no versitygw here: {error}")
        try:
            os.setxattr(folder, "user.beam2vec", b"")
        except OSError as error:
            pytest.skip(f"versitygw needs extended attributes, {folder} has none: {error}")
        self._folder = folder
        (folder / BUCKET).mkdir()
        (self._port,) = free_ports(1)
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
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
        command = [self._program, "--port", f"127.0.0.1:{self._port}", "--quiet", "posix", self._folder]
        self._process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                return
            time.sleep(0.02)
        raise RuntimeError("versitygw did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def serve(folder: pathlib.Path) -> Iterator[Server]:
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
