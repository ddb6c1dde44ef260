"""Counters for Prometheus (its text format 0.0.4). Not here: who is told (`app`)."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator

import msgspec
from aiohttp import web

from isthmus.bundle.history import received_bundles
from isthmus.content.freshness import ages
from isthmus.content.freshness import metrics as perishables
from isthmus.errors import IsthmusError
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.disk import Counted, DiskWatch
from isthmus.serve.facts import parse_time
from isthmus.serve.misses import Misses
from isthmus.serve.shared import Share
from isthmus.serve.target import TARGET, Target
from isthmus.store import Store

TELL_SECONDS = 1.0
"""How old what other workers counted may be."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Counted(msgspec.Struct):
    requests: list[tuple[str, str, int, int]]
    micros: list[tuple[str, int]]
    sent: int
    received: int
    in_progress: int
    misses: int


def _told(data: bytes) -> _Counted | None:
    try:
        return msgspec.json.decode(data, type=_Counted) if data else None
    except msgspec.MsgspecError:
        return None


class Metrics:
    """Counts on the event loop alone. What other workers counted is added where it is told."""

    def __init__(self, catalogue: Catalogue, misses: Misses, disk: DiskWatch, share: Share | None = None) -> None:
        self._share = share or Share()
        self._catalogue = catalogue
        self._misses = misses
        self._disk = disk
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._sent = 0
        self._received = 0
        self._missed = 0
        self._started = time.time()
        self.in_progress = 0
        self._go_on()

    @property
    def is_shared(self) -> bool:
        """Whether there are other workers."""
        return self._share.count > 1

    def _go_on(self) -> None:
        """From what a worker that ended had counted."""
        before = _told(self._share.said("metrics"))
        if before is not None:
            self._add(before)
            self._misses.total += before.misses

    def _add(self, more: "_Counted") -> None:
        for method, kind, status, count in more.requests:
            self._requests[method, kind, status] += count
        self._seconds.update(dict(more.micros))
        self._sent += more.sent
        self._received += more.received

    async def tell_for_ever(self) -> None:
        """Tell the other workers, every second where there is news. Never ends by itself."""
        last = b""
        while True:
            counted = _Counted(
                [(*key, count) for key, count in self._requests.items()],
                list(self._seconds.items()),
                self._sent,
                self._received,
                self.in_progress,
                self._misses.total,
            )
            data = msgspec.json.encode(counted)
            if data != last:
                last = data
                await asyncio.to_thread(self._share.tell, "metrics", data)
            await self._misses.tell()
            await asyncio.sleep(TELL_SECONDS)

    def _whole(self) -> "Metrics":
        """Everything that all workers counted."""
        if not self.is_shared:
            return self
        whole = Metrics(self._catalogue, self._misses, self._disk)
        whole._requests, whole._seconds = self._requests.copy(), self._seconds.copy()
        whole._sent, whole._received, whole._started = self._sent, self._received, self._started
        whole.in_progress, whole._missed = self.in_progress, self._misses.total
        for data in self._share.others("metrics"):
            found = _told(data)
            if found is not None:
                whole._add(found)
                whole.in_progress += found.in_progress
                whole._missed += found.misses
        return whole

    def count(self, request: web.Request, response: web.StreamResponse | None, seconds: float) -> None:
        """A request is over; without a response its client went away."""
        target: Target | None = request.get(TARGET)
        kind = target.kind if target else "other"
        method = request.method if request.method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") else "other"
        sent = 0
        if response is not None:
            sent = (response.content_length or 0) if method != "HEAD" and response.status != 304 else 0
        received = request.content.total_bytes if request.body_exists else 0
        self.add(method, kind, response.status if response is not None else 499, seconds, sent, received)

    def add(self, method: str, kind: str, status: int, seconds: float, sent: int, received: int) -> None:
        """Count a request by what is counted of it."""
        self._requests[method, kind, status] += 1
        self._seconds[kind] += int(seconds * 1e6)
        self._sent += sent
        self._received += received

    async def text(self) -> str:
        """Everything, in a stable order."""
        whole = await asyncio.to_thread(self._whole)
        return "\n".join([*whole.counters(), *await whole.gauges()]) + "\n"

    def counters(self) -> Iterator[str]:
        """What only grows."""
        yield "# TYPE isthmus_requests_total counter"
        for (method, kind, status), count in sorted(self._requests.items()):
            yield f'isthmus_requests_total{{method="{method}",kind="{kind}",status="{status}"}} {count}'
        yield "# TYPE isthmus_request_seconds_total counter"
        for kind, micros in sorted(self._seconds.items()):
            yield f'isthmus_request_seconds_total{{kind="{kind}"}} {micros / 1e6}'
        yield from _one("isthmus_sent_bytes_total", "counter", self._sent)
        yield from _one("isthmus_received_bytes_total", "counter", self._received)
        yield from _one("isthmus_misses_total", "counter", self._missed or self._misses.total)

    async def gauges(self) -> list[str]:
        """What holds now."""
        names = await self._catalogue.names()
        disk = await self._disk.current()
        changed = os.stat(self._catalogue.store.path / "index.json").st_mtime
        return [
            *_one("isthmus_requests_in_progress", "gauge", self.in_progress),
            *_one("isthmus_missing", "gauge", len(self._misses.wanted())),
            *_one("isthmus_repositories", "gauge", len(names.roots)),
            *_one("isthmus_tags", "gauge", sum(map(len, names.tags.values()))),
            *_one("isthmus_store_free_bytes", "gauge", disk.free),
            *(_stored(disk.counted) if disk.counted is not None else ()),
            *_one("isthmus_store_changed_timestamp_seconds", "gauge", round(changed, 3)),
            *_one("isthmus_start_timestamp_seconds", "gauge", round(self._started, 3)),
            *await asyncio.to_thread(
                lambda: [*_bundle(self._catalogue.store), *perishables(ages(self._catalogue.store))]
            ),
        ]


def _stored(counted: Counted) -> Iterator[str]:
    """What is on disk; not there before it was counted."""
    yield from _one("isthmus_store_bytes", "gauge", counted.stored)
    yield from _one("isthmus_store_blobs", "gauge", counted.blobs)
    yield from _one("isthmus_store_partial_bytes", "gauge", counted.partial)
    yield from _one("isthmus_store_counted_timestamp_seconds", "gauge", round(counted.at, 3))


def _bundle(store: Store) -> Iterator[str]:
    """How old the last bundle is that came in, where one is on record."""
    try:
        last = received_bundles(store.path)[-1:]
    except IsthmusError:
        return
    for one in last:
        for name, at in (("unpacked", one.at), ("created", one.created or "")):
            seconds = parse_time(at)
            if seconds is not None:
                yield from _one(f"isthmus_bundle_{name}_timestamp_seconds", "gauge", int(seconds))


def _one(name: str, kind: str, value: float) -> tuple[str, str]:
    return f"# TYPE {name} {kind}", f"{name} {value}"
