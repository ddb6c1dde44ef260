"""A store as it is served: its names and reach, kept in memory, and made anew when the store changes.

The only place of this room that waits for the store, in threads, so that the event loop never does. Not
here: requests and responses.
"""

import asyncio
import logging
import os
import time
from collections import OrderedDict
from functools import partial

from isthmus.errors import IncompleteError, IsthmusError
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.serve.links import Links
from isthmus.serve.names import OWN_HOST, Names, make_names
from isthmus.serve.opened import Opened, opened_file, opened_parts
from isthmus.serve.reach import Reach, find_reach
from isthmus.store import Elsewhere, Store

MANIFEST_CACHE = 32 * 1024 * 1024
"""Bytes of manifests kept in memory."""

_RECENT = 2.0  # seconds for which a miss is believed without looking again
_log = logging.getLogger("isthmus.serve")


class Catalogue:
    """Used on one event loop. Raises what the store raises, and `mapping-collision`, when it is made."""

    def __init__(self, store: Store, mapping: MirrorMap, links: Links | None = None) -> None:
        self.store = store
        self.links = links
        self._mapping = mapping
        self._index = str(store.path / "index.json")  # looked at with every request
        self._mark = self._current_mark()
        self._names = make_names(store.references(), mapping)
        self._reaches: dict[str, asyncio.Task[Reach]] = {}
        self._manifests: OrderedDict[Digest, Manifest] = OrderedDict()
        self._manifest_bytes = 0
        self._reading = asyncio.Lock()
        self._version = 0

    def version(self) -> int | None:
        """A number that changes with whatever an answer depends on; None where `names` has to look again."""
        if self.links is not None and self.links.is_stale():
            return None
        return self._version if self._mark == self._current_mark() else None

    def _forget_all(self) -> None:
        self._reaches.clear()
        self._version += 1

    async def names(self) -> Names:
        """The names now; one look at the index file's status where nothing changed."""
        if self.links is not None and self.links.refresh():
            self._forget_all()
        if self._mark != self._current_mark():
            async with self._reading:
                mark = self._current_mark()
                if self._mark != mark:
                    await asyncio.to_thread(self._reload)
                    self._mark = mark
                    self._forget_all()
        return self._names

    def _reload(self) -> None:
        try:
            self._names = make_names(self.store.references(), self._mapping)
        except IsthmusError as error:
            _log.error("the store changed, but what it holds now cannot be served: %s", error)

    def _current_mark(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._index)
        except OSError:
            return (0, 0, 0)
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def repository(self, names: Names, name: str, namespace: str | None) -> str | None:
        """The repository that is meant, one that was pushed to and has no name yet included; or None."""
        found = names.repository(name, namespace)
        if self.links is None:
            return found
        home = names.home(name)
        is_own = home.startswith(f"{OWN_HOST}/")
        if self.links.knows(home) and (found is None or is_own) and (namespace is None or not is_own):
            return home
        return found

    def forget(self, repository: str) -> None:
        """Look again at what a repository leads to."""
        self._reaches.pop(repository, None)
        self._version += 1

    async def size(self, names: Names, repository: str, digest: Digest) -> int | None:
        """The size in bytes that a blob of a repository must have; None where the repository has no such blob."""
        if self.links is not None and self.links.has(repository, digest, "blob"):
            return await self.held(digest)
        return (await self.reach_of(names, repository, digest)).sizes.get(digest)

    async def held(self, digest: Digest) -> int | None:
        """Its size in bytes where it is held; only a place besides the directory is asked in a thread."""
        blobs = self.store.blobs
        if blobs.also is not None and not os.path.exists(blobs.path(digest)):
            return await asyncio.to_thread(blobs.also.size, digest)
        return self.store.blob_size(digest)

    async def reach(self, names: Names, repository: str) -> Reach:
        """What the repository leads to."""
        task = self._reaches.get(repository)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            roots = self._names.roots.get(repository, names.roots.get(repository, ()))
            hidden: tuple[Digest, ...] = ()
            if self.links is not None:
                roots = (*roots, *(Descriptor("", digest, 0) for digest in self.links.of(repository, "manifest")))
                hidden = self.links.of(repository, "hidden")
            finding = asyncio.to_thread(find_reach, self.store, repository, roots, names.homes, hidden)
            task = asyncio.create_task(finding)
            self._reaches[repository] = task
        return await asyncio.shield(task)  # a client that goes away must not stop it for the others

    async def reach_of(self, names: Names, repository: str, digest: Digest) -> Reach:
        """As `reach`, looking again where the digest is not in it: a child or referrer may have come since."""
        reach = await self.reach(names, repository)
        if digest not in reach.sizes and time.monotonic() - reach.made_at > _RECENT:
            self._reaches.pop(repository, None)
            reach = await self.reach(names, repository)
        return reach

    async def manifest(self, digest: Digest) -> Manifest:
        """Read and verified, or remembered as such. Raises IncompleteError `not-found`, `damaged-store`."""
        manifest = self._manifests.get(digest)
        if manifest is not None:
            self._manifests.move_to_end(digest)
            return manifest
        manifest = await asyncio.to_thread(self.store.manifest_by_digest, digest)
        if digest not in self._manifests:
            self._manifests[digest] = manifest
            self._manifest_bytes += manifest.size
            while self._manifest_bytes > MANIFEST_CACHE:
                self._manifest_bytes -= self._manifests.popitem(last=False)[1].size
        return manifest

    async def has(self, name: str, namespace: str | None, digest: Digest | None, tag: str) -> bool:
        """Whether a manifest or blob is there by now."""
        names = await self.names()
        repository = self.repository(names, name, namespace)
        if repository is None:
            return False
        wanted = digest or (found.digest if (found := names.tags.get(repository, {}).get(tag)) else None)
        if wanted is None:
            return False
        size = await self.size(names, repository, wanted)
        try:
            return size is not None and await self.held(wanted) == size
        except IsthmusError:
            return False

    async def open(self, digest: Digest, size: int) -> Opened:
        """A blob, which the caller closes. Raises `not-found`, also for a wrong size."""
        blobs = self.store.blobs
        if blobs.also is not None and not os.path.exists(blobs.path(digest)):
            return await asyncio.to_thread(_open_elsewhere, blobs.also, digest, size)
        with blobs.open(digest, 0, size) as reader:
            try:
                return opened_file(os.dup(reader.fileno()), size)
            except OSError as error:
                raise IncompleteError("not-found", f"{digest} cannot be opened: {error.strerror}") from error


def _open_elsewhere(place: Elsewhere, digest: Digest, size: int) -> Opened:
    if place.size(digest) != size:
        raise IncompleteError("not-found", f"there is no {digest} of {size} bytes")
    parts = place.parts(digest)
    if parts is not None:
        return opened_parts(parts, digest)
    return Opened(size, (), partial(place.open, digest), place.link(digest))
