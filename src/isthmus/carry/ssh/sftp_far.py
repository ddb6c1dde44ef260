"""A far side without a shell: files by SFTP alone, which cannot hash. Bytes are compared by reading them back.

All of them where that was asked for, otherwise size and the last mebibyte, which is what `verified` says.
"""

import hashlib
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from isthmus.bundle.medium import MediumFile
from isthmus.carry.ssh.far import TAIL, Found, View, hash_of, read_through
from isthmus.carry.ssh.link import Link
from isthmus.carry.ssh.sftp import BLOCK, CREATE, READ, TRUNCATE, WRITE, Sftp
from isthmus.carry.ssh.shell import differs

if TYPE_CHECKING:
    from hashlib import _Hash as Hash


class SftpFar:
    """A directory behind an SFTP server; every thread has a session of its own."""

    def __init__(self, link: Link, directory: str, *, read_back: bool) -> None:
        self._link = link
        self._directory = directory
        self._read_back = read_back
        self._own = threading.local()
        self._all: list[Sftp] = []
        self._lock = threading.Lock()

    @property
    def verified(self) -> str:
        """See `FarSide`."""
        return "read-back" if self._read_back else "size"

    def look(self, names: Sequence[str], *, create: bool) -> View:
        """See `FarSide`."""
        session = self._session()
        if create:
            session.make_directory(self._directory)
        found = [Found(session.size(self._path(name)), session.size(self._path(f"{name}.part"))) for name in names]
        return View(found, session.free(self._directory))

    def same(self, name: str, source: MediumFile, length: int) -> "Hash | None":
        """See `FarSide`."""
        if not length:
            return hashlib.sha256()
        session, path = self._session(), self._path(name)
        handle = session.open(path, READ)
        alike, start = True, 0 if self._read_back else max(0, length - TAIL)
        try:
            local = read_through(source, start, length, BLOCK)
            for block in session.read(handle, start, length, path):
                alike = alike and block == next(local)
        finally:
            session.shut(handle)
        return hash_of(source, length) if alike else None

    def write(self, name: str, offset: int, pieces: Iterable[memoryview]) -> None:
        """See `FarSide`."""
        session, path = self._session(), self._path(name)
        if "/" in name and not offset:
            session.make_directory(path.rpartition("/")[0])
        handle = session.open(path, WRITE | CREATE | (0 if offset else TRUNCATE))
        session.write(handle, offset, pieces, path)
        session.flush(handle)
        session.shut(handle)

    def commit(self, part: str, name: str, source: MediumFile, sha256: str) -> None:
        """See `FarSide`; the server cannot hash, so `sha256` only shows that the source is still the same."""
        session, path = self._session(), self._path(part)
        digest = self.same(part, source, source.size) if session.size(path) == source.size else None
        if digest is None or digest.hexdigest() != sha256:
            raise differs(self._link.where, name)
        session.rename(path, self._path(name))

    def close(self) -> None:
        """End all sessions."""
        for session in self._all:
            session.close()

    def _session(self) -> Sftp:
        session: Sftp | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = Sftp(self._link)
            with self._lock:
                self._all.append(session)
        return session

    def _path(self, name: str) -> str:
        return f"{self._directory.rstrip('/')}/{name}"
