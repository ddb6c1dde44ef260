"""Sending files over SSH: several at a time, from where an earlier try ended, and verified on the far side.

A file has the name NAME.part until the far side has all of it. Not here: how the far side is spoken to
(`shell`, `sftp_far`).
"""

import hashlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final

from isthmus.bundle.medium import open_regular
from isthmus.carry.ssh.address import Address
from isthmus.carry.ssh.far import FarSide, Found, View, read_through
from isthmus.carry.ssh.link import Link
from isthmus.carry.ssh.local_files import PART, LocalFile, list_files
from isthmus.carry.ssh.pace import Pace
from isthmus.carry.ssh.sftp_far import SftpFar
from isthmus.carry.ssh.shell import NoShellError, Shell, sane
from isthmus.errors import UnreachableError
from isthmus.oci.content import CHUNK
from isthmus.progress import Meter, Progress, silent

STALL: Final = 300.0
"""Seconds; a far side that flushes a large cache to a slow disk may rest for a minute."""
_LOOK: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sent:
    """What was done, in bytes of files: sent now, and `skipped` since the far side had them.

    `verified` says how the far side's bytes were compared: `sha256`, `read-back` (all of them), or `size` (size
    and the last mebibyte). `replaced` files were there with other bytes. `files` counts all.
    """

    bytes: int
    skipped: int
    seconds: float
    files: int
    verified: str
    replaced: tuple[str, ...]


def send(
    sources: Iterable[str | os.PathLike[str]],
    link: Link,
    *,
    streams: int = 4,
    limit: int = 0,
    read_back: bool = False,
    dry_run: bool = False,
    stall: float = STALL,
    progress: Progress = silent,
) -> Sent:
    """Send directories and files into the link's directory; `limit` in bytes a second, 0 for none.

    Where the far side takes nothing of a file for `stall` seconds, 0 for ever, the link is given up.

    Raises UsageError for what cannot be sent, UnreachableError (`unreachable`, `unauthorized`, `refused`,
    `io-failed`, `protocol`), VerificationError `digest-mismatch` and `size-mismatch`. What arrived stays, and the
    next call goes on there.
    """
    files = list_files(sources)
    started = time.monotonic()
    far, view = far_side(link, [file.name for file in files], read_back=read_back, create=not dry_run)
    try:
        work = _Work(far, Pace(limit), Meter(sum(file.size for file in files), progress), stall)
        if dry_run:
            work.foresee(files, view.found)
        else:
            _require_room(files, view, link.address)
            work.run(files, view.found, streams, link)
        seconds = time.monotonic() - started
        return Sent(work.sent, work.skipped, seconds, len(files), far.verified, tuple(sorted(work.replaced)))
    finally:
        far.close()


def far_side(link: Link, names: Sequence[str], *, read_back: bool, create: bool) -> tuple[FarSide, View]:
    """The far directory, by its shell or, where it has none, by SFTP; and what there is of these files."""
    directory = sane(link.address.directory)
    if link.address.scheme == "ssh":
        shell = Shell(link, directory, read_back=read_back)
        try:
            return shell, shell.look(names, create=create)
        except NoShellError:
            pass
    far = SftpFar(link, directory, read_back=read_back)
    try:
        return far, far.look(names, create=create)
    except BaseException:
        far.close()
        raise


def _require_room(files: Sequence[LocalFile], view: View, address: Address) -> None:
    needed = sum(
        file.size - min(file.size, found.part or 0)
        for file, found in zip(files, view.found, strict=True)
        if found.whole != file.size
    )
    if view.free is not None and needed > view.free:
        raise UnreachableError(
            "io-failed",
            f"the far side has {view.free} bytes free, and {needed} are to come",
            where=f"{address}{address.directory}",
            hint="free some space there, then run the same command again",
        )


@dataclass
class _Work:
    """Files on their way, in several threads."""

    far: FarSide
    pace: Pace
    meter: Meter
    stall: float = 0.0
    sent: int = 0
    skipped: int = 0
    replaced: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _given: dict[str, float] = field(default_factory=dict)
    """When the far side was given what it has not taken yet, by file."""

    def foresee(self, files: Sequence[LocalFile], found: Sequence[Found]) -> None:
        """Count what would be sent, by size alone; nothing is read there."""
        for file, there in zip(files, found, strict=True):
            held = file.size if there.whole == file.size else min(there.part or 0, file.size)
            self.skipped += held
            self.sent += file.size - held

    def run(self, files: Sequence[LocalFile], found: Sequence[Found], streams: int, link: Link) -> None:
        """Send all; the first failure ends the others."""
        with ThreadPoolExecutor(max(1, streams), "isthmus-send") as pool:
            jobs = [pool.submit(self._file, *pair) for pair in zip(files, found, strict=True)]
            try:
                while wait(jobs, _LOOK, FIRST_EXCEPTION).not_done and not any(_has_failed(job) for job in jobs):
                    self._look(link)
                failed = next((job for job in jobs if _has_failed(job)), None)
                if failed:
                    failed.result()
            except BaseException:
                self._stopped.set()
                for job in jobs:
                    job.cancel()
                link.close()  # whoever waits for the far side waits no more
                raise

    def _look(self, link: Link) -> None:
        """Raise UnreachableError where the far side has taken nothing of a file for too long."""
        longest = min(list(self._given.values()), default=None)
        if self.stall and longest is not None and time.monotonic() - longest > self.stall:
            raise UnreachableError(
                "unreachable",
                f"the far side takes nothing any more, for {self.stall:.0f} seconds",
                where=str(link.address),
                hint="look at its disk, then run the same command again: it goes on where it stopped; see --stall",
                temporary=True,
            )

    def _file(self, file: LocalFile, there: Found) -> None:
        part = file.name + PART
        with open_regular(file.path) as source:
            if there.whole is not None:
                if there.whole == file.size and self.far.same(file.name, source, file.size) is not None:
                    self._count(file.size, 0, file.name)
                    return
                with self._lock:
                    self.replaced.add(file.name)
            begun = there.part or 0
            digest = self.far.same(part, source, begun) if begun <= file.size else None
            offset = begun if digest is not None else 0
            digest = digest or hashlib.sha256()
            self._count(offset, 0, file.name)

            def pieces() -> Iterator[memoryview]:
                for piece in read_through(source, offset, file.size, self.pace.piece(CHUNK)):
                    self._given.pop(file.name, None)
                    if self._stopped.is_set():
                        return
                    self.pace.wait(len(piece))
                    digest.update(piece)
                    self._given[file.name] = time.monotonic()
                    yield piece
                    self._count(0, len(piece), file.name)

            if offset < file.size or not begun:
                self.far.write(part, offset, pieces())
                self._given.pop(file.name, None)
            if not self._stopped.is_set():
                self.far.commit(part, file.name, source, digest.hexdigest())

    def _count(self, skipped: int, sent: int, label: str) -> None:
        with self._lock:
            self.skipped += skipped
            self.sent += sent
        self.meter.add(skipped + sent, label)


def _has_failed(job: Future[Any]) -> bool:
    return job.done() and job.exception() is not None
