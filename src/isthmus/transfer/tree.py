"""All manifests that hang together below a root: children of indexes and what refers to them.

Not here: blobs' bytes. Every manifest is fetched once.
"""

from collections.abc import Callable, Collection, Sequence

import msgspec

from isthmus.errors import UsageError
from isthmus.oci import Descriptor, Digest, Manifest, Platform

MAX_DEPTH = 8
"""How deep indexes may be nested; more is an attack, not an image."""

Fetch = Callable[[Digest], Manifest]
Carried = Callable[[Digest], bool]


def everything(digest: Digest) -> bool:  # noqa: ARG001  # one of many answers
    """Carry every child of every index."""
    return True


class Tree(msgspec.Struct, frozen=True):
    """A root and all that is carried with it, children before parents, each manifest once."""

    root: Manifest
    manifests: tuple[Manifest, ...]
    referrers: tuple[Manifest, ...] = ()

    @property
    def everything(self) -> tuple[Manifest, ...]:
        """Manifests in an order in which they can be published: whatever is pointed to comes first."""
        return (*self.manifests, *self.referrers)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The configs and layers, each once."""
        found: dict[Descriptor, None] = {}
        for manifest in self.everything:
            found.update(dict.fromkeys(manifest.blobs))
        return tuple(found)

    @property
    def size(self) -> int:
        """Bytes of all manifests and blobs, each counted once."""
        manifests = {manifest.digest: manifest.size for manifest in self.everything}
        return sum(manifests.values()) + sum(blob.size for blob in self.blobs)


def walk(
    root: Manifest, platforms: Collection[Platform], fetch: Fetch, carried: Carried = everything
) -> tuple[Manifest, ...]:
    """The root and every wanted manifest below it, children first; children that are not `carried` are left out.

    Raises what `fetch` raises, and UsageError (`invalid-manifest`) for indexes nested too deep.
    """
    done: dict[Digest, Manifest] = {}
    _descend(root, platforms, fetch, carried, done, 0)
    return tuple(done.values())


def _descend(
    manifest: Manifest,
    platforms: Collection[Platform],
    fetch: Fetch,
    carried: Carried,
    done: dict[Digest, Manifest],
    depth: int,
) -> None:
    if depth > MAX_DEPTH:
        raise UsageError("invalid-manifest", f"indexes are nested more than {MAX_DEPTH} deep at {manifest.digest}")
    for child in manifest.select(platforms):
        if child.is_manifest and child.digest not in done and carried(child.digest):
            _descend(fetch(child.digest), platforms, fetch, carried, done, depth + 1)
    done[manifest.digest] = manifest


def lacks_platform(root: Manifest, platforms: Collection[Platform]) -> str:
    """What an index has instead, where it has nothing for any of these platforms; empty where it has."""
    if not platforms or not root.manifests or root.select(platforms):
        return ""
    return ", ".join(sorted({str(child.platform) for child in root.manifests if child.platform}))


def with_referrers(
    root: Manifest,
    manifests: tuple[Manifest, ...],
    referrers: Sequence[Digest],
    fetch: Fetch,
    carried: Carried = everything,
) -> Tree:
    """A tree with the named referrers, what hangs below them included."""
    found: dict[Digest, Manifest] = {}
    for digest in referrers:
        for manifest in walk(fetch(digest), (), fetch, carried):
            found[manifest.digest] = manifest
    return Tree(root=root, manifests=manifests, referrers=tuple(found.values()))
