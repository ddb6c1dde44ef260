"""What has to move: the items, and every unique blob with where it comes from and where it must go.

Blobs are kept as numbers in arrays, so that a million of them fit beside everything else. Not here: asking
what is there already (`survey`) and moving (`blob`).
"""

from array import array
from collections.abc import Callable, Iterator, Sequence

import msgspec

from isthmus.oci import Descriptor, Digest, Platform, Source
from isthmus.transfer.blob import BlobRoute
from isthmus.transfer.tree import Tree

_ALGORITHMS = {32: "sha256", 64: "sha512"}
_BLOB = "application/octet-stream"


class CopyItem(msgspec.Struct, frozen=True):
    """One image or artifact to copy: from where, to where, and under which tags.

    `content` names what else decides how much of it is carried, for whoever remembers former runs.
    """

    name: str
    source: Source
    source_repository: str
    sink_repository: str
    digest: Digest
    tags: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    referrers: tuple[Digest, ...] = ()
    content: str = ""


class ItemPlan(msgspec.Struct, frozen=True):
    """What an item consists of, without its content, and which of its manifests the sink has.

    `heights` are its manifests, each with how many levels are below it; `missing_children` are those that its
    indexes name and that are not carried. `settled` items were found complete without looking into them.
    """

    root: Descriptor
    heights: tuple[tuple[Digest, int], ...] = ()
    missing_children: tuple[Digest, ...] = ()
    present: frozenset[Digest] = frozenset()
    tagged: bool = False
    settled: bool = False

    @property
    def whole(self) -> bool:
        """Whether the sink has everything, as far as its manifests tell."""
        return self.settled or all(digest in self.present for digest, _ in self.heights)


def heights(tree: Tree) -> tuple[tuple[Digest, int], ...]:
    """Every manifest of a tree with its distance from the leaves: what is lower must be published first."""
    known: dict[Digest, int] = {}
    for manifest in tree.everything:  # children come first
        below = [known[child.digest] for child in manifest.manifests if child.digest in known]
        known[manifest.digest] = 1 + max(below, default=0) if manifest.is_index else 0
    return tuple(known.items())


class BlobPlan:
    """Unique blobs and the items that use them. Filled first, then read; filling is not for threads."""

    def __init__(self, items: Sequence[CopyItem]) -> None:
        self._items = items
        self._numbers: dict[bytes, int] = {}
        self._sizes = array("q")
        self._first = array("i")  # the latest use of each blob, or -1
        self._user = array("i")  # per use: the item, as its number; of whole items as -1 - number
        self._next = array("i")  # per use: the next use of the same blob, or -1
        self._order = array("i")
        self._keys: list[bytes] = []
        self._external: dict[int, Descriptor] = {}  # with addresses of their own, which must be kept

    def add(self, number: int, blobs: Sequence[Descriptor], *, whole: bool) -> None:
        """Note the blobs of an item; `whole` says that the sink has them in the item's repository.

        A registry takes a manifest without its foreign layers, so that of these it says nothing.
        """
        for blob in blobs:
            key = bytes.fromhex(blob.digest.hex)
            index = self._numbers.get(key)
            if index is None:
                index = self._numbers[key] = len(self._sizes)
                self._sizes.append(blob.size)
                self._first.append(-1)
                if blob.urls:
                    self._external[index] = blob
            self._user.append(-1 - number if whole and not blob.is_foreign else number)
            self._next.append(self._first[index])
            self._first[index] = len(self._user) - 1

    def close(self) -> None:
        """No more is added: put the blobs in order, largest first."""
        keys = list(self._numbers)  # in the order of the numbers, as dictionaries are
        sizes = self._sizes
        # By digest among equals, so that the same set always moves in the same order.
        self._order = array("i", sorted(range(len(sizes)), key=lambda index: (-sizes[index], keys[index])))
        self._keys = keys
        self._numbers = {}

    def __len__(self) -> int:
        return len(self._sizes)

    def places(self, wanted: Callable[[Digest], bool]) -> Sequence[int]:
        """The places in the order of those blobs that are wanted."""
        return array("i", (place for place in range(len(self)) if wanted(self.digest(place))))

    def size(self, place: int) -> int:
        """Bytes of the blob at a place in the order."""
        return self._sizes[self._order[place]]

    def digest(self, place: int) -> Digest:
        """Its digest."""
        key = self._keys[self._order[place]]
        return Digest(f"{_ALGORITHMS[len(key)]}:{key.hex()}")

    def route(self, place: int) -> BlobRoute:
        """The blob at a place in the order, with all that is known of it."""
        index = self._order[place]
        blob = self._external.get(index) or Descriptor(_BLOB, self.digest(place), self.size(place))
        origins: dict[tuple[int, str], tuple[Source, str]] = {}
        holders: dict[str, None] = {}
        wanted: dict[str, None] = {}
        # In the order of the items, whichever was planned first: a run after a killed one must look first where
        # that one put the blob.
        for number, is_whole in sorted(self._uses(index)):
            item = self._items[number]
            origins[id(item.source), item.source_repository] = (item.source, item.source_repository)
            (holders if is_whole else wanted)[item.sink_repository] = None
        targets = tuple(name for name in wanted if name not in holders)
        return BlobRoute(blob, tuple(origins.values()), targets, next(iter(holders), ""))

    def _uses(self, index: int) -> Iterator[tuple[int, bool]]:
        """The items that use a blob, by number, and whether they are whole."""
        use = self._first[index]
        while use >= 0:
            user = self._user[use]
            yield (user, False) if user >= 0 else (-1 - user, True)
            use = self._next[use]
