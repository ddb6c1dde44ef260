"""What the store holds, as rows that pages are made of; made anew when `index.json` or the lock changes.

Names are there at once. What has to be read from manifests is found behind that, soon after the start, in a
thread or for many by another process, and kept by digest, so that a large store costs that once; until then a
snapshot says that it is not `complete`.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from isthmus.errors import IsthmusError
from isthmus.inventory.lock import Lock, LockEntry, read_lock
from isthmus.oci import Descriptor, Digest, Reference
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.console.components import UNKNOWN, components_of
from isthmus.serve.facts import Facts, find_facts, parse_time
from isthmus.serve.surveying import Surveys
from isthmus.store import Store

LOCK_FILE = "isthmus.lock"
"""A lock that lies in the store's directory."""

_PATIENCE = 0.05  # seconds that a page waits for what is being read
_AGAIN = 10.0  # seconds before what could not be read is tried again
_BREATH = 25  # manifest trees after which the thread lets others run
_MANY = 200  # manifest trees that another process reads
_ROWS = 50  # after which the thread lets others run
_MOMENT = 0.0002  # seconds for that
_log = logging.getLogger("isthmus.serve")
_Mark = tuple[object, ...]


@dataclass(frozen=True)
class Row:
    """One reference. `repository` is its full name with the host in lowercase, as rights go by."""

    name: str
    repository: str
    host: str
    tag: str
    descriptor: Descriptor
    facts: Facts | None
    components: tuple[str, ...] = (UNKNOWN,)
    entry: LockEntry | None = None
    text: str = ""

    @property
    def kind(self) -> str:
        """What it is; nothing while that is not known."""
        if self.facts is not None and self.facts.is_readable:
            return self.facts.kind
        return self.entry.kind if self.entry else "other" if self.facts else ""

    @property
    def shown(self) -> str:
        """The name as the platform writes it, a URL for what has no name of its own in a registry."""
        return (self.facts.origin if self.facts else "") or self.name

    @property
    def size(self) -> int | None:
        """Bytes, where that is known by now."""
        return self.facts.size if self.facts else None

    @property
    def max_age(self) -> int:
        """Seconds after which it is stale; 0 where it never is."""
        return (self.facts.max_age if self.facts else 0) or (self.entry.max_age if self.entry else 0)

    @property
    def since(self) -> float:
        """From when its age counts: when it was published, or else when it came into the store."""
        told = self.facts.created if self.facts else None
        if told is None and self.entry is not None:
            told = parse_time(self.entry.created)
        return told if told is not None else self.facts.arrived if self.facts else 0.0


@dataclass(frozen=True)
class Snapshot:
    """A store at one moment. `total` are bytes that the names need, each blob once. `made_at`: seconds, epoch."""

    rows: tuple[Row, ...] = ()
    by_name: Mapping[str, Row] = field(default_factory=dict)
    lock: Lock | None = None
    lock_error: str = ""
    total: int = 0
    by_host: Mapping[str, int] = field(default_factory=dict)
    by_component: Mapping[str, int] = field(default_factory=dict)
    blobs: int = 0
    complete: bool = False
    changed: float = 0.0


