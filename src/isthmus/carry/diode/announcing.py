"""Putting together the catalogue of a session from its pieces, whoever else sends pieces of whatever.

A catalogue is believed when it has the SHA-256 that its session is named by. Not here: what it says (`catalogue`).
"""

import hashlib
from typing import Final

from isthmus.carry.diode.catalogue import MAX_CATALOGUE, Catalogue, read_catalogue
from isthmus.carry.diode.packets import SESSION_SIZE, TOTAL, Packet

_CANDIDATES: Final = 4
_SMALLEST_PIECE: Final = 64
_IGNORED: Final = 1000


class Announcements:
    """Pieces of four catalogues at most; the one that was not heard of for longest gives way."""

    def __init__(self, beginning: str = "") -> None:
        self._beginning = beginning
        self._pieces: dict[bytes, tuple[int, dict[int, bytes]]] = {}
        self._ignored: dict[bytes, None] = {}

    def ignore(self, session: bytes) -> None:
        """Hear no more of a session."""
        self._pieces.pop(session, None)
        self._ignored[session] = None
        if len(self._ignored) > _IGNORED:
            self._ignored.pop(next(iter(self._ignored)))

    def take(self, packet: Packet) -> Catalogue | None:
        """Take a piece; the catalogue, once it is whole and can do no harm."""
        if not packet.session.hex().startswith(self._beginning) or packet.session in self._ignored:
            return None
        if len(packet.payload) <= TOTAL.size:
            return None
        (total,) = TOTAL.unpack_from(packet.payload)
        piece = bytes(packet.payload[TOTAL.size :])
        end = packet.number + len(piece)
        if total > MAX_CATALOGUE or end > total or (len(piece) < _SMALLEST_PIECE and end != total):
            return None
        size, pieces = self._pieces.pop(packet.session, (0, {}))
        if len(self._pieces) >= _CANDIDATES:
            self._pieces.pop(next(iter(self._pieces)))
        size += len(piece) - len(pieces.get(packet.number, b""))
        pieces[packet.number] = piece
        self._pieces[packet.session] = (size, pieces)
        return self._whole(packet.session, pieces, total) if size >= total else None

    def _whole(self, session: bytes, pieces: dict[int, bytes], total: int) -> Catalogue | None:
        raw = b"".join(pieces[offset] for offset in sorted(pieces))
        self._pieces.pop(session)
        if len(raw) != total or hashlib.sha256(raw).digest()[:SESSION_SIZE] != session:
            return None
        try:
            return read_catalogue(raw)
        except ValueError:
            self.ignore(session)
            return None
