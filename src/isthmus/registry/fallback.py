"""A host with mirrors, as one source: whoever has the content gives it, and its digest says that it is right.

What is named by a digest is asked of the mirrors in their order, then of the host, since it does not matter
who delivers it. What only the host can know, a tag or a list of referrers, is asked of the host first, and of
the mirrors only where the host is in trouble: a mirror may be out of date. Not here: connections (`client`).
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

from isthmus.errors import IsthmusError, UnreachableError, VerificationError
from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.registry.blobs import BlobBody
from isthmus.registry.client import Registry

REST = 60.0
"""Seconds for which a registry that is in trouble is asked last."""
_REMEMBERED = 4096
T = TypeVar("T")


class Fallback:
    """A `Source`; safe for threads. Closing it closes the registries."""

    def __init__(
        self, host: Registry, mirrors: Sequence[Registry], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.host = host.host
        self._host = host
        self._mirrors = tuple(mirrors)
        self._clock = clock
        self._lock = threading.Lock()
        self._resting: dict[int, float] = {}
        self._opened: OrderedDict[tuple[str, Digest], None] = OrderedDict()

    @property
    def requests(self) -> int:
        """HTTP requests so far, to all of them."""
        return sum(registry.requests for registry in (self._host, *self._mirrors))

    def manifest(self, repository: str, target: str) -> Manifest:
        """The manifest by tag or digest, verified."""
        order = self._mirrors_first() if ":" in target else self._host_first()
        return self._first(order, lambda registry: registry.manifest(repository, target), elsewhere=":" in target)

    def open_blob(self, repository: str, blob: Descriptor, offset: int = 0) -> BlobBody:
        """The blob's bytes from `offset` on, not verified.

        A blob that is asked for again, because it broke off or was wrong, is asked of the host first.
        """
        order = self._host_first() if self._was_opened(repository, blob.digest) else self._mirrors_first()
        return self._first(order, lambda registry: registry.open_blob(repository, blob, offset), elsewhere=True)

    def open_range(self, repository: str, blob: Descriptor, offset: int, length: int) -> BlobBody:
        """A part of the blob, not verified, of the first that gives ranges."""
        return self._first(
            self._mirrors_first(),
            lambda registry: registry.open_range(repository, blob, offset, length),
            elsewhere=True,
            forgiven="protocol",  # one without ranges is good for everything else
        )

    def referrers(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        """What names this digest as its subject."""
        return self._first(
            self._host_first(), lambda registry: registry.referrers(repository, digest), elsewhere=False
        )

    def tags(self, repository: str) -> tuple[str, ...]:
        """All tags of a repository."""
        return self._first(self._host_first(), lambda registry: registry.tags(repository), elsewhere=False)

    def close(self) -> None:
        """Close all connections."""
        for registry in (self._host, *self._mirrors):
            registry.close()

    def _first(
        self, order: Sequence[Registry], ask: Callable[[Registry], T], *, elsewhere: bool, forgiven: str = ""
    ) -> T:
        """The first answer. `elsewhere`: what one registry lacks or has wrong, the next may have."""
        told: IsthmusError | None = None
        for registry in order:
            try:
                return ask(registry)
            except (UnreachableError, VerificationError) as error:
                absent = isinstance(error, UnreachableError) and error.code == "not-found"
                if not absent and error.code != forgiven:
                    self._rest(registry)
                elif absent and not elsewhere and registry is self._host:
                    raise
                # What the host itself says is the better reason.
                if told is None or registry is self._host:
                    told = error
        assert told is not None
        raise told

    def _mirrors_first(self) -> Sequence[Registry]:
        return self._rested((*self._mirrors, self._host))

    def _host_first(self) -> Sequence[Registry]:
        return self._rested((self._host, *self._mirrors))

    def _rested(self, order: Sequence[Registry]) -> Sequence[Registry]:
        now = self._clock()
        with self._lock:
            return sorted(order, key=lambda registry: self._resting.get(id(registry), now) > now)

    def _rest(self, registry: Registry) -> None:
        with self._lock:
            self._resting[id(registry)] = self._clock() + REST

    def _was_opened(self, repository: str, digest: Digest) -> bool:
        with self._lock:
            again = (repository, digest) in self._opened
            self._opened[repository, digest] = None
            self._opened.move_to_end((repository, digest))
            if len(self._opened) > _REMEMBERED:
                self._opened.popitem(last=False)
            return again
