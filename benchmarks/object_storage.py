"""The whole job with text and output in a bucket, beside the same job with both in a folder.

    python -m tests.helpers.programs versitygw
    python -m benchmarks.object_storage [--input=corpus.txt] [--blocks=24] [--latency_ms=0]

The bucket is served by versitygw on this machine, whose CPU time counts for the job; `--latency_ms` lets every answer
wait so long, as a bucket at a distance does. Requests are counted by what they ask for.
"""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.pieces import UnavailableError
from tests.helpers.programs import PROGRAMS
from tests.helpers.real_s3 import Server
from tools.measuring.reports import format_table, write_report
from tools.measuring.sample_text import corpus_text, text_parser
from tools.measuring.timing import Process, ours, run_process


class Middleman:
    """Passes connections on to a server, counts the requests, and lets each answer wait."""

    def __init__(self, server: int, latency: float):
        self._server, self._latency = server, latency
        self.requests: collections.Counter[str] = collections.Counter()
        self._guard = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            server = socket.create_connection(("127.0.0.1", self._server))
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                if asks:
                    self._count(data)
                elif self._latency and data.startswith(b"HTTP/1.1"):
                    time.sleep(self._latency)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _count(self, data: bytes) -> None:
        first = data[:2048].split(b"\r\n", 1)[0].split(b" ")
        if len(first) == 3 and first[2] == b"HTTP/1.1":
            method, path = first[0].decode(), first[1].decode()
            place = path.partition("?")[0].removeprefix("/bucket/").removeprefix("run/")
            folder = "/".join(place.split("/")[: 2 if place.startswith("records/") else 1])
            with self._guard:
                self.requests[f"{'LIST' if 'list-type' in path else method} {folder}"] += 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = text_parser("benchmarks.object_storage", __doc__, 4_000_000, repetitions=True)
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--latency_ms", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=1)
    chosen = parser.parse_args(arguments)
    try:
        versitygw = PROGRAMS["versitygw"].get()
    except UnavailableError as error:
        print(f"benchmarks.object_storage: versitygw cannot be had: {error}", file=sys.stderr)
        return 1
    done: dict[str, list[Process]] = {"folder": [], "bucket": []}
    requests: collections.Counter[str] = collections.Counter()
    with corpus_text(chosen) as text:
        size = os.path.getsize(text)
        options = [f"--block_bytes={-(-size // chosen.blocks)}", f"--epochs={chosen.epochs}", "--no_report"]
        for _ in range(chosen.repetitions):
            with tempfile.TemporaryDirectory() as folder:
                done["folder"].append(run_process(ours([f"--input={text}", f"--output={folder}/run", *options])))
            with tempfile.TemporaryDirectory() as folder, Server(Path(folder), versitygw).running() as server:
                shutil.copyfile(text, f"{folder}/bucket/text")
                between = Middleman(server.port, chosen.latency_ms / 1000)
                address = server.environment | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{between.port}"}
                files = ["--input=s3://bucket/text", "--output=s3://bucket/run"]
                done["bucket"].append(run_process(ours([*files, *options]), **address))
                requests = between.requests
    rows = _rows(done, size)
    print(format_table(rows))
    print(f"{sum(requests.values()):,} requests of the last job with the bucket:")
    print(", ".join(f"{count} {what}" for what, count in requests.most_common(30)))
    write_report(chosen.json, vars(chosen), [*rows, dict(requests)])
    return 0


def _rows(done: dict[str, list[Process]], size: int) -> list[dict[str, str]]:
    wall = {name: statistics.median(process.wall for process in runs) for name, runs in done.items()}
    return [
        {
            "text and output in a": name,
            "MB of text": f"{size / 1e6:.1f}",
            "wall s": f"{wall[name]:.1f} ({min(p.wall for p in runs):.1f}-{max(p.wall for p in runs):.1f})",
            "CPU s": f"{statistics.median(p.cpu for p in runs):.1f}",
            "times the folder": f"{wall[name] / wall['folder']:.2f}",
        }
        for name, runs in done.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
