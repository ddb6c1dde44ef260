"""One blob in pieces: its data file, the journal of what is there, and the writer of a piece.

A journal line begins with a newline and ends with a semicolon, so that one that a crash tore is told from a
whole one, wherever the next was appended. `O;` says that a writer was opened, `FROM LENGTH;` that a piece is
there and was verified by its writer's caller. Not here: which blobs there are (`staging`).
"""

import os
import re
import threading
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from isthmus.errors import VerificationError
from isthmus.oci import Digest, Verifier
from isthmus.store import files
from isthmus.store.hashing import AT_ONCE, Hashing

Ranges: TypeAlias = list[tuple[int, int]]

OPENED = b"O"
_PIECE = re.compile(rb"([0-9]{1,19}) ([0-9]{1,19});")
_MAX_JOURNAL = 64 * 1024 * 1024


class Part:
    """The files of one blob that is not whole yet."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.journal = data.with_name(f"{data.name}.ranges")

    def append(self, word: bytes) -> None:
        """Add a line to the journal."""
        descriptor = files.open_for_writing(self.journal, os.O_APPEND)
        try:
            files.write_all(descriptor, b"\n" + word + b";", self.journal)
        finally:
            os.close(descriptor)

    def ranges(self) -> Ranges:
        """What is there, merged and sorted; a range beyond the end of the file is not believed."""
        present = files.regular_size(self.data) or 0
        found = sorted(
            (int(match[1]), int(match[1]) + int(match[2]))
            for line in self._lines()
            if (match := _PIECE.fullmatch(line))
        )
        merged: Ranges = []
        for start, end in found:
            if end > present:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def opened(self) -> int:
        """How many writers ever were, of any process."""
        return self._lines().count(OPENED + b";")

    def forget(self) -> None:
        """Remove both files, the journal first: it must never outlive the bytes that it vouches for."""
        files.remove_if_there(self.journal)
        files.remove_if_there(self.data)

    def _lines(self) -> list[bytes]:
        return (files.read_limited(self.journal, _MAX_JOURNAL) or b"").split(b"\n")


def holes(ranges: Ranges, size: int) -> Ranges:
    """What `ranges`, sorted and merged, leave out of 0 … `size`."""
    found: Ranges = []
    at = 0
    for start, end in ranges:
        if start > at:
            found.append((at, start))
        at = max(at, end)
    if at < size:
        found.append((at, size))
    return found


class Chain:
    """The hash of a blob whose pieces have come in order so far, and how many writers that took."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier
        self.writers = 0


class Chains:
    """Chains by digest, so that pieces in order need no second pass."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._chains: dict[Digest, Chain] = {}

    def take(self, digest: Digest, size: int, offset: int) -> Chain | None:
        """The chain that goes on at `offset`; a piece out of order breaks it."""
        with self._mutex:
            chain = Chain(Verifier(digest, size)) if offset == 0 else self._chains.pop(digest, None)
            self._chains.pop(digest, None)
            if chain is None or chain.verifier.count != offset:
                return None
            chain.writers += 1
            return chain

    def give(self, chain: Chain) -> None:
        """Put a chain back after its piece was committed."""
        with self._mutex:
            self._chains[chain.verifier.digest] = chain

    def whole(self, digest: Digest, size: int, writers: int) -> Verifier | None:
        """The hash over the whole blob, if its bytes came in order and nobody but these writers touched them."""
        with self._mutex:
            chain = self._chains.pop(digest, None)
        if (
            chain is None
            or chain.writers != writers
            or chain.verifier.size != size
            or chain.verifier.count != size
        ):
            return None
        return chain.verifier


class SegmentWriter:
    """Takes the bytes of one piece in order; `offset` is where in the blob the next one goes."""

    def __init__(
        self,
        descriptor: int | None,
        part: Part,
        offset: int,
        end: int,
        chain: Chain | None = None,
        chains: Chains | None = None,
        *,
        hashing: Hashing = AT_ONCE,
        durable: bool = False,
    ) -> None:
        self.offset = offset
        self._start = offset
        self._end = end
        self._descriptor = descriptor
        self._part = part
        self._chain = chain
        self._chains = chains
        self._hashing = hashing
        self._durable = durable

    def write(self, chunk: memoryview, /) -> None:
        """Take the next bytes. Raises VerificationError `size-mismatch` beyond the end, `io-failed`."""
        if self.offset + chunk.nbytes > self._end:
            raise VerificationError("size-mismatch", "a piece is longer than was said", where=str(self._part.data))
        if self._descriptor is None:
            return
        rest = chunk.cast("B")
        at = self.offset
        with files.io_errors(self._part.data):
            while rest:
                count = os.pwrite(self._descriptor, rest[: files.WRITE], at)
                rest = rest[count:]
                at += count
        if self._chain is not None:
            self._hashing.feed(self._chain.verifier, chunk)
        self.offset = at

    def cut(self) -> None:
        """Let the piece end where the bytes that were written do."""
        self._end = self.offset

    def commit(self) -> None:
        """Say that the piece is right. Raises VerificationError `size-mismatch` where it is too short."""
        if self.offset != self._end:
            raise VerificationError(
                "size-mismatch", "a piece is shorter than was said", where=str(self._part.data)
            )
        if self._descriptor is None:
            return
        if self._chain is not None:
            self._hashing.settle(self._chain.verifier)
        if self._durable:
            with files.io_errors(self._part.data):
                os.fdatasync(self._descriptor)
        self._part.append(b"%d %d" % (self._start, self._end - self._start))
        if self._chain is not None and self._chains is not None:
            self._chains.give(self._chain)
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._close()
