"""The sending end: groups read ahead and given parity while the ones before them go out at the rate that was said.

Nothing is ever received. Not here: what the numbers mean (`catalogue`), the socket (`address`).
"""

import errno
import itertools
import os
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from isthmus.bundle.medium import MediumFile, open_regular
from isthmus.carry.diode.address import Diode, parse_diode, sending_socket
from isthmus.carry.diode.catalogue import Catalogue, describe, make_catalogue, shape
from isthmus.carry.diode.coding import matrix_of, parity_of
from isthmus.carry.diode.lacking import Wanted, read_wanted
from isthmus.carry.diode.pacing import Pacer
from isthmus.carry.diode.packets import HEADER_SIZE, TOTAL, Kind, head
from isthmus.errors import UsageError, VerificationError
from isthmus.progress import Progress, silent

_ANNOUNCED: Final = 3
_CATALOGUE_SHARE: Final = 50
_FOR_EVER: Final = 2**64 - 1
_OPEN_FILES: Final = 64


@dataclass(frozen=True, slots=True)
class Sent:
    """What went out: bytes of files in a pass, those that `only` left out, datagrams, their bytes on the wire."""

    bytes: int
    skipped: int
    seconds: float
    session: str
    passes: int
    datagrams: int
    wire_bytes: int


def send(
    source: str | os.PathLike[str],
    target: str | Diode,
    *,
    only: str = "",
    repeat: int | None = None,
    redundancy: float | None = None,
    progress: Progress = silent,
    dry_run: bool = False,
) -> Sent:
    """Send a bundle's directory, or a file, `repeat` times over; with `only`, just what a receiver lacks.

    Whether it arrived nobody can know here. Raises UsageError, UnreachableError (`unreachable`, `io-failed`),
    VerificationError `size-mismatch` where a file became shorter meanwhile.
    """
    diode = parse_diode(target) if isinstance(target, str) else target
    changed = {
        name: value for name, value in (("repeat", repeat), ("redundancy", redundancy)) if value is not None
    }
    diode = replace(diode, **changed)  # type: ignore[arg-type]
    if diode.repeat < 0 or not 0 <= diode.redundancy <= 200:
        raise UsageError("wrong-usage", "--repeat is a count (0: for ever), --redundancy 0 to 200 per cent")
    wanted = read_wanted(only) if only else None
    files, paths = describe(Path(source))
    numbers = shape(files, mtu=diode.mtu, redundancy=diode.redundancy, interleave=diode.interleave)
    catalogue = make_catalogue(files, (wanted.numbers if wanted else None) or numbers)
    if wanted and not catalogue.session.hex().startswith(wanted.session):
        raise _another(wanted, catalogue)
    groups = [group for group in range(catalogue.groups) if not wanted or wanted.blocks_in(group, catalogue.depth)]
    size = sum(_bytes_of(catalogue, group, wanted) for group in groups)
    if dry_run:
        return Sent(size, catalogue.bytes - size, 0.0, catalogue.session.hex(), diode.repeat, 0, 0)
    started = time.monotonic()
    with ExitStack() as stack:
        link, headers = stack.enter_context(sending_socket(diode))
        run = _Run(catalogue, paths, link, Pacer(diode.rate), headers)
        stack.callback(run.close)
        passes = run.carousel(groups, wanted, diode.repeat, size, progress)
    seconds = time.monotonic() - started
    return Sent(
        size, catalogue.bytes - size, seconds, catalogue.session.hex(), passes, run.datagrams, run.wire_bytes
    )


