"""`state.sqlite` of a workspace: what former runs completed in which registry, and uploads that they left open.

It can be thrown away at any time, which costs requests and nothing else: it says what is worth a question,
and what it names is asked for before anyone believes it, except within a time that the user chose. A file
that is damaged, of another version or not writable is replaced, or done without. The place of an open upload
may carry the registry's leave to write there, so that only the owner can read the file. Not here: the
questions (`survey`).
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from isthmus.errors import IsthmusError
from isthmus.oci import Descriptor, Digest

_VERSION = 2
_ITEM = """
CREATE TABLE item (id INTEGER PRIMARY KEY, target TEXT NOT NULL, repository TEXT NOT NULL, tags TEXT NOT NULL,
  digest TEXT NOT NULL, content TEXT NOT NULL, root TEXT NOT NULL, media_type TEXT NOT NULL,
  size INTEGER NOT NULL, verified REAL NOT NULL, UNIQUE (target, repository, tags, digest, content))"""
_PIECE = """
CREATE TABLE piece (blob BLOB NOT NULL, item INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
  PRIMARY KEY (blob, item)) WITHOUT ROWID"""
_UPLOAD = """
CREATE TABLE upload (target TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL, location TEXT NOT NULL,
  kept REAL NOT NULL, PRIMARY KEY (target, repository, digest)) WITHOUT ROWID"""
_FIRST_SCHEMA = (_ITEM.strip(), _PIECE.strip(), "CREATE INDEX piece_item ON piece (item)")
_SCHEMA = (*_FIRST_SCHEMA, _UPLOAD.strip())
_WAIT = 30.0  # seconds for another process's transaction
_FORGET_AFTER = 180 * 86400.0
_UPLOADS_LIVE = 7 * 86400.0  # as long as Distribution keeps them
_LONGEST_LOCATION = 16 * 1024
_BATCH = 500  # items that are written at once

Key = tuple[str, str, str, str]


class Remembered(msgspec.Struct, frozen=True):
    """An item that was complete at the time `verified` (seconds since 1970), and what its tags point to."""

    repository: str
    tags: str
    digest: str
    content: str
    root: Descriptor
    verified: float

    @property
    def key(self) -> Key:
        """What tells it from others of the same registry."""
        return (self.repository, self.tags, self.digest, self.content)


class Memory:
    """What is remembered of one registry. Safe for threads; what was noted is written by `save`."""

    def __init__(self, path: Path, target: str) -> None:
        self._path = path
        self._target = target
        self._lock = threading.Lock()
        self._db = _open(path)
        self._noted: list[tuple[Remembered, Sequence[bytes]]] = []
        self._again: list[Remembered] = []
        self._knows_any = bool(self._all("SELECT 1 FROM item WHERE target = ? LIMIT 1", target))

    def recall(self) -> Mapping[Key, Remembered]:
        """Everything that former runs completed."""
        rows = self._all(
            "SELECT repository, tags, digest, content, media_type, root, size, verified FROM item "
            "WHERE target = ?",
            self._target,
        )
        found: dict[Key, Remembered] = {}
        for repository, tags, digest, content, media_type, root, size, verified in rows:
            try:
                descriptor = Descriptor(str(media_type), Digest(str(root)), int(size))
                key = (str(repository), str(tags), str(digest), str(content))
                one = Remembered(*key, descriptor, float(verified))
            except (IsthmusError, ValueError, TypeError):
                continue  # the file may hold anything
            found[one.key] = one
        return found

    def holder(self, digest: Digest) -> str:
        """A repository that had a blob; the latest one first."""
        if not self._knows_any:
            return ""
        rows = self._all(
            "SELECT repository FROM piece JOIN item ON item.id = piece.item WHERE blob = ? AND target = ? "
            "ORDER BY verified DESC LIMIT 1",
            _packed(digest),
            self._target,
        )
        return str(rows[0][0]) if rows else ""

    def blobs(self, items: Sequence[Key]) -> int:
        """How many different blobs these items have."""
        found: set[bytes] = set()
        for key in items:
            rows = self._all(
                "SELECT blob FROM piece JOIN item ON item.id = piece.item "
                "WHERE target = ? AND repository = ? AND tags = ? AND digest = ? AND content = ?",
                self._target,
                *key,
            )
            found.update(row[0] for row in rows)
        return len(found)

    def add(self, item: Remembered, blobs: Iterable[Descriptor]) -> None:
        """Note a completed item."""
        packed = [_packed(blob.digest) for blob in blobs]
        with self._lock:
            self._noted.append((item, packed))
            many = len(self._noted) >= _BATCH
        if many:
            self.save()

    def seen_again(self, item: Remembered) -> None:
        """Note that an item is still there."""
        with self._lock:
            self._again.append(item)

    def find_upload(self, repository: str, digest: Digest) -> str:
        """Where an upload that a former run left open goes on, or nothing."""
        rows = self._all(
            "SELECT location FROM upload WHERE target = ? AND repository = ? AND digest = ? AND kept > ?",
            self._target, repository, digest, time.time() - _UPLOADS_LIVE,
        )  # fmt: skip
        return str(rows[0][0]) if rows else ""

    def keep_upload(self, repository: str, digest: Digest, location: str) -> None:
        """Write at once where an upload goes on: the run may be killed at any moment."""
        if len(location) <= _LONGEST_LOCATION:
            values = (self._target, repository, digest, location, time.time())
            self._do("INSERT OR REPLACE INTO upload VALUES (?, ?, ?, ?, ?)", *values)

    def forget_upload(self, repository: str, digest: Digest) -> None:
        """It is finished or lost."""
        where = "target = ? AND repository = ? AND digest = ?"
        self._do(f"DELETE FROM upload WHERE {where}", self._target, repository, digest)  # noqa: S608

    def _do(self, statement: str, *values: object) -> None:
        with self._lock:
            try:
                with self._db as db:
                    db.execute(statement, values)
            except sqlite3.Error as error:
                _warn("%s cannot be written, an interrupted upload will start again: %s", self._path, error)

    def save(self) -> None:
        """Write what was noted; where that fails, say so in the log and go on without."""
        with self._lock:
            try:
                with self._db as db:
                    self._write(db)
            except sqlite3.Error as error:
                _warn("%s cannot be written, the next run will ask more: %s", self._path, error)
            self._noted, self._again = [], []

    def _write(self, db: sqlite3.Connection) -> None:
        now = time.time()
        db.executemany(
            "UPDATE item SET verified = ? "
            "WHERE target = ? AND repository = ? AND tags = ? AND digest = ? AND content = ?",
            [(now, self._target, *item.key) for item in self._again],
        )
        for item, blobs in self._noted:
            root = item.root
            cursor = db.execute(
                "INSERT OR REPLACE INTO item "
                "(target, repository, tags, digest, content, root, media_type, size, verified) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (self._target, *item.key, root.digest, root.media_type, root.size, item.verified),
            )
            db.executemany(
                "INSERT OR IGNORE INTO piece VALUES (?, ?)", [(blob, cursor.lastrowid) for blob in blobs]
            )
        db.execute("DELETE FROM item WHERE verified < ?", (now - _FORGET_AFTER,))
        db.execute("DELETE FROM upload WHERE kept < ?", (now - _UPLOADS_LIVE,))

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.Error as error:
                _warn("%s cannot be read, it is done without: %s", self._path, error)
                return []

    def close(self) -> None:
        """Save and close."""
        self.save()
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path) -> sqlite3.Connection:
    """The database, made anew where it is no use, in memory where there can be no file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _sound(path)
        if found is None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            found = _sound(path)
        if found is not None:
            return found
        _warn("%s cannot be used, it is done without", path)
    except (OSError, sqlite3.Error) as error:
        _warn("%s cannot be used, it is done without: %s", path, error)
    connection = _connect(":memory:")
    with connection as db:
        _make_tables(db)
    return connection


