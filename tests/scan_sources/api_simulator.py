"""A simulator of a Kubernetes API server that plays recorded answers; named so because it is no real one.

It does what the client relies on: discovery, lists in pages, field selectors of types, refusals by path,
tokens. The real server is in test_cluster_real.py.
"""

import http.server
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Recording:
    """What the simulated server has: collections by path, and how it misbehaves."""

    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    resources: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    token: str = ""
    busy_first: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, target: str) -> tuple[int, dict[str, Any]]:
        """The status and the document for a request."""
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.asked.append(parts.path)
        if parts.path in self.refused:
            status = self.refused[parts.path]
            return status, {"kind": "Status", "message": f"{parts.path} is forbidden" if status == 403 else "no"}
        if parts.path == "/apis":
            return 200, {"groups": [self._group(base) for base in self.resources if base.startswith("/apis/")]}
        if parts.path in self.resources:
            verbs = ["get", "list"]
            described = [{"name": n, "kind": k, "verbs": verbs} for n, k in self.resources[parts.path]]
            return 200, {"resources": described}
        if parts.path in self.lists:
            return 200, self._page(parts.path, query)
        return 404, {"kind": "Status", "message": "not found"}

    @staticmethod
    def _group(base: str) -> Mapping[str, Any]:
        _, _, group, version = base.split("/")
        return {"name": group, "preferredVersion": {"version": version}}

    def _page(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        selector = query.get("fieldSelector", "").removeprefix("type=")
        items = [item for item in self.lists[path] if not selector or item.get("type") == selector]
        start, limit = int(query.get("continue", "0")), int(query.get("limit", "500"))
        following = str(start + limit) if start + limit < len(items) else ""
        return {"metadata": {"continue": following}, "items": items[start : start + limit]}


@contextmanager
def simulator(recording: Recording, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve the recording on loopback; gives the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, document = recording.answer(self.path)
            if recording.token and self.headers.get("Authorization") != f"Bearer {recording.token}":
                status, document = 401, {"kind": "Status", "message": "Unauthorized"}
            if recording.busy_first:
                recording.busy_first = False
                status = 429
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status in {429, 503}:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