@dataclass
class _Run:
    """A session going out."""

    catalogue: Catalogue
    paths: Sequence[Path]
    link: socket.socket
    pacer: Pacer
    headers: int
    datagrams: int = 0
    wire_bytes: int = 0
    _files: dict[int, MediumFile] = field(default_factory=dict)

    def carousel(
        self, groups: Sequence[int], wanted: Wanted | None, repeat: int, size: int, progress: Progress
    ) -> int:
        """All passes; how many there were."""
        matrix = matrix_of(self.catalogue.columns, self.catalogue.rows)
        announcing = itertools.cycle(list(self._announcement()))
        for _ in range(_ANNOUNCED):
            self._announce()
        number = 0
        for number in itertools.count(1) if not repeat else range(1, repeat + 1):
            done, label = 0, f"pass {number}" if repeat != 1 else ""
            with ThreadPoolExecutor(1, "isthmus-diode") as pool:
                ahead = pool.submit(self._load, groups[0], matrix) if groups else None
                for position, group in enumerate(groups):
                    assert ahead is not None
                    data, parity = ahead.result()
                    if position + 1 < len(groups):
                        ahead = pool.submit(self._load, groups[position + 1], matrix)
                    blocks = wanted.blocks_in(group, self.catalogue.depth) if wanted else None
                    self._group(group, data, parity, blocks, announcing)
                    done += _bytes_of(self.catalogue, group, wanted)
                    progress(done, size, label)
            self._announce()
            for _ in range(_ANNOUNCED):
                self._put(Kind.END, repeat - number if repeat else _FOR_EVER, b"")
        return number

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()

    def _load(self, group: int, matrix: list[list[int]]) -> tuple[memoryview, list[memoryview]]:
        """A group's symbols, zeros behind the end of each file, and its parity."""
        catalogue = self.catalogue
        view = memoryview(bytearray(catalogue.in_group * catalogue.symbol))
        number, end = group * catalogue.in_group, group * catalogue.in_group + catalogue.count_in(group)
        at = 0
        while number < end:
            place = catalogue.place(number)
            count = min(end, catalogue.symbols_of(place.file).stop) - number
            length = min(count * catalogue.symbol, catalogue.files[place.file].size - place.offset)
            if self._open(place.file).into(view[at : at + length], place.offset) != length:
                raise VerificationError(
                    "size-mismatch", "the file became shorter meanwhile", where=str(self.paths[place.file])
                )
            number, at = number + count, at + count * catalogue.symbol
        return view, parity_of(matrix, view) if matrix else []

    def _open(self, number: int) -> MediumFile:
        if number not in self._files:
            if len(self._files) >= _OPEN_FILES:
                self._files.pop(next(iter(self._files))).close()
            self._files[number] = open_regular(self.paths[number])
        return self._files[number]

    def _group(
        self,
        group: int,
        data: memoryview,
        parity: Sequence[memoryview],
        blocks: Sequence[int] | None,
        announcing: Iterator[tuple[int, bytes]],
    ) -> None:
        catalogue, depth, size = self.catalogue, self.catalogue.depth, self.catalogue.symbol
        chosen = range(depth) if blocks is None else blocks
        first, count = group * catalogue.in_group, catalogue.count_in(group)
        rest = _CATALOGUE_SHARE
        for column in range(catalogue.columns + len(parity)):
            row = column - catalogue.columns
            for block in chosen:
                index = column * depth + block
                if row >= 0:
                    number = (group * catalogue.rows + row) * depth + block
                    self._put(Kind.PARITY, number, parity[row][block * size : (block + 1) * size])
                elif index < count:
                    length = catalogue.place(first + index).length
                    self._put(Kind.DATA, first + index, data[index * size : index * size + length])
                else:
                    continue
                rest -= 1
                if not rest:
                    rest = _CATALOGUE_SHARE
                    self._put(Kind.CATALOGUE, *next(announcing))

    def _announcement(self) -> Iterator[tuple[int, bytes]]:
        raw, size = self.catalogue.raw, self.catalogue.symbol - TOTAL.size
        for offset in range(0, len(raw), size):
            yield offset, TOTAL.pack(len(raw)) + raw[offset : offset + size]

    def _announce(self) -> None:
        for offset, piece in self._announcement():
            self._put(Kind.CATALOGUE, offset, piece)

    def _put(self, kind: Kind, number: int, payload: bytes | memoryview) -> None:
        front = head(kind, number, self.catalogue.session, payload)
        size = HEADER_SIZE + len(payload) + self.headers
        self.pacer.wait(size)
        while True:
            try:
                self.link.sendmsg((front, payload))
            except ConnectionRefusedError:
                continue  # said by this very machine of an earlier one; the link itself can say nothing
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                time.sleep(0.001)  # ENOBUFS: the device's queue is full
                continue
            break
        self.datagrams += 1
        self.wire_bytes += size


def _bytes_of(catalogue: Catalogue, group: int, wanted: Wanted | None) -> int:
    """Bytes of files in a group, or in the wanted blocks of it."""
    first, count = group * catalogue.in_group, catalogue.count_in(group)
    blocks = range(catalogue.depth) if wanted is None else wanted.blocks_in(group, catalogue.depth)
    return sum(
        catalogue.place(first + index).length for block in blocks for index in range(block, count, catalogue.depth)
    )


def _another(wanted: Wanted, catalogue: Catalogue) -> UsageError:
    return UsageError(
        "wrong-usage",
        f"the list is of session {wanted.session[:8]}, and this would be session {catalogue.session.hex()[:8]}",
        hint="give the same bundle and, with the short line instead of lacking.json, the same options in the URL",
    )
