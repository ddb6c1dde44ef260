"""What `status` looks at: lock, store, bundles, what is under way, and a server of the site. Reads only.

Looked at again and again for the live view, so what costs time is kept while the files are as they were. Not
here: how it is shown (`status`).
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from isthmus.errors import IsthmusError, UnreachableError, UsageError

if TYPE_CHECKING:
    from isthmus.bundle.history import ReceivedBundle
    from isthmus.check import CheckResult
    from isthmus.content.freshness import Age

T = TypeVar("T")
_MAX_ANSWER = 64 << 20


class LockSeen(msgspec.Struct, frozen=True):
    """The lock: how many references it has, and when it was written."""

    path: str
    references: int
    written: str


class StoreSeen(msgspec.Struct, frozen=True):
    """The store: blobs and their bytes, names, free bytes of its file system, and when names last changed."""

    path: str
    blobs: int
    bytes: int
    references: int
    free: int
    changed: str


class BundleSeen(msgspec.Struct, frozen=True):
    """A bundle that was packed here: its directory, its volumes' bytes, and when it was written."""

    path: str
    volumes: int
    bytes: int
    written: str


class UnderWay(msgspec.Struct, frozen=True):
    """A copy that goes on: what, how far in bytes (`total` 0 where not known), and whether it moves."""

    what: str
    name: str
    done: int
    total: int
    running: bool


class ServeSeen(msgspec.Struct, frozen=True):
    """A server of the site: what it was asked for and does not have, and its numbers (Prometheus' names)."""

    url: str
    missing: tuple[dict[str, Any], ...]
    metrics: dict[str, float]
    problem: str = ""


class Seen(msgspec.Struct, frozen=True):
    """Everything at one moment. `open` are decisions that somebody still has to take."""

    lock: LockSeen | None
    store: StoreSeen | None
    coverage: "CheckResult | None"
    things: "tuple[Age, ...]"
    received: "tuple[ReceivedBundle, ...]"
    packed: tuple[BundleSeen, ...]
    under_way: tuple[UnderWay, ...]
    serve: ServeSeen | None
    open: tuple[str, ...]

    @property
    def stale(self) -> list[str]:
        """Names of what is too old."""
        return [age.name for age in self.things if age.stale]

    @property
    def is_good(self) -> bool:
        """Whether nothing is stale, missing or unreachable."""
        coverage = self.coverage is None or self.coverage.is_complete
        serve = self.serve is None or not (self.serve.missing or self.serve.problem)
        return coverage and serve and not self.stale


class Looker:
    """Looks at the same places again and again."""

    def __init__(
        self,
        store: Path,
        lock: Path | None,
        bundles: tuple[Path, ...],
        serve: str,
        ca: Path | None,
        decisions: Callable[[], tuple[str, ...]],
    ) -> None:
        self._store, self._lock, self._bundles = store, lock, bundles
        self._serve, self._ca, self._decisions = serve, ca, decisions
        self._kept: dict[str, tuple[Any, Any]] = {}

    def look(self) -> Seen:
        """Everything now. Raises UsageError and UnreachableError where what was named cannot be read."""
        from isthmus.content.freshness import ages
        from isthmus.store import Store

        store = coverage = None
        things: tuple[Age, ...] = ()
        received: tuple[ReceivedBundle, ...] = ()
        marks = self._marks()
        if self._store.is_dir():
            from isthmus.bundle.history import received_bundles

            with Store.open(self._store) as held:
                store = self._keep("store", marks, lambda: _store(held))
                things = ages(held, datetime.now(UTC))
                if self._lock is not None:
                    coverage = self._keep("coverage", marks, lambda: self._coverage(held))
            received = received_bundles(self._store)
        return Seen(
            lock=self._keep("lock", marks, self._lock_seen) if self._lock else None,
            store=store,
            coverage=coverage,
            things=things,
            received=received,
            packed=tuple(_packed(self._bundles)),
            under_way=tuple(_under_way(self._store)),
            serve=served(self._serve, self._ca) if self._serve else None,
            open=self._keep("open", marks[1:], self._decisions),
        )

    def _keep(self, what: str, mark: Any, look: Callable[[], T]) -> T:
        known = self._kept.get(what)
        if known is None or known[0] != mark:
            known = self._kept[what] = (mark, look())
        found: T = known[1]
        return found

    def _marks(self) -> tuple[Any, ...]:
        """What changes whenever the store's names or the lock do."""
        return (_mark(self._store / "index.json"), _mark(self._lock) if self._lock else None)

    def _lock_seen(self) -> LockSeen:
        from isthmus.inventory.lock import read_lock

        path = self._lock or Path()
        return LockSeen(str(path), len(read_lock(path).references), _time(path.stat().st_mtime))

    def _coverage(self, store: Any) -> "CheckResult":
        from isthmus.check import check_store
        from isthmus.inventory.lock import read_lock

        return check_store(read_lock(self._lock or Path()).references, store)


