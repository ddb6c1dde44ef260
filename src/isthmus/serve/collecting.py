"""Collection on a schedule, while the server goes on: what nothing names and nobody is pushing or pulling goes.

`store.collect` and its leases make it safe. Not here: what is kept.
"""

import asyncio
import logging
import random

from isthmus.errors import IsthmusError
from isthmus.serve.options import Listen
from isthmus.store import Store

_log = logging.getLogger("isthmus.serve")


class Collecting:
    """One process of a server does it."""

    def __init__(self, store: Store, listen: Listen) -> None:
        self._store = store
        self._every = listen.collect_every
        self._grace = listen.collect_grace

    async def for_ever(self) -> None:
        """Collect again and again; the first time soon after the start. Never ends by itself."""
        await asyncio.sleep(min(self._every, 60.0) * random.uniform(0.5, 1.0))  # noqa: S311 -- no secret
        while True:
            await asyncio.to_thread(self.once)
            await asyncio.sleep(self._every)

    def once(self) -> None:
        """Collect now; what goes wrong is logged."""
        try:
            result = self._store.collect(self._grace)
        except IsthmusError as error:
            _log.error("collecting: %s", error)
            return
        if result.blobs or result.partials:
            _log.warning(
                "collected %d blobs, %d partial files: %d bytes", result.blobs, result.partials, result.bytes
            )
