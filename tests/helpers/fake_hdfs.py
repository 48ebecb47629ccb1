"""A name node over HTTP, in memory: as much of WebHDFS as Beam's HadoopFileSystem asks for, by its client."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    folders: set[str]

    def log_message(self, *_: object) -> None:
        pass

    def _reply(self, value: object, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _missing(self, path: str) -> None:
        error = {"exception": "FileNotFoundException", "message": f"File does not exist: {path}"}
        self._reply({"RemoteException": error}, 404)

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while self.headers.get("Transfer-Encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        if parts:
            self.rfile.readline()
        return b"".join(parts)

    def _answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path).removeprefix("/webhdfs/v1").rstrip("/")
        asked = {name: values[0] for name, values in urllib.parse.parse_qs(url.query).items()}
        match asked["op"]:
            case "GETFILESTATUS" if path in self.files or path in self.folders:
                kind = "FILE" if path in self.files else "DIRECTORY"
                length = len(self.files.get(path, b""))
                status = {"pathSuffix": "", "type": kind, "length": length, "modificationTime": 1000}
                self._reply({"FileStatus": status})
            case "OPEN" if path in self.files:
                start = int(asked.get("offset", 0))
                self._reply(self.files[path][start:][: int(asked.get("length", 1 << 40))])
            case "CREATE" if "data" not in asked:
                self._body()
                host = f"http://{self.headers['Host']}"
                self._reply(b"", 307, Location=f"{host}{self.path}&data=true")
            case "CREATE":
                self.files[path] = self._body()
                self._reply(b"", 201)
            case "MKDIRS":
                self.folders.add(path)
                self._reply({"boolean": True})
            case "RENAME":
                target = asked["destination"]
                done = path in self.files and target not in self.files
                if done:
                    self.files[target] = self.files.pop(path)
                self._reply({"boolean": done})
            case "DELETE":
                self._reply({"boolean": self.files.pop(path, None) is not None})
            case _:
                self._missing(path)

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815


@contextlib.contextmanager
def serve() -> Iterator[tuple[int, dict[str, bytes]]]:
    """Runs the server; gives its port and its files."""
    handler = type("Handler", (_Handler,), {"files": {}, "folders": {""}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port, handler.files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