class Holdings:
    """Keeps the snapshot. Used on one event loop."""

    def __init__(self, catalogue: Catalogue, lock: Path | None, surveys: Surveys) -> None:
        self.store: Store = catalogue.store
        self._surveys = surveys
        self._lock_path = lock or catalogue.store.path / LOCK_FILE
        self._lock_is_given = lock is not None
        self._facts: dict[Digest, Facts] = {}
        self._snapshot = Snapshot()
        self._mark: _Mark = ()
        self._work: asyncio.Task[None] | None = None
        self._busy = asyncio.Lock()
        self._started = 0.0

    async def current(self) -> Snapshot:
        """The snapshot now, complete where that takes no more than a moment. Raises what the store raises."""
        async with self._busy:
            mark = self._current_mark()
            if mark != self._mark or self._has_failed():
                self._snapshot = await asyncio.to_thread(self._named, self._snapshot)
                self._mark = mark
                if self._work is not None:
                    self._work.cancel()
                self._work = asyncio.create_task(self._complete(mark))
                self._started = time.monotonic()
        if self._work is not None and not self._work.done():
            await asyncio.wait([self._work], timeout=_PATIENCE)
        return self._snapshot

    def _has_failed(self) -> bool:
        """Whether the last reading ended without an end, some time ago."""
        is_over = self._work is not None and self._work.done() and not self._snapshot.complete
        return is_over and time.monotonic() - self._started > _AGAIN

    @property
    def is_complete(self) -> bool:
        """Whether everything was read that the last snapshot names, the lock too."""
        return self._snapshot.complete

    async def close(self) -> None:
        """Stop reading."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    def _current_mark(self) -> _Mark:
        return (*_mark(self.store.path / "index.json"), *_mark(self._lock_path))

    def _named(self, old: Snapshot) -> Snapshot:
        """Names alone, with the facts that are known already."""
        references = self.store.references()
        rows = tuple(_row(one.name, one.reference, one.descriptor, self._facts) for one in references)
        kept = replace(old, rows=rows, by_name={row.name: row for row in rows}, complete=False)
        return replace(kept, changed=_mark(self.store.path / "index.json")[1])

    async def _complete(self, mark: _Mark) -> None:
        try:
            rows = self._snapshot.rows
            if len(self._missing(rows)) > _MANY:
                await asyncio.to_thread(self._surveys.facts, lambda: self._many(rows), self._learn)
            missing = self._missing(rows)
            for at in range(0, len(missing), _BREATH):
                batch = missing[at : at + _BREATH]
                self._facts.update(await asyncio.to_thread(self._read, batch))
            whole = await asyncio.to_thread(self._whole, rows)
            if self._mark == mark:
                self._snapshot = whole
                named = {row.descriptor.digest for row in rows}
                self._facts = {digest: facts for digest, facts in self._facts.items() if digest in named}
        except IsthmusError as error:
            _log.error("the console cannot read what the store holds: %s", error)

    def _missing(self, rows: Iterable[Row]) -> list[Descriptor]:
        found = {row.descriptor.digest: row.descriptor for row in rows}
        return [descriptor for digest, descriptor in found.items() if digest not in self._facts]

    def _many(self, rows: Iterable[Row]) -> list[Digest]:
        """What is missing, where that is still much."""
        missing = [descriptor.digest for descriptor in self._missing(rows)]
        return missing if len(missing) > _MANY else []

    def _learn(self, found: dict[Digest, Facts]) -> None:
        """Take what another process read, which knows of no place besides the directory."""
        knows_all = self.store.blobs.also is None
        self._facts.update({digest: facts for digest, facts in found.items() if knows_all or facts.is_readable})

    def _read(self, batch: Iterable[Descriptor]) -> dict[Digest, Facts]:
        found = {descriptor.digest: find_facts(self.store, descriptor) for descriptor in batch}
        time.sleep(0.002)  # whoever pulls comes first
        return found

    def _whole(self, rows: tuple[Row, ...]) -> Snapshot:
        lock, error = self._read_lock()
        entries = {entry.stored_name: entry for entry in lock.references} if lock else {}
        done = []
        for at, row in enumerate(rows):
            if at % _ROWS == _ROWS - 1:
                time.sleep(_MOMENT)
            facts = self._facts[row.descriptor.digest]
            entry = entries.get(row.name) or entries.get(row.name.partition("@")[0])
            if entry is not None and entry.stored_name != row.name and entry.digest != row.descriptor.digest:
                entry = None  # that name with another digest is another thing
            components = (components_of(entry.evidence) if entry else ()) or (UNKNOWN,)
            text = " ".join((row.name, facts.origin, facts.kind, facts.artifact_type, *components)).lower()
            done.append(replace(row, facts=facts, entry=entry, components=components, text=text))
        sizes = _unique(done)
        hosts = _grouped(done, lambda row: (row.host,))
        components_found = _grouped(done, lambda row: row.components)
        return replace(
            self._snapshot,
            rows=tuple(done),
            by_name={row.name: row for row in done},
            lock=lock,
            lock_error=error,
            total=sum(sizes.values()),
            blobs=len(sizes),
            by_host=hosts,
            by_component=components_found if lock else {},
            complete=True,
        )

    def _read_lock(self) -> tuple[Lock | None, str]:
        try:
            return read_lock(self._lock_path), ""
        except IsthmusError as error:
            if error.code == "file-not-found" and not self._lock_is_given:
                return None, ""
            _log.error("the console cannot read the lock: %s", error)
            return None, f"{error.message} ({error.code})"


def _row(name: str, reference: Reference, descriptor: Descriptor, facts: Mapping[Digest, Facts]) -> Row:
    return Row(
        name=name,
        repository=f"{reference.host.lower()}/{reference.path}",
        host=reference.host,
        tag=reference.tag,
        descriptor=descriptor,
        facts=facts.get(descriptor.digest),
        text=name.lower(),
    )


def _unique(rows: Iterable[Row]) -> dict[int, int]:
    """Sizes of all blobs that rows need, each once."""
    sizes: dict[int, int] = {}
    for row in rows:
        if row.facts is not None:
            sizes.update(row.facts.sizes)
    return sizes


def _grouped(rows: Iterable[Row], groups_of: Callable[[Row], tuple[str, ...]]) -> dict[str, int]:
    """Bytes by group, each blob once in every group that needs it."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        for group in groups_of(row):
            groups.setdefault(group, []).append(row)
    return {group: sum(_unique(members).values()) for group, members in sorted(groups.items())}


def _mark(path: Path) -> tuple[int, float, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0.0, 0)
    return (found.st_ino, found.st_mtime, found.st_size)
