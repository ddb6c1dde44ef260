"""`index.sqlite`: who points to what, so that a question does not read every manifest.

It can be thrown away at any time: it is made again from the layout where it is missing, damaged, of another
version, or where it cannot be written. It is never the source of truth: it only says where to look, and what
it names is read and verified before anyone believes it. Not here: collection, which walks the manifests.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from isthmus.errors import IsthmusError, UnreachableError
from isthmus.oci import Digest, Manifest, parse_manifest
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.store import files
from isthmus.store.blobs import BlobDirectory
from isthmus.store.index import Fingerprint, Index

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE layout (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE manifests (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, subject TEXT) WITHOUT ROWID",
    "CREATE TABLE edges (parent TEXT, child TEXT, nested INTEGER, PRIMARY KEY (parent, child)) WITHOUT ROWID",
    "CREATE INDEX edges_child ON edges (child)",
    "CREATE INDEX manifests_subject ON manifests (subject) WHERE subject IS NOT NULL",
)
_WAIT = 30.0  # seconds for another process's transaction
_T = TypeVar("_T")


class Database:
    """The edges between manifests and blobs. Safe for threads; other processes may use the same file."""

    def __init__(self, path: Path, blobs: BlobDirectory) -> None:
        self._path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        self._blobs = blobs
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._seen: Fingerprint = ""

    def close(self) -> None:
        """Close the file; the next question opens it again."""
        with self._mutex:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                self._seen = ""

    def learn(self, manifests: Sequence[Manifest]) -> None:
        """Remember manifests, before their blobs get their names: a crash leaves too much, not too little."""

        def run(db: sqlite3.Connection) -> None:
            for manifest in manifests:
                _insert(db, manifest)

        self._do(run)

    def forget(self, digests: Iterable[Digest]) -> None:
        """Drop what was collected."""
        rows = [(digest,) for digest in digests]

        def run(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM edges WHERE parent = ?", rows)
            db.executemany("DELETE FROM manifests WHERE digest = ?", rows)

        self._do(run)

    def refresh(self, index: Index, mark: Fingerprint) -> None:
        """Learn what `index.json` leads to, where it changed (an outside tool may have added images)."""
        with self._mutex:
            self._do(lambda _: None, write=False)  # opens it where it is not open
            if self._seen == mark:
                return
            self._do(lambda db: self._follow(db, index, mark))
            self._seen = mark

    def referrers(self, subject: Digest) -> tuple[Digest, ...]:
        """Manifests whose subject this may be, sorted; they may be gone."""
        return self._column("SELECT digest FROM manifests WHERE subject = ? ORDER BY digest", subject)

    def with_subject(self) -> tuple[Digest, ...]:
        """Every manifest that has a subject, sorted; they may be gone."""
        return self._column("SELECT digest FROM manifests WHERE subject IS NOT NULL ORDER BY digest")

    def parents(self, child: Digest) -> tuple[Digest, ...]:
        """Manifests that name a blob or manifest as a part, sorted."""
        return self._column("SELECT parent FROM edges WHERE child = ? ORDER BY parent", child)

    def subject_of(self, digest: Digest) -> tuple[Digest, ...]:
        """The subject that a manifest names, if it does."""
        return self._column("SELECT subject FROM manifests WHERE digest = ? AND subject IS NOT NULL", digest)

    def _column(self, query: str, *values: str) -> tuple[Digest, ...]:
        rows = self._do(lambda db: db.execute(query, values).fetchall(), write=False)
        return tuple(digest for row in rows if (digest := _digest(row[0])) is not None)

    def _do(self, work: Callable[[sqlite3.Connection], _T], *, write: bool = True) -> _T:
        """Run one transaction; where the file turns out to be damaged it is made anew, once."""
        with self._mutex:
            try:
                return self._transact(work, write=write)
            except sqlite3.Error as error:
                if _is_busy(error):
                    raise self._failed(error) from error
            self.close()
            try:
                return self._transact(work, write=write)
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> UnreachableError:
        return UnreachableError("io-failed", f"the index cannot be used: {error}", where=str(self._path))

    def _transact(self, work: Callable[[sqlite3.Connection], _T], *, write: bool) -> _T:
        if self._connection is None:
            self._connection = self._open()
        if write:
            self._connection.execute("BEGIN IMMEDIATE")
        with self._connection as db:
            return work(db)

    def _open(self) -> sqlite3.Connection:
        files.regular_size(self._path)  # a link would have SQLite write elsewhere
        try:
            connection = self._open_sound()
            if connection is None:
                with files.locked(self._lock_path):
                    connection = self._open_sound() or self._remake()
        except UnreachableError as error:
            if not files.is_read_only(error):
                raise
            return self._build(_connect(":memory:"))  # a medium that cannot be written to
        return connection

    def _open_sound(self) -> sqlite3.Connection | None:
        if files.regular_size(self._path) is None:
            return None
        connection = None
        try:
            connection = _connect(str(self._path))
            if _is_sound(connection):
                return connection
        except sqlite3.Error as error:
            if _is_busy(error):
                raise
        if connection is not None:
            connection.close()
        return None

    def _remake(self) -> sqlite3.Connection:
        for suffix in ("", "-wal", "-shm", "-journal"):
            files.remove_if_there(self._path.with_name(self._path.name + suffix))
        return self._build(_connect(str(self._path)))

    def _build(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Make the tables and fill them from every manifest on disk, named or not."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            with connection as db:
                for statement in _SCHEMA:
                    db.execute(statement)
                for manifest in manifests_on_disk(self._blobs):
                    _insert(db, manifest)
                db.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _follow(self, db: sqlite3.Connection, index: Index, mark: Fingerprint) -> None:
        row = db.execute("SELECT value FROM layout WHERE key = 'index'").fetchone()
        if row and row[0] == mark:
            return
        known = {row[0] for row in db.execute("SELECT digest FROM manifests")}
        children = db.execute("SELECT DISTINCT child FROM edges WHERE nested").fetchall()
        todo = [entry.descriptor.digest for entry in index.entries if entry.descriptor.is_manifest]
        todo += [child for row in children if (child := _digest(row[0])) is not None]
        while todo:
            digest = todo.pop()
            if digest in known:
                continue
            known.add(digest)
            manifest = manifest_or_none(self._blobs, digest)
            if manifest is not None:
                _insert(db, manifest)
                todo += [child.digest for child in manifest.manifests]
        db.execute("INSERT OR REPLACE INTO layout VALUES ('index', ?)", (mark,))


def _connect(place: str) -> sqlite3.Connection:
    connection = sqlite3.connect(place, timeout=_WAIT, check_same_thread=False, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # a power cut costs a file that is made again
    except BaseException:
        connection.close()
        raise
    return connection


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _is_sound(connection: sqlite3.Connection) -> bool:
    """Whether the file is whole, of this version, and has our tables and nothing else (no triggers)."""
    if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        return False
    with closing(connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")) as rows:
        if {row[0] for row in rows} != set(_SCHEMA):
            return False
    return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")


def _digest(value: object) -> Digest | None:
    """A digest from the file, which may hold anything."""
    try:
        return Digest(value) if isinstance(value, str) else None
    except IsthmusError:
        return None


def _insert(db: sqlite3.Connection, manifest: Manifest) -> None:
    subject = manifest.subject.digest if manifest.subject else None
    db.execute(
        "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?)", (manifest.digest, manifest.media_type, subject)
    )
    parts = [(part, 0) for part in manifest.blobs] + [(child, 1) for child in manifest.manifests]
    db.executemany(
        "INSERT OR REPLACE INTO edges VALUES (?, ?, ?)",
        [(manifest.digest, part.digest, nested) for part, nested in parts],
    )


def manifests_on_disk(blobs: BlobDirectory) -> Iterator[Manifest]:
    """Every blob that is a manifest or an index, whoever names it; damaged ones are left out."""
    for digest, size in blobs:
        if 2 <= size <= MAX_MANIFEST_SIZE and begins_like_json(blobs.path(digest)):
            manifest = manifest_or_none(blobs, digest)
            if manifest is not None:
                yield manifest


def begins_like_json(path: Path) -> bool:
    """Whether a file may be a manifest; a look at its first bytes spares reading layers."""
    descriptor = files.open_for_reading(path)
    if descriptor is None:
        return False
    try:
        with files.io_errors(path):
            return os.read(descriptor, 64).lstrip().startswith(b"{")
    finally:
        os.close(descriptor)


def manifest_or_none(blobs: BlobDirectory, digest: Digest) -> Manifest | None:
    """The manifest, verified, or None where the blob is absent, damaged or something else."""
    try:
        raw = blobs.read(digest, MAX_MANIFEST_SIZE)
        return parse_manifest(raw, algorithm=digest.algorithm)
    except UnreachableError:
        raise
    except IsthmusError:
        return None
