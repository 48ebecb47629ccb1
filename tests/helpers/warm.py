"""Processes that have imported everything already: children of one server that did.

A command as users start it, `python -m jobs.train`, takes two seconds to import what it needs, and one more until
all of it has been used once. A child of the server's is a process all the same: it has its own streams, environment,
threads and signals, and ends as Python does. What the start itself decides (flags, variables that libraries read
when they are imported, streams that are closed) is for tests that start `python -m` themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import logging
import os
import pathlib
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

ROOT = pathlib.Path(__file__).parents[2]
_MOST = 1 << 20
"""Bytes of a request."""


class WarmProcess:
    """What a test needs of subprocess.Popen; `act` is called with the arguments, and its answer is the exit status."""

    def __init__(self, act: Callable[..., int], *arguments: Any, **named: Any):
        request = pickle.dumps((functools.partial(act, *arguments, **named), {**os.environ}))
        assert len(request) < _MOST
        (out, ours), (error, theirs), (told, tell) = os.pipe(), os.pipe(), os.pipe()
        with open(os.devnull) as nothing:
            socket.send_fds(_server(), [request], [nothing.fileno(), ours, theirs, tell])
        for each in (ours, theirs, tell):
            os.close(each)
        self.args = [act.__name__, *map(str, arguments)]
        self.stdout, self.stderr, self._told = open(out), open(error), open(told, "rb", buffering=0)  # noqa: SIM115
        self.pid = int(self._told.read(16))
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(int(self._told.read(16) or b"9"))  # 9: so did the server
            self._told.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        said = ["", ""]

        def read(i: int, stream: Any) -> None:
            with stream:
                said[i] = stream.read()

        until = None if timeout is None else time.monotonic() + timeout
        readers = [
            threading.Thread(target=read, args=each, daemon=True) for each in enumerate((self.stdout, self.stderr))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if until is None else max(0, until - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if until is None else max(0, until - time.monotonic()))
        return said[0], said[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _server() -> socket.socket:
    """A connection to it; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST)
    with theirs:
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        server = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL
        )
    atexit.register(lambda: (ours.close(), server.wait()))
    assert ours.recv(1), "the server of warm processes did not start"
    return ours


def _serve(connection: socket.socket) -> None:
    """Forks for each request, tells the child's number, and later how it ended."""
    children: dict[int, int] = {}
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to all, and which is the tests' to handle
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    connection.send(b"r")
    while True:
        ready = select.select([connection, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 1000)
            for pid in [*children]:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    os.write(children[pid], b"%d" % status)
                    os.close(children.pop(pid))
        if connection in ready:
            request, streams, *_ = socket.recv_fds(connection, _MOST, 4)
            if not request:
                return
            *streams, tell = streams
            if pid := os.fork():
                os.write(tell, b"%d" % pid)
                children[pid] = tell
                for stream in streams:
                    os.close(stream)
                continue
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.default_int_handler)
            for each in (woken, wake, tell, connection.detach(), *children.values()):
                os.close(each)
            _become(request, streams)


def _become(request: bytes, streams: list[int]) -> NoReturn:
    for number, (stream, name, mode) in enumerate(zip(streams, ("stdin", "stdout", "stderr"), "rww")):
        os.dup2(stream, number)
        os.close(stream)
        errors = "backslashreplace" if name == "stderr" else "strict"
        opened = open(number, mode, 1 if name == "stderr" else -1, closefd=False, errors=errors)  # noqa: SIM115
        setattr(sys, name, opened)
        setattr(sys, f"__{name}__", getattr(sys, name))
    act, environment = pickle.loads(request)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # it is asked for again
    status = act()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)  # as commands end; an exception ends the interpreter as usual


def _warm_up() -> None:
    """Everything imported and used once. No thread of Beam's is left: a child has but the one that forked it."""
    from tests.helpers import commands, crashing  # noqa: F401  first, as a command does: it sets Arrow's allocator

    # isort: split
    import pytest  # noqa: F401  which modules of tests import
    from apache_beam.utils import thread_pool_executor

    with tempfile.TemporaryDirectory() as folder:
        text = commands.write_corpus(pathlib.Path(folder, "text.txt"), lines=40, words=40)
        outcome = commands.train(f"--input={text}", f"--output={folder}/run", "--phrases=1", *commands.TINY)
        assert outcome.status == 0, outcome.stderr
    shared = thread_pool_executor.shared_unbounded_instance()
    thread_pool_executor.UnboundedThreadPoolExecutor.shutdown(shared)
    thread_pool_executor._SHARED_UNBOUNDED_THREAD_POOL_EXECUTOR = type(shared)()
    for handler in [*logging.getLogger().handlers]:  # of the command above, with its streams
        logging.getLogger().removeHandler(handler)
    assert threading.enumerate() == [threading.main_thread()]


if __name__ == "__main__":
    _warm_up()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    _serve(socket.socket(fileno=int(sys.argv[1])))
