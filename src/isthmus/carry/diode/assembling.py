"""From symbols to files: groups that are under way, and the decoding of blocks once enough of them has come.

Data symbols go to disk at once; of a group that is under way, only parity is in memory, and of three groups at
most, so that a receiver has the same size whatever is sent. Not here: disk (`staging`), datagrams (`receiving`).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from isthmus.carry.diode.coding import matrix_of, solve
from isthmus.carry.diode.packets import Kind, Packet
from isthmus.carry.diode.staging import Staging

_OPEN_GROUPS: Final = 3
_CHECKPOINT: Final = 1.0


@dataclass
class _Group:
    """A group under way: what of it is on disk, how many symbols each block still needs, and its parity."""

    number: int
    have: bytearray
    needed: list[int]
    parity: dict[int, dict[int, memoryview]] = field(default_factory=dict)


class Assembly:
    """All groups of a session. `remaining` symbols are lacking, `rebuilt` were decoded."""

    def __init__(self, staging: Staging) -> None:
        self.staging = staging
        self.rebuilt = 0
        self._catalogue = staging.catalogue
        self._matrix = matrix_of(self._catalogue.columns, self._catalogue.rows)
        self._groups: dict[int, _Group] = {}
        self._complete = bytearray(self._catalogue.groups)
        self._kept = time.monotonic()
        self.remaining = 0
        self.recount()

    @property
    def received_bytes(self) -> int:
        """About how many bytes of files are here."""
        return max(0, self._catalogue.bytes - self.remaining * self._catalogue.symbol)

    def recount(self) -> None:
        """Find out from the disk what is lacking."""
        self._groups.clear()
        self.remaining = 0
        for group in range(self._catalogue.groups):
            lacking = self._catalogue.count_in(group) - sum(self.staging.have(group))
            self._complete[group] = not lacking
            self.remaining += lacking

    def take(self, packet: Packet) -> bool:
        """Take a symbol of this session; whether it was one that is possible."""
        if packet.kind == Kind.DATA:
            return self._take_data(packet.number, packet.payload)
        return self._take_parity(packet.number, packet.payload)

    def tick(self) -> None:
        """Checkpoint where the last one is a second ago."""
        now = time.monotonic()
        if now - self._kept >= _CHECKPOINT:
            self._kept = now
            self.keep()

    def keep(self) -> None:
        """Bring everything that is here onto the medium, but for parity."""
        for group in self._groups.values():
            self.staging.keep(group.number, group.have)
        self.staging.checkpoint()

    def lacking_blocks(self) -> list[int]:
        """The numbers of the blocks of which something is lacking."""
        depth = self._catalogue.depth
        blocks: list[int] = []
        for group, complete in enumerate(self._complete):
            if not complete:
                have, count = self._have(group), self._catalogue.count_in(group)
                blocks += (
                    group * depth + block
                    for block in range(depth)
                    if sum(have[block:count:depth]) < len(range(block, count, depth))
                )
        return blocks

    def lacking_ranges(self) -> Iterator[tuple[str, int, int]]:
        """What is lacking in the files: path, first byte, end."""
        last: tuple[int, int, int] | None = None
        for group, complete in enumerate(self._complete):
            if complete:
                continue
            have, first = self._have(group), group * self._catalogue.in_group
            for index in range(self._catalogue.count_in(group)):
                if have[index]:
                    continue
                file, offset, length = self._catalogue.place(first + index)
                if last and last[0] == file and last[2] == offset:
                    last = (file, last[1], offset + length)
                    continue
                if last:
                    yield self._catalogue.files[last[0]].path, last[1], last[2]
                last = (file, offset, offset + length)
        if last:
            yield self._catalogue.files[last[0]].path, last[1], last[2]

    def _have(self, number: int) -> bytearray:
        return self._groups[number].have if number in self._groups else self.staging.have(number)

    def _take_data(self, number: int, payload: memoryview) -> bool:
        catalogue = self._catalogue
        if number >= catalogue.symbols or len(payload) != catalogue.place(number).length:
            return False
        index = number % catalogue.in_group
        group = self._group(number // catalogue.in_group)
        if group is None or group.have[index]:
            return True
        self.staging.write(number, payload)
        self._mark(group, index)
        self._decode(group, index % catalogue.depth)
        return True

    def _take_parity(self, number: int, payload: memoryview) -> bool:
        catalogue = self._catalogue
        line, block = divmod(number, catalogue.depth)
        if not catalogue.rows or len(payload) != catalogue.symbol:
            return False
        at, row = divmod(line, catalogue.rows)
        if at >= catalogue.groups:
            return False
        group = self._group(at)
        if group is None or not group.needed[block]:
            return True
        rows = group.parity.setdefault(block, {})
        if row not in rows:
            rows[row] = memoryview(bytearray(payload))
            self._decode(group, block)
        return True

    def _group(self, number: int) -> _Group | None:
        """A group under way; None where it is complete."""
        if self._complete[number]:
            return None
        group = self._groups.get(number)
        if group is None:
            while len(self._groups) >= _OPEN_GROUPS:
                oldest = self._groups.pop(next(iter(self._groups)))
                self.staging.keep(oldest.number, oldest.have)
            have, count, depth = self.staging.have(number), self._catalogue.count_in(number), self._catalogue.depth
            needed = [len(range(b, count, depth)) - sum(have[b:count:depth]) for b in range(depth)]
            group = self._groups[number] = _Group(number, have, needed)
        return group

    def _mark(self, group: _Group, index: int) -> None:
        group.have[index] = 1
        block = index % self._catalogue.depth
        group.needed[block] -= 1
        self.remaining -= 1
        if not group.needed[block]:
            group.parity.pop(block, None)
            if not any(group.needed):
                self._complete[group.number] = 1
                self.staging.keep(group.number, self._groups.pop(group.number).have)

    def _decode(self, group: _Group, block: int) -> None:
        """Rebuild what a block needs, where there is as much parity."""
        parity = group.parity.get(block)
        if not parity or not group.needed[block] or len(parity) < group.needed[block]:
            return
        catalogue = self._catalogue
        size, depth, first = catalogue.symbol, catalogue.depth, group.number * catalogue.in_group
        whole = memoryview(bytearray(catalogue.columns * size))
        known, lost = {}, []
        for column, index in enumerate(range(block, catalogue.count_in(group.number), depth)):
            if group.have[index]:
                known[column] = whole[column * size : (column + 1) * size]
                self.staging.read(first + index, known[column])
            else:
                lost.append(column)
        for column, symbol in zip(lost, solve(self._matrix, known, parity, lost), strict=True):
            self.staging.write(first + column * depth + block, symbol)
            self._mark(group, column * depth + block)
            self.rebuilt += 1
