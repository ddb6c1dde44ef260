"""The shelf as it is now: made anew in a thread when the store's index changes. Not here: the shelf itself."""

import asyncio
import os
from dataclasses import dataclass

from isthmus.content import Thing
from isthmus.content.naming import HOST
from isthmus.content.things import thing_of
from isthmus.oci import Digest
from isthmus.serve.chart_index import ChartIndex
from isthmus.serve.shelf import Shelf, make_shelf
from isthmus.store import Store

Mark = tuple[int, int, int]


@dataclass(frozen=True)
class Now:
    """The shelf, and the charts' index.yaml, at one state of the store. `changed` is when that began."""

    mark: Mark
    shelf: Shelf
    charts: bytes
    changed: float


class Shelves:
    """Used on one event loop. Raises what the store raises."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._now: Now | None = None
        self._making = asyncio.Lock()
        self._things: dict[Digest, Thing | None] = {}
        self._charts = ChartIndex(store)

    async def now(self) -> Now:
        """One look at the index file's status where nothing changed."""
        if self._now is None or self._now.mark != self._mark():
            async with self._making:
                mark = self._mark()
                if self._now is None or self._now.mark != mark:
                    self._now = await asyncio.to_thread(self._make, mark)
        return self._now

    def _make(self, mark: Mark) -> Now:
        references = self.store.references()
        known: dict[Digest, Thing | None] = {}
        things = []
        for stored in references:
            if stored.name.startswith(f"{HOST}/"):
                digest = stored.descriptor.digest
                thing = self._things[digest] if digest in self._things else thing_of(self.store, stored)
                known[digest] = thing
                if thing is not None:
                    things.append(thing)
        self._things = known
        shelf = make_shelf(things)
        return Now(mark, shelf, self._charts.make(references, shelf), mark[1] / 1e9)

    def _mark(self) -> Mark:
        try:
            found = os.stat(self.store.path / "index.json")
        except OSError:
            return (0, 0, 0)
        return (found.st_ino, found.st_mtime_ns, found.st_size)