def _sound(path: Path) -> sqlite3.Connection | None:
    """The file, with its tables made where it is new; None where it holds something else."""
    connection = None
    try:
        _keep_to_oneself(path)
        connection = _connect(str(path))
        with connection as db:
            db.execute("BEGIN IMMEDIATE")  # another process may be making the same tables
            if _tables(db) == set() and not _version(db):
                _make_tables(db)
            elif _version(db) == 1 and _tables(db) == set(_FIRST_SCHEMA):
                db.execute(_UPLOAD.strip())
                db.execute(f"PRAGMA user_version = {_VERSION}")
            is_sound = _version(db) == _VERSION and _tables(db) == set(_SCHEMA)
        if is_sound:
            return connection
    except sqlite3.DatabaseError as error:
        if connection is not None:
            connection.close()
        if error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise
        return None
    connection.close()
    return None


def _keep_to_oneself(path: Path) -> None:
    """Mode 0600, for the file and those that SQLite puts beside it, which take it over; raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _version(db: sqlite3.Connection) -> object:
    return db.execute("PRAGMA user_version").fetchone()[0]


def _tables(db: sqlite3.Connection) -> set[object]:
    return {row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()}


def _make_tables(db: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {_VERSION}")


def _connect(place: str) -> sqlite3.Connection:
    connection = sqlite3.connect(place, timeout=_WAIT, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # a power cut costs a file that is made again
    except BaseException:
        connection.close()
        raise
    return connection


def _packed(digest: Digest) -> bytes:
    return bytes.fromhex(digest.hex)


def _warn(message: str, *values: object) -> None:
    import logging  # not loaded where all is well

    logging.getLogger(__name__).warning(message, *values)
