"""A publisher: a real HTTP server on loopback that serves a directory, with ranges, and counts what is asked."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.content.workplace import Workplace


class Publisher:
    """Serves `root`; `log` has method, path and Range of every request. `cut` ends bodies early, once each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[tuple[str, str, str]] = []
        self.cut: dict[str, int] = {}
        self.redirect: dict[str, str] = {}
        self.broken: dict[str, int] = {}
        self.no_ranges = False
        self.no_length = False
        self.no_validators = False
        self.slow: Callable[[str], None] | None = None
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                publisher.answer(self, with_body=True)

            def do_HEAD(self) -> None:
                publisher.answer(self, with_body=False)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.host = self.url.removeprefix("http://")
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, path: str, data: bytes) -> str:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return f"{self.url}/{path}"

    def asked(self, path: str) -> list[tuple[str, str]]:
        return [(method, spread) for method, where, spread in self.log if where == f"/{path}"]

    def answer(self, request: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        path = unquote(request.path.partition("?")[0])
        spread = request.headers.get("Range", "")
        self.log.append((request.command, path, spread))
        if path in self.redirect:
            self._short(request, 302, {"Location": self.redirect[path]})
            return
        file = self.root / path.lstrip("/")
        if path in self.broken or not file.is_file():
            self._short(request, self.broken.get(path, 404), {})
            return
        data = file.read_bytes()
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        start = 0
        if spread == f"bytes={len(data)}-" and not self.no_ranges:
            self._short(request, 416, {"Content-Range": f"bytes */{len(data)}"})
            return
        match = re.fullmatch(r"bytes=([0-9]+)-", spread)
        if match and not self.no_ranges and request.headers.get("If-Range", etag) == etag:
            start = int(match[1])
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if not self.no_validators:
            request.send_header("ETag", etag)
            request.send_header("Last-Modified", formatdate(file.stat().st_mtime, usegmt=True))
        if self.no_length:
            request.send_header("Connection", "close")
            request.close_connection = True
        else:
            request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        if not with_body:
            return
        if self.slow:
            self.slow(path)
        stop = self.cut.pop(path, None)
        try:
            request.wfile.write(data[start:] if stop is None else data[start : start + stop])
        except OSError:
            stop = 0
        if stop is not None:
            request.close_connection = True

    def _short(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher(tmp_path / "published")
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Workplace:
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return Workplace(directory, capsys)
