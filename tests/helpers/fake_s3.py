"""A bucket over HTTP, in memory: as much of S3 as obstore asks for, conditional PUT included."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import socket
import threading
import urllib.parse
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree
from xml.sax.saxutils import escape

BUCKET = "bucket"
KEY = "test"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet, else each answer waits 40 ms
    objects: dict[str, bytes]
    guard: threading.Lock
    trouble: Iterator[str]
    """For each request what befalls it: "" nothing, "503" too much to do, "404" not known, "drop" its connection is
    lost."""
    conditions: str
    """What conditional writes meet: "kept", "ignored" or "refused\""""

    def log_message(self, *_: object) -> None:
        pass

    def _reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self._reply(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _key(self) -> str | None:
        with self.guard:
            trouble = next(self.trouble)
        if trouble == "503":
            self._error(503, "SlowDown")
            return None
        if trouble == "404":
            self._reply(404)
            return None
        if trouble == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        bucket, _, key = path[1:].partition("/")
        if bucket != BUCKET:
            self._error(404, "NoSuchBucket")
            return None
        if f"Credential={KEY}/" not in self.headers.get("Authorization", ""):
            self._error(403, "InvalidAccessKeyId")
            return None
        return key

    @staticmethod
    def _tag(data: bytes) -> str:
        return '"' + hashlib.md5(data).hexdigest() + '"'

    def do_GET(self) -> None:
        key = self._key()
        if key is None:
            return
        if not key:
            self._list()
            return
        data = self.objects.get(key)
        if data is None:
            self._error(404, "NoSuchKey")
            return
        headers = {"ETag": self._tag(data), "Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        wanted = self.headers.get("Range")
        if not wanted:
            self._reply(200, data, **headers, Content_Length=str(len(data)))
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        if int(first) >= len(data):
            self._error(416, "InvalidRange")
            return
        part = data[int(first) : int(last) + 1]
        end = int(first) + len(part) - 1
        self._reply(206, part, **headers, Content_Range=f"bytes {first}-{end}/{len(data)}")

    do_HEAD = do_GET  # noqa: N815

    def _list(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        objects = [(key, data) for key, data in sorted(self.objects.items()) if key.startswith(prefix)]
        tails = {key: key.removeprefix(prefix) for key, _ in objects}
        folders = {tail.partition(delimiter)[0] for tail in tails.values() if delimiter and delimiter in tail}
        found = "".join(
            f"<CommonPrefixes><Prefix>{escape(prefix + folder + delimiter)}</Prefix></CommonPrefixes>"
            for folder in sorted(folders)
        )
        found += "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>{escape(self._tag(data))}</ETag>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, data in objects
            if not (delimiter and delimiter in tails[key])
        )
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        self._reply(200, body.encode())

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        key = self._key()
        if key is None:
            return
        asked = "If-Match" in self.headers or "If-None-Match" in self.headers
        if asked and self.conditions == "refused":
            self._error(501, "NotImplemented")
            return
        with self.guard:
            old = self.objects.get(key)
            tag = self.headers.get("If-Match")
            if self.conditions == "kept" and (
                (self.headers.get("If-None-Match") == "*" and old is not None)
                or (tag and (old is None or tag != self._tag(old)))
            ):
                self._error(412, "PreconditionFailed")
                return
            self.objects[key] = data
        self._reply(200, ETag=self._tag(data))

    def do_DELETE(self) -> None:
        key = self._key()
        if key is not None:
            self.objects.pop(key, None)
            self._reply(204)

    def do_POST(self) -> None:
        """Deletes the keys of a list, which is how obstore deletes."""
        body = ElementTree.fromstring(self.rfile.read(int(self.headers["Content-Length"])))
        if self._key() is None:
            return
        keys = [element.text or "" for element in body.iter() if element.tag.endswith("Key")]
        for key in keys:
            self.objects.pop(key, None)
        done = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        self._reply(200, f"<DeleteResult>{done}</DeleteResult>".encode())


@contextlib.contextmanager
def serve(trouble: Iterable[str] = ("",), conditions: str = "kept") -> Iterator[dict[str, str]]:
    """Runs the server; gives the environment variables that lead s3:// to it. `trouble` goes round."""
    members = {"objects": {}, "guard": threading.Lock(), "trouble": itertools.cycle(trouble), "conditions": conditions}
    handler = type("Handler", (_Handler,), members)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
