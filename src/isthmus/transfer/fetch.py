"""Fetches manifests and puts them together to trees, each manifest once however many items share it."""

import threading

from isthmus.errors import IncompleteError
from isthmus.oci import Digest, Manifest
from isthmus.transfer.plan import CopyItem
from isthmus.transfer.shelf import Known, Shelf
from isthmus.transfer.tree import Carried, Tree, lacks_platform, walk, with_referrers

_STRIPES = 251  # locks, so that two threads rarely wait for each other over different manifests


class Fetcher:
    """Asks `known` first, then the item's source; safe for threads."""

    def __init__(self, known: Known, shelf: Shelf, carried: Carried) -> None:
        self._known = known
        self._shelf = shelf
        self._carried = carried
        self._busy = [threading.Lock() for _ in range(_STRIPES)]

    def tree(self, item: CopyItem) -> Tree:
        """All manifests of an item.

        Raises IncompleteError (`missing-content`) where an index has nothing for the platforms that are carried,
        and what the source raises.
        """

        def fetch(digest: Digest) -> Manifest:
            return self._fetch(item, digest)

        root = fetch(item.digest)
        if others := lacks_platform(root, item.platforms):
            wanted = ", ".join(map(str, item.platforms))
            raise IncompleteError(
                "missing-content",
                f"{item.name} has no image for {wanted}",
                hint=f"it has {others}: carry those, or leave it out",
            )
        manifests = walk(root, item.platforms, fetch, self._carried)
        return with_referrers(root, manifests, item.referrers, fetch, self._carried)

    def _fetch(self, item: CopyItem, digest: Digest) -> Manifest:
        with self._busy[hash(digest) % _STRIPES]:
            found = self._shelf.find(digest)
            if found is None:
                found = self._known(digest) or item.source.manifest(item.source_repository, digest)
                self._shelf.put(found)
            return found
