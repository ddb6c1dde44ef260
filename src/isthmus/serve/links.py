"""What belongs to a repository though no name leads there: blobs that wait for their manifest, manifests whose
tag was moved on, and referrers that were deleted here.

Kept in `serve.sqlite` in the store, so that a push survives a restart, and in memory, where it is read. Safe
for threads; one server at a time writes it. Not here: names, which are in the store's `index.json`.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import quote

from isthmus.errors import UnreachableError, UsageError
from isthmus.oci import Digest
from isthmus.serve.shared import LINKED
from isthmus.store import files

FILE = "serve.sqlite"
KEEP_SECONDS = 24 * 3600.0
"""How long something belongs to a repository without a manifest or a name that leads to it."""

Kind: TypeAlias = Literal["blob", "manifest", "hidden"]

_SCHEMA = """CREATE TABLE IF NOT EXISTS links (
    repository TEXT, digest TEXT, kind TEXT, at REAL, PRIMARY KEY (repository, digest, kind)
) WITHOUT ROWID"""


class Links:
    """Opened with `open_links`. Raises `io-failed` where the file cannot be read or written.

    With the `worker`'s number, other workers of this server write it too, and `refresh` looks for what they did.
    """

    def __init__(self, path: Path, *, writable: bool, worker: int | None = None) -> None:
        self._path = path
        self._worker = worker
        self._seen = b""
        self._held = _hold(path.with_name(f"{path.name}.lock")) if writable and worker is None else -1
        self._lock = threading.Lock()
        self._links: dict[Kind, dict[str, dict[Digest, float]]] = {"blob": {}, "manifest": {}, "hidden": {}}
        with self._errors():
            self._db = self._connect("rwc") if writable else self._connect_reading()
            if writable:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.execute(_SCHEMA)
            self._read()

    def _read(self) -> None:
        found: dict[Kind, dict[str, dict[Digest, float]]] = {"blob": {}, "manifest": {}, "hidden": {}}
        for row in self._db.execute("SELECT repository, digest, kind, at FROM links"):
            _remember(found, *row)
        self._links = found  # at once: readers on other threads go through it without a lock

    def is_stale(self) -> bool:
        """Whether another worker wrote something that `refresh` has not read yet. Does not ask the database.

        Asking it beside a thread that writes by the same connection would have that fail as busy, at once.
        """
        return self._worker is not None and self._seen != LINKED.others(self._worker)

    def refresh(self) -> bool:
        """Read again where another worker wrote something, and whether that was so."""
        if self._worker is None or not self.is_stale():
            return False
        with self._lock, self._errors():
            self._seen = LINKED.others(self._worker)
            self._read()
        return True

    def _written(self) -> None:
        """Tell the other workers, before anybody is answered."""
        if self._worker is not None:
            LINKED.add(self._worker)

    def _connect(self, mode: str) -> sqlite3.Connection:
        where = f"file:{quote(str(self._path))}?mode={mode}"
        return sqlite3.connect(where, uri=True, timeout=30, check_same_thread=False, isolation_level=None)

    def _connect_reading(self) -> sqlite3.Connection:
        db = self._connect("ro")
        try:
            db.execute("SELECT count(*) FROM links")
        except sqlite3.OperationalError:
            db.close()
            db = self._connect("ro&immutable=1")  # a medium that cannot be written to, even for a lock
        return db

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UnreachableError(
                "io-failed", f"what was pushed cannot be noted: {error}", where=str(self._path)
            ) from error

    def close(self) -> None:
        """Close the file, and let another server have it."""
        self._db.close()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def of(self, repository: str, kind: Kind) -> tuple[Digest, ...]:
        """What a repository has of a kind."""
        return tuple(self._links[kind].get(repository, ()))

    def has(self, repository: str, digest: Digest, kind: Kind) -> bool:
        """Whether a repository has it."""
        return digest in self._links[kind].get(repository, ())

    def knows(self, repository: str) -> bool:
        """Whether anything was pushed to a repository that nothing names yet."""
        return bool(self._links["blob"].get(repository) or self._links["manifest"].get(repository))

    def repositories(self, digest: Digest) -> set[str]:
        """Those that have a blob."""
        return {repository for repository, found in tuple(self._links["blob"].items()) if digest in found}

    def needed(self) -> set[Digest]:
        """Everything that must not be collected."""
        with self._lock:
            kinds = (self._links["blob"], self._links["manifest"])
            return {digest for kind in kinds for found in kind.values() for digest in found}

    def add(self, repository: str, digest: Digest, kind: Kind) -> None:
        """Note it; it is in the file when this returns."""
        now = time.time()
        with self._lock, self._errors():
            self._db.execute("INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?)", (repository, digest, kind, now))
            # Replaced as a whole: readers on other threads go through it without a lock.
            self._links[kind][repository] = {**self._links[kind].get(repository, {}), digest: now}
            self._written()

    def remove(self, repository: str, digests: Iterable[Digest], kind: Kind) -> None:
        """Forget some."""
        gone = set(digests)
        with self._lock, self._errors():
            rows = [(repository, digest, kind) for digest in gone if self.has(repository, digest, kind)]
            if not rows:
                return
            self._db.executemany("DELETE FROM links WHERE repository = ? AND digest = ? AND kind = ?", rows)
            found = self._links[kind].get(repository, {})
            self._links[kind][repository] = {digest: at for digest, at in found.items() if digest not in gone}
            self._written()

    def expire(self, before: float) -> None:
        """Forget blobs and manifests noted before a time; what is hidden stays so."""
        with self._lock, self._errors():
            self._db.execute("DELETE FROM links WHERE at < ? AND kind <> 'hidden'", (before,))
            kinds: tuple[Kind, ...] = ("blob", "manifest")
            for kind in kinds:
                self._links[kind] = {
                    repository: kept
                    for repository, found in self._links[kind].items()
                    if (kept := {digest: at for digest, at in found.items() if at >= before})
                }
            self._written()


def _remember(
    links: dict[Kind, dict[str, dict[Digest, float]]], repository: str, digest: str, kind: str, at: float
) -> None:
    try:
        for known, found in links.items():
            if kind == known:
                found.setdefault(repository, {})[Digest(digest)] = at
    except UsageError:
        return  # nobody of ours wrote that


def _hold(path: Path) -> int:
    """Be the one server that takes pushes. Raises UsageError `store-busy`."""
    descriptor = files.open_for_writing(path)
    if not files.try_lock(descriptor, path):
        os.close(descriptor)
        raise UsageError("store-busy", "another server takes pushes for this store", where=str(path.parent))
    return descriptor


@contextmanager
def holding(store: Path) -> Iterator[None]:
    """Be the one server that takes pushes, for workers that do not hold that themselves."""
    descriptor = _hold(store / f"{FILE}.lock")
    try:
        yield
    finally:
        os.close(descriptor)


def open_links(store: Path, *, writable: bool, worker: int | None = None) -> Links | None:
    """Those of a store; None where it is only read and has none. Raises UsageError `store-busy`."""
    path = store / FILE
    if not writable and not os.path.exists(path):
        return None
    return Links(path, writable=writable, worker=worker if writable else None)