def served(url: str, ca: Path | None) -> ServeSeen:
    """What a server says at /missing and /metrics. What it does not say is a problem, not an error.

    Raises UsageError for what is no URL.
    """
    from isthmus.content.web import Web
    from isthmus.registry import ConnectionOptions

    if not url.startswith(("http://", "https://")):
        raise UsageError("wrong-usage", f"--serve {url[:100]!r} is not http://HOST[:PORT] or https://HOST[:PORT]")
    base = url.rstrip("/")
    options = ConnectionOptions(ca_file=ca, plain_http=base.startswith("http://"), retries=0)
    try:
        with Web(options) as web:
            told = msgspec.json.decode(web.read(f"{base}/missing", _MAX_ANSWER))
            numbers = _numbers(web.read(f"{base}/metrics", _MAX_ANSWER).decode("utf-8", "replace"))
    except (IsthmusError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return ServeSeen(url, (), {}, str(getattr(error, "message", error))[:200])
    items = told.get("missing", ()) if isinstance(told, dict) else ()
    missing = tuple(item for item in items if isinstance(item, dict)) if isinstance(items, list) else ()
    return ServeSeen(url, missing, numbers)


def _numbers(text: str) -> dict[str, float]:
    """Sums by name of Prometheus' text format, labels left out."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("isthmus_"):
            name = line.partition(" ")[0].partition("{")[0]
            with suppress(ValueError):
                found[name] = found.get(name, 0.0) + float(line.rpartition(" ")[2])
    return found


def _store(store: Any) -> StoreSeen:
    count = size = 0
    for _, length in store.iter_blobs():
        count, size = count + 1, size + length
    try:
        place = os.statvfs(store.path)
        changed = os.stat(store.path / "index.json").st_mtime
    except OSError as error:
        raise UnreachableError(
            "io-failed", f"it cannot be read: {error.strerror}", where=str(store.path)
        ) from error
    free = place.f_bavail * place.f_frsize
    return StoreSeen(str(store.path), count, size, len(store.references()), free, _time(changed))


def _packed(places: tuple[Path, ...]) -> list[BundleSeen]:
    found = []
    for place in places:
        below = sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
        for directory in (place, *below):
            volumes = list(directory.glob("*.isv"))
            with suppress(OSError):  # a volume may be carried away meanwhile
                stats = [volume.stat() for volume in volumes]
                if stats:
                    written = _time(max(status.st_mtime for status in stats))
                    size = sum(status.st_size for status in stats)
                    found.append(BundleSeen(str(directory), len(stats), size, written))
    return sorted(found, key=lambda each: each.written)


def _under_way(store: Path) -> list[UnderWay]:
    from isthmus.bundle.waiting import waiting_bundles

    now = time.time()
    found = [
        UnderWay("unpack", each.name or each.bundle[:16], each.done, each.total, each.is_running(now))
        for each in waiting_bundles(store)
    ]
    with suppress(OSError):
        for entry in sorted(os.scandir(store / "ingest"), key=lambda entry: entry.name):
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if status.st_size:
                    found.append(UnderWay("blob", entry.name[:24], status.st_size, 0, now - status.st_mtime < 15))
    return found


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
