"""The receiving end: datagrams from a thread that does nothing else, a catalogue, then symbols into files.

Nothing is ever sent. Not here: what symbols are (`assembling`), what is on disk (`staging`).
"""

import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from isthmus.bundle.locking import exclusive
from isthmus.carry.diode.address import Diode, parse_diode, receiving_socket
from isthmus.carry.diode.announcing import Announcements
from isthmus.carry.diode.assembling import Assembly
from isthmus.carry.diode.catalogue import Catalogue
from isthmus.carry.diode.lacking import FILE, as_json, document_of
from isthmus.carry.diode.packets import LARGEST, Kind, Packet, parse
from isthmus.carry.diode.staging import Staging, conflicts, is_here, staged, write_list
from isthmus.errors import IncompleteError, IsthmusError
from isthmus.progress import Progress, silent

_BATCH: Final = 128 * 1024
_BATCH_COUNT: Final = 256
_BATCHES: Final = 160
_WAIT: Final = 0.2
_BUSY: Final = "another process receives into this directory"
_MOST_RANGES: Final = 20


@dataclass(frozen=True, slots=True)
class Received:
    """What arrived: bytes and paths of the files; datagrams taken, those that were not ours, symbols decoded."""

    bytes: int
    files: tuple[str, ...]
    seconds: float
    session: str
    datagrams: int
    refused: int
    rebuilt: int


class _SilenceError(Exception):
    """Nothing of the session came for as long as was said."""


def receive(
    source: str | Diode,
    directory: str | os.PathLike[str],
    *,
    timeout: float | None = None,
    progress: Progress = silent,
    ready: threading.Event | None = None,
) -> Received:
    """Receive one session into a directory; returns when all its files are there with their SHA-256.

    What was begun there goes on. After `timeout` seconds without a datagram of the session (None: never),
    IncompleteError `missing-content` whose one item is the document that is also in `lacking.json`; that file is
    written at the end of each pass, too. Raises UsageError, UnreachableError (`unreachable`, `io-failed`).
    """
    diode = parse_diode(source) if isinstance(source, str) else source
    place = Path(directory)
    started = time.monotonic()
    with exclusive(place, _BUSY), receiving_socket(diode) as link, _reader(link) as batches:
        receiver = _Receiver(diode, place, progress)
        if ready is not None:
            ready.set()
        try:
            for batch in _until_silent(batches, receiver, timeout):
                if receiver.batch(batch):
                    break
        except _SilenceError:
            raise receiver.lacking(f"nothing came for {timeout:g} seconds") from None
        finally:
            receiver.close()
    catalogue = receiver.catalogue
    assert catalogue is not None
    paths = tuple(file.path for file in catalogue.files)
    seconds = time.monotonic() - started
    return Received(
        catalogue.bytes,
        paths,
        seconds,
        catalogue.session.hex(),
        receiver.taken,
        receiver.refused,
        receiver.rebuilt,
    )


def _until_silent(
    batches: "queue.Queue[Sequence[bytes]]", receiver: "_Receiver", timeout: float | None
) -> Iterator[Sequence[bytes]]:
    while True:
        try:
            yield batches.get(timeout=_WAIT)
        except queue.Empty:
            receiver.idle()
        if timeout is not None and time.monotonic() - receiver.heard > timeout:
            raise _SilenceError


