"""A registry that takes blobs, hashes them and keeps only manifests: a target for what is too big to keep twice.

One thread a connection; just as much of the distribution-spec as a copy into it needs. Not here: measuring.
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_CHUNK = 1024 * 1024
_MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/]+)")


@dataclass
class Sink:
    """What came: sizes of blobs by digest, and manifests by repository and by tag or digest."""

    address: str = ""
    blobs: dict[str, int] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, tuple[Any, int]] = field(default_factory=dict)


@contextmanager
def running() -> Iterator[Sink]:
    """An empty one on a loopback port."""
    sink = Sink()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"sink": sink}))
    server.daemon_threads = True
    sink.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sink: Sink

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""

    def do_HEAD(self) -> None:
        digest = self.path.rpartition("/")[2]
        if self._found(head=True):
            return
        size = self.sink.blobs.get(digest)
        self._answer(404 if size is None else 200, {"Content-Length": str(size or 0)})

    def do_GET(self) -> None:
        if self.path == "/v2/":
            self._answer(200)
        elif not self._found(head=False):
            self._answer(404)

    def do_POST(self) -> None:
        place = f"/uploads/{len(self.sink.uploads)}"
        self.sink.uploads[place] = (hashlib.sha256(), 0)
        self._answer(202, {"Location": place})

    def do_PATCH(self) -> None:
        seen, count = self._take()
        place = urlsplit(self.path).path
        self.sink.uploads[place] = (seen, count)
        self._answer(202, {"Location": place, "Range": f"0-{max(count - 1, 0)}"})

    def do_PUT(self) -> None:
        if match := _MANIFEST.fullmatch(self.path):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            for target in (match[2], digest):
                self.sink.manifests[match[1], target] = (self.headers["Content-Type"], body)
            self._answer(201, {"Docker-Content-Digest": digest})
            return
        seen, count = self._take()
        digest = f"sha256:{seen.hexdigest()}"
        is_right = parse_qs(urlsplit(self.path).query).get("digest") == [digest]
        if is_right:
            self.sink.blobs[digest] = count
        self._answer(201 if is_right else 400, {"Docker-Content-Digest": digest})

    def _take(self) -> tuple[Any, int]:
        seen, count = self.sink.uploads[urlsplit(self.path).path]
        left = int(self.headers.get("Content-Length", "0"))
        while left and (data := self.rfile.read(min(left, _CHUNK))):
            seen.update(data)
            count += len(data)
            left -= len(data)
        return seen, count

    def _found(self, *, head: bool) -> bool:
        match = _MANIFEST.fullmatch(self.path)
        found = self.sink.manifests.get((match[1], match[2])) if match else None
        if found is None:
            return False
        digest = f"sha256:{hashlib.sha256(found[1]).hexdigest()}"
        headers = {"Content-Type": found[0], "Docker-Content-Digest": digest, "Content-Length": str(len(found[1]))}
        self._answer(200, headers, b"" if head else found[1])
        return True

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
