"""What was asked for and is not there: the site operator's best diagnostic. Bounded, in memory only."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from isthmus.errors import IsthmusError
from isthmus.oci import Digest
from isthmus.oci.descriptor import decode_custom
from isthmus.serve.catalogue import Catalogue
from isthmus.serve.shared import Share
from isthmus.serve.target import Kind

LIMIT = 10_000
"""Different things remembered; a scanner's nonsense must not fill the memory."""


@dataclass(frozen=True, order=True)
class Wanted:
    """One thing by its original name (`registry.k8s.io/pause:3.10`), and as what it was asked for."""

    name: str
    kind: Kind
    asked: str = field(compare=False)
    namespace: str | None = field(compare=False)
    digest: Digest | None = field(compare=False)
    tag: str = field(compare=False)


@dataclass
class _Count:
    first: float
    last: float
    count: int = 0
    by: str = ""


_encoder = msgspec.json.Encoder(enc_hook=str)
_decoder = msgspec.json.Decoder(list[tuple[Wanted, _Count]], dec_hook=decode_custom)


def _read(data: bytes) -> list[tuple[Wanted, _Count]]:
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, IsthmusError):
        return []


def _both(one: _Count, other: _Count) -> _Count:
    by = one.by if one.last >= other.last else other.by
    return _Count(min(one.first, other.first), max(one.last, other.last), one.count + other.count, by)


class Misses:
    """Counts misses, those of other workers too. Used on the event loop alone."""

    def __init__(self, share: Share | None = None) -> None:
        self._share = share or Share()
        self._told = b""
        self._found: dict[Wanted, float] = {}
        self._counts: dict[Wanted, _Count] = {}
        self._overflow = 0
        self.total = 0
        self.has_file: Callable[[str], Awaitable[bool]] | None = None

    def add(self, wanted: Wanted, by: str = "") -> None:
        """Something was asked for in vain, by a user or from an address."""
        self.total += 1
        now = time.time()
        found = self._counts.get(wanted)
        if found is None:
            if len(self._counts) >= LIMIT:
                self._overflow += 1
                return
            found = self._counts[wanted] = _Count(first=now, last=now)
        found.last = now
        found.count += 1
        found.by = by

    def forget(self, wanted: Wanted) -> None:
        """It is there now; what was missed before a bundle came in is no longer missing."""
        self._counts.pop(wanted, None)
        if self._share.count > 1:
            self._found[wanted] = time.time()

    async def forget_found(self, catalogue: Catalogue) -> None:
        """Forget what came in since it was asked for."""
        for wanted in self.wanted():
            if wanted.kind == "files":
                is_here = self.has_file is not None and await self.has_file(wanted.asked)
            else:
                is_here = await catalogue.has(wanted.asked, wanted.namespace, wanted.digest, wanted.tag)
            if is_here:
                self.forget(wanted)

    def wanted(self) -> tuple[Wanted, ...]:
        """Everything missed so far, sorted."""
        return tuple(sorted(self._all()))

    def _all(self) -> dict[Wanted, _Count]:
        """Those of all workers, without what was found since."""
        found = dict(self._counts)
        for data in self._share.others("misses"):
            for wanted, count in _read(data):
                if count.last <= self._found.get(wanted, 0.0):
                    continue
                mine = found.get(wanted)
                found[wanted] = count if mine is None else _both(mine, count)
        return found

    async def tell(self) -> None:
        """Tell the other workers, where there is news."""
        data = _encoder.encode([(wanted, count) for wanted, count in self._counts.items()])
        if data != self._told:
            self._told = data
            await asyncio.to_thread(self._share.tell, "misses", data)

    def document(self) -> dict[str, Any]:
        """For people and machines; `overflow` counts requests for what was not remembered any more."""
        items = [
            {
                "name": wanted.name,
                "kind": wanted.kind,
                "asked": wanted.asked,
                "count": count.count,
                "first": _time(count.first),
                "last": _time(count.last),
                "by": count.by,
            }
            for wanted, count in sorted(self._all().items())
        ]
        return {"missing": items, "overflow": self._overflow}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
