"""Whether a registry still has all that former runs completed: at most one question a tag, with few imports.

Where anything is new, changed or in doubt, it is left to `push` and `mirror`. Not here: a store (`settled`).
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from isthmus.oci import Descriptor, Digest
from isthmus.transfer.memory import Memory, Remembered
from isthmus.transfer.pool import StopFlag, Stopped, run_all
from isthmus.transfer.wanted import Wanted


class Asked(Protocol):
    """What a registry can be asked about manifests."""

    def manifest_digest(self, repository: str, target: str) -> Descriptor | None:
        """What a tag or digest points to; None where it does not exist."""
        ...

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        """Whether the manifest is there."""
        ...


class Named(Protocol):
    """Something under tags in a repository of the registry."""

    @property
    def sink_repository(self) -> str:
        """The repository."""
        ...

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags; where there are none, the digest is asked for."""
        ...


def points_to(registry: Asked, item: Named, digest: Digest) -> bool:
    """Whether all tags of an item point to the digest."""
    for target in item.tags or (digest,):
        found = registry.manifest_digest(item.sink_repository, target)
        if found is None or found.digest != digest:
            return False
    return True


def find_settled(
    wanted: Sequence[Wanted], memory: Memory, trust_for: float, registry: Callable[[], Asked], jobs: int
) -> list[Remembered] | None:
    """What each is remembered as, where all is as it was, else None.

    What was seen within `trust_for` seconds is not asked for; `registry` is called only if there are questions.
    Raises UnreachableError.
    """
    former = memory.recall()
    found = [former.get(one.key) for one in wanted]
    known = [one for one in found if one is not None]
    if len(known) != len(wanted):
        return None
    now = time.time()
    doubtful = [
        (one, past) for one, past in zip(wanted, known, strict=True) if not 0 <= now - past.verified < trust_for
    ]
    if doubtful and not _still_so(doubtful, registry(), jobs):
        return None
    for _, past in doubtful:
        memory.seen_again(past)
    return known


def _still_so(doubtful: Sequence[tuple[Wanted, Remembered]], registry: Asked, jobs: int) -> bool:
    enough = StopFlag()
    changed = []

    def look(number: int) -> None:
        one, past = doubtful[number]
        if not points_to(registry, one, past.root.digest):
            changed.append(one)
            enough.set()

    try:
        run_all(look, range(len(doubtful)), jobs, enough)
    except Stopped:
        if not changed:
            raise
    return not changed