@dataclass
class _Receiver:
    """A session coming in, or none yet."""

    diode: Diode
    place: Path
    progress: Progress
    taken: int = 0
    refused: int = 0
    heard: float = field(default_factory=time.monotonic)
    catalogue: Catalogue | None = None
    assembly: Assembly | None = None
    ended: int = -1

    def __post_init__(self) -> None:
        found = staged(self.place)
        self.known = {c.session: c for c in found if c.session.hex().startswith(self.diode.session)}
        self.announcements = Announcements(self.diode.session)

    @property
    def rebuilt(self) -> int:
        """Symbols that were decoded."""
        return self.assembly.rebuilt if self.assembly else 0

    def batch(self, datagrams: Sequence[bytes]) -> bool:
        """Take datagrams; whether all is here."""
        for datagram in datagrams:
            packet = parse(datagram)
            if packet is None:
                self.refused += 1
            elif self._take(packet) and self._finish():
                return True
        self.idle()
        return False

    def idle(self) -> None:
        """What is to be done every now and then."""
        if self.assembly:
            self.assembly.tick()
            self.progress(self.assembly.received_bytes, self.assembly.staging.catalogue.bytes, "")

    def close(self) -> None:
        """Keep what is here."""
        if self.assembly:
            try:
                if self.assembly.remaining:
                    self.assembly.keep()
            finally:
                self.assembly.staging.close()

    def lacking(self, why: str) -> IncompleteError:
        """What is lacking, written down and as an error."""
        if self.assembly is None:
            return IncompleteError(
                "missing-content",
                f"{why}: no session has begun",
                where=str(self.diode),
                hint="is the address right, and does the link let UDP through? "
                f"{self.refused} datagrams came that were none of Isthmus's",
            )
        document = self.write_list()
        ranges = [f"{file['path']} {start}-{end}" for file in document["files"] for start, end in file["ranges"]]
        listed = ", ".join(ranges[:_MOST_RANGES]) + (" …" if len(ranges) > _MOST_RANGES else "")
        total = self.assembly.staging.catalogue.bytes
        return IncompleteError(
            "missing-content",
            f"{why}, and {document['bytes']} of {total} bytes are lacking: {listed}",
            where=str(self.place / FILE),
            hint=f"receive again, and at the sender: isthmus send BUNDLE {self.diode} --only {document['code']}",
            items=[document],
        )

    def write_list(self) -> dict[str, Any]:
        """Write `lacking.json`."""
        assert self.assembly is not None
        self.assembly.keep()
        catalogue = self.assembly.staging.catalogue
        document = document_of(catalogue, self.assembly.lacking_blocks(), self.assembly.lacking_ranges())
        write_list(self.place, FILE, as_json(document))
        return document

    def _take(self, packet: Packet) -> bool:
        """Take a datagram; whether nothing is lacking now."""
        if self.catalogue is None:
            self._begin(packet)
        if self.catalogue is None or packet.session != self.catalogue.session:
            self.refused += packet.kind != Kind.CATALOGUE or self.catalogue is not None
            return False
        self.heard = time.monotonic()
        self.taken += 1
        if self.assembly is None:
            return True
        if packet.kind in (Kind.DATA, Kind.PARITY):
            self.refused += not self.assembly.take(packet)
        elif packet.kind == Kind.END and self.assembly.remaining and self.ended != packet.number:
            self.ended = packet.number
            self.write_list()
        return not self.assembly.remaining

    def _begin(self, packet: Packet) -> None:
        """Choose the session, where it is known now what it is."""
        catalogue = self.known.get(packet.session)
        if catalogue is None and packet.kind == Kind.CATALOGUE:
            catalogue = self.announcements.take(packet)
        if catalogue is None:
            return
        if is_here(self.place, catalogue):
            self.catalogue = catalogue
            return
        if conflicts(self.place, catalogue):
            self.announcements.ignore(catalogue.session)
            self.known.pop(catalogue.session, None)
            return
        try:
            staging = Staging(self.place, catalogue)
        except IsthmusError:
            if not self.diode.session and catalogue.session not in self.known:
                self.announcements.ignore(catalogue.session)
            raise
        self.assembly = Assembly(staging)
        self.catalogue = catalogue

    def _finish(self) -> bool:
        """Verify and publish; False where files must come again."""
        if self.assembly is None:
            return True
        self.assembly.keep()
        if self.assembly.staging.wrong_files():
            self.assembly.recount()
            self.write_list()
            return False
        self.assembly.staging.publish()
        (self.place / FILE).unlink(missing_ok=True)
        return True


@contextmanager
def _reader(link: socket.socket) -> "Iterator[queue.Queue[Sequence[bytes]]]":
    """A thread that takes datagrams off the socket, 20 MiB ahead at most."""
    batches: queue.Queue[Sequence[bytes]] = queue.Queue(_BATCHES)
    stop = threading.Event()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(_WAIT * 1e6)))
    thread = threading.Thread(target=_read, args=(link, batches, stop), name="isthmus-diode", daemon=True)
    thread.start()
    with ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(_drain, batches)
        stack.callback(stop.set)
        yield batches


def _read(link: socket.socket, batches: "queue.Queue[Sequence[bytes]]", stop: threading.Event) -> None:
    while not stop.is_set():
        batch, size = [], 0
        try:
            batch.append(link.recv(LARGEST))
            size = len(batch[0])
            while size < _BATCH and len(batch) < _BATCH_COUNT:
                batch.append(link.recv(LARGEST, socket.MSG_DONTWAIT))
                size += len(batch[-1])
        except OSError:
            pass  # nothing more for now
        while batch and not stop.is_set():
            try:
                batches.put(batch, timeout=_WAIT)
                break
            except queue.Full:
                continue


def _drain(batches: "queue.Queue[Sequence[bytes]]") -> None:
    while not batches.empty():
        batches.get_nowait()
