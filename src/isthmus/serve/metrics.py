"""Counters for Prometheus (its text format 0.0.4). Not here: who is told (`app`)."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator

from aiohttp import web

from isthmus.content.freshness import ages
from isthmus.content.freshness import metrics as perishables
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.misses import Misses
from isthmus.serve.target import TARGET, Target

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts on the event loop alone."""

    def __init__(self, catalogue: Catalogue, misses: Misses) -> None:
        self._catalogue = catalogue
        self._misses = misses
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._sent = 0
        self._received = 0
        self._started = time.time()
        self.in_progress = 0

    def count(self, request: web.Request, response: web.StreamResponse | None, seconds: float) -> None:
        """A request is over; without a response its client went away."""
        target: Target | None = request.get(TARGET)
        kind = target.kind if target else "other"
        method = request.method if request.method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") else "other"
        self._requests[method, kind, response.status if response is not None else 499] += 1
        self._seconds[kind] += int(seconds * 1e6)
        if response is not None:
            self._sent += (response.content_length or 0) if method != "HEAD" and response.status != 304 else 0
        self._received += request.content.total_bytes if request.body_exists else 0

    async def text(self) -> str:
        """Everything, in a stable order."""
        return "\n".join([*self._counters(), *await self._gauges()]) + "\n"

    def _counters(self) -> Iterator[str]:
        yield "# TYPE isthmus_requests_total counter"
        for (method, kind, status), count in sorted(self._requests.items()):
            yield f'isthmus_requests_total{{method="{method}",kind="{kind}",status="{status}"}} {count}'
        yield "# TYPE isthmus_request_seconds_total counter"
        for kind, micros in sorted(self._seconds.items()):
            yield f'isthmus_request_seconds_total{{kind="{kind}"}} {micros / 1e6}'
        yield from _one("isthmus_sent_bytes_total", "counter", self._sent)
        yield from _one("isthmus_received_bytes_total", "counter", self._received)
        yield from _one("isthmus_misses_total", "counter", self._misses.total)

    async def _gauges(self) -> list[str]:
        names = await self._catalogue.names()
        place = os.statvfs(self._catalogue.store.path)
        changed = os.stat(self._catalogue.store.path / "index.json").st_mtime
        return [
            *_one("isthmus_requests_in_progress", "gauge", self.in_progress),
            *_one("isthmus_missing", "gauge", len(self._misses.wanted())),
            *_one("isthmus_repositories", "gauge", len(names.roots)),
            *_one("isthmus_tags", "gauge", sum(map(len, names.tags.values()))),
            *_one("isthmus_store_free_bytes", "gauge", place.f_bavail * place.f_frsize),
            *_one("isthmus_store_changed_timestamp_seconds", "gauge", round(changed, 3)),
            *_one("isthmus_start_timestamp_seconds", "gauge", round(self._started, 3)),
            *await asyncio.to_thread(lambda: list(perishables(ages(self._catalogue.store)))),
        ]


def _one(name: str, kind: str, value: float) -> tuple[str, str]:
    return f"# TYPE {name} {kind}", f"{name} {value}"
