"""What a registry has already, in as few requests as can be: for copies into one.

A registry takes a manifest only when it has what the manifest names, so a manifest that is there speaks for
its blobs. What a former run completed is remembered (`memory`) and needs one question a tag, or none while it
is trusted. Not here: stores, which are asked for every blob, since a file may have been removed.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from isthmus.oci import Descriptor, Digest
from isthmus.transfer.memory import Key, Memory, Remembered
from isthmus.transfer.plan import CopyItem
from isthmus.transfer.settled_there import Asked, points_to
from isthmus.transfer.tree import Tree
from isthmus.transfer.wanted import key_of


class Findings(msgspec.Struct, frozen=True):
    """The manifests of an item that the sink has, and whether its tags point to the root."""

    present: frozenset[Digest] = frozenset()
    tagged: bool = False


class Survey(Protocol):
    """Knows what a sink has. Used by many threads."""

    thorough: bool
    """Whether every blob must be asked for, whatever manifests say."""

    def remembered(self, item: CopyItem) -> Descriptor | None:
        """What an item's tags point to, if a former run completed it and it is still so."""
        ...

    def look(self, item: CopyItem, tree: Tree) -> Findings:
        """Ask the sink for an item's manifests."""
        ...

    def holder(self, digest: Digest) -> str:
        """A repository that may have a blob, or nothing."""
        ...

    def count_blobs(self, items: Sequence[CopyItem]) -> int:
        """How many different blobs these remembered items have."""
        ...

    def complete(self, item: CopyItem, root: Descriptor, blobs: Iterable[Descriptor]) -> None:
        """Note that the sink has an item with everything that it consists of."""
        ...


class AskForEverything:
    """The survey of a sink that is cheap to ask, such as a store: nothing is known before."""

    thorough = False

    def remembered(self, item: CopyItem) -> Descriptor | None:  # noqa: ARG002
        """Nothing."""
        return None

    def look(self, item: CopyItem, tree: Tree) -> Findings:  # noqa: ARG002
        """Nothing."""
        return Findings()

    def holder(self, digest: Digest) -> str:  # noqa: ARG002
        """Nobody."""
        return ""

    def count_blobs(self, items: Sequence[CopyItem]) -> int:  # noqa: ARG002
        """None."""
        return 0

    def complete(self, item: CopyItem, root: Descriptor, blobs: Iterable[Descriptor]) -> None:
        """Forget it."""


class RegistrySurvey:
    """The survey of a registry, with a memory of former runs where one is given.

    `trust_for` is in seconds: what was seen there so lately is not asked for again. `verify` believes neither
    the memory nor that manifests speak for their blobs.
    """

    def __init__(
        self, registry: Asked, memory: Memory | None = None, *, trust_for: float = 0.0, verify: bool = False
    ) -> None:
        self.thorough = verify
        self._registry = registry
        self._memory = memory
        self._trust_for = trust_for
        self._former = memory.recall() if memory is not None and not verify else {}

    def remembered(self, item: CopyItem) -> Descriptor | None:
        """What an item's tags point to, if a former run completed it and it is still so."""
        former = self._former.get(_key(item))
        if former is None:
            return None
        age = time.time() - former.verified
        if not 0 <= age < self._trust_for:
            if not points_to(self._registry, item, former.root.digest):
                return None
            if self._memory is not None:
                self._memory.seen_again(former)
        return former.root

    def look(self, item: CopyItem, tree: Tree) -> Findings:
        """Ask for the root by its tags, and only where it is there for the rest."""
        digest = tree.root.digest
        tagged = points_to(self._registry, item, digest)
        if not tagged and not (self.thorough and self._registry.has_manifest(item.sink_repository, digest)):
            return Findings()
        others = [m.digest for m in tree.everything if m.digest != digest]
        there = [other for other in others if self._registry.has_manifest(item.sink_repository, other)]
        return Findings(frozenset([digest, *there]), tagged)

    def holder(self, digest: Digest) -> str:
        """A repository that had the blob after a former run."""
        return self._memory.holder(digest) if self._memory is not None else ""

    def count_blobs(self, items: Sequence[CopyItem]) -> int:
        """How many different blobs these remembered items have."""
        return self._memory.blobs([_key(item) for item in items]) if self._memory is not None else 0

    def complete(self, item: CopyItem, root: Descriptor, blobs: Iterable[Descriptor]) -> None:
        """Remember an item."""
        if self._memory is not None:
            self._memory.add(Remembered(*_key(item), root=root, verified=time.time()), blobs)


def _key(item: CopyItem) -> Key:
    return key_of(item.sink_repository, item.tags, item.digest, item.content, item.platforms, item.referrers)
