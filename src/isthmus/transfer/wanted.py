"""What `push` and `mirror` want to see in a registry, and how it is remembered. Not here: copying."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest, Manifest, Platform, Reference

if TYPE_CHECKING:
    from isthmus.store import Store, StoredReference

_SINGLE = "single-platform"


class Wanted(msgspec.Struct, frozen=True):
    """One image or artifact under its names on both sides; `content` says what else decides what is carried."""

    name: str
    reference: Reference
    sink_repository: str
    digest: Digest
    platforms: tuple[Platform, ...] = ()
    referrers: tuple[Digest, ...] = ()
    content: str = ""

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag, where it has one."""
        return (self.reference.tag,) if self.reference.tag else ()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is remembered by."""
        return key_of(self.sink_repository, self.tags, self.digest, self.content, self.platforms, self.referrers)


def key_of(
    repository: str, tags: Sequence[str], digest: Digest, content: str, platforms: Iterable[Platform],
    referrers: Iterable[Digest],
) -> tuple[str, str, str, str]:  # fmt: skip
    """What is carried of an item is a part of its key, so that a run that carries more is not taken for done."""
    words = [content, *sorted(map(str, platforms)), "", *sorted(referrers)]
    carried = hashlib.sha256("\n".join(words).encode()).hexdigest()
    return (repository, " ".join(tags), str(digest), carried)


def wanted_of_lock(
    entries: Sequence[LockEntry], mapping: MirrorMap, platforms: Sequence[Platform], *, single_platform: bool
) -> list[Wanted]:
    """What `mirror` copies; raises UsageError (`mapping-collision`)."""
    images = [entry for entry in entries if entry.in_registry]
    parsed = [Reference.parse(entry.stored_name) for entry in images]
    mapping.check_collisions(parsed)
    return [
        Wanted(
            name=entry.name,
            reference=reference,
            sink_repository=mapping.repository(reference),
            digest=entry.digest,
            platforms=tuple(platforms),
            referrers=tuple(referrer.digest for referrer in entry.referrers),
            content=_SINGLE if single_platform else "",
        )
        for entry, reference in zip(images, parsed, strict=True)
    ]


def wanted_of_store(
    store: "Store", references: "Sequence[StoredReference]", mapping: MirrorMap, *, single_platform: bool
) -> list[Wanted]:
    """What `push` copies; raises UsageError (`mapping-collision`)."""
    parsed = [Reference.parse(stored.name) for stored in references]
    mapping.check_collisions(parsed)
    found = []
    for stored, reference in zip(references, parsed, strict=True):
        digest = stored.descriptor.digest
        manifests, referrers = _held_below(store, reference.repository, digest)
        found.append(
            Wanted(
                name=stored.name,
                reference=reference,
                sink_repository=mapping.repository(reference),
                digest=digest,
                referrers=referrers,
                content=" ".join([_SINGLE if single_platform else "", *sorted(manifests)]),
            )
        )
    return found


def held(store: "Store", digest: Digest) -> Manifest | None:
    """A manifest that the store has, verified."""
    if store.blob_size(digest) is None:
        return None
    return store.manifest_by_digest(digest)


def _held_below(store: "Store", repository: str, digest: Digest) -> tuple[tuple[Digest, ...], tuple[Digest, ...]]:
    """What the store holds of an image: its manifests, and the referrers of all of them and of one another."""
    found: dict[Digest, None] = {}
    referrers: dict[Digest, None] = {}
    todo = [digest]
    while todo:
        subject = todo.pop()
        manifest = held(store, subject) if subject not in found else None
        if manifest is None:
            continue
        found[subject] = None
        todo.extend(child.digest for child in manifest.manifests)
        for descriptor in store.referrers(repository, subject):
            if descriptor.digest not in referrers:
                referrers[descriptor.digest] = None
                todo.append(descriptor.digest)
    return tuple(found), tuple(referrers)
