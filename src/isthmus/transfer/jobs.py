"""`pull` (registry → store), `push` (store → registry) and `mirror` (registry → registry).

Each turns lock entries into items for the engine. Not here: how content moves.
"""

from collections.abc import Sequence

import msgspec

from isthmus.errors import UsageError
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest, Manifest, Platform, Reference
from isthmus.progress import Progress, silent
from isthmus.registry import Registry
from isthmus.store import Store, StoredReference
from isthmus.transfer.engine import CopyItem, CopyResult, copy
from isthmus.transfer.tree import Tree
from isthmus.transfer.upstreams import Upstreams

IMAGE_KINDS = ("image", "artifact")


def pull(
    entries: Sequence[LockEntry],
    store: Store,
    upstreams: Upstreams,
    platforms: Sequence[Platform] = (),
    jobs: int = 4,
    progress: Progress = silent,
) -> CopyResult:
    """Bring everything in the lock into the store, by digest, and name it there.

    Raises UnreachableError and VerificationError; what was pulled before is kept and need not be pulled
    again.
    """
    wanted = [entry for entry in entries if entry.kind in IMAGE_KINDS]
    items = []
    for entry in wanted:
        reference = Reference.parse(entry.name)
        items.append(
            CopyItem(
                name=entry.name,
                source=upstreams.registry(reference),
                source_repository=reference.path,
                sink_repository=reference.repository,
                digest=entry.digest,
                platforms=tuple(platforms),
                referrers=tuple(referrer.digest for referrer in entry.referrers),
            )
        )
    result = copy(items, store, jobs, progress, known=lambda digest: _held(store, digest))
    store.set_references(
        StoredReference(name=entry.name, descriptor=_descriptor(entry, tree))
        for entry, tree in zip(wanted, result.trees, strict=True)
    )
    return result


def push(
    store: Store,
    registry: Registry,
    mapping: MirrorMap,
    references: Sequence[StoredReference] | None = None,
    jobs: int = 4,
    progress: Progress = silent,
) -> CopyResult:
    """Bring what the store names, or the given part of it, into a registry under the names of the mapping.

    Indexes of which the store holds some children only ("sparse") are pushed as they are. Raises
    UsageError (`mapping-collision`), UnreachableError.
    """
    chosen = store.references() if references is None else references
    parsed = [Reference.parse(stored.name) for stored in chosen]
    mapping.check_collisions(parsed)
    items = []
    for stored, reference in zip(chosen, parsed, strict=True):
        items.append(
            CopyItem(
                name=stored.name,
                source=StoreView(store),
                source_repository=reference.repository,
                sink_repository=mapping.repository(reference),
                digest=stored.descriptor.digest,
                tags=(reference.tag,) if reference.tag else (),
                referrers=_all_referrers(store, reference.repository, stored.descriptor.digest),
            )
        )
    return copy(items, registry, jobs, progress, manifests_prove_blobs=True)


def mirror(
    entries: Sequence[LockEntry],
    upstreams: Upstreams,
    registry: Registry,
    mapping: MirrorMap,
    platforms: Sequence[Platform] = (),
    jobs: int = 4,
    progress: Progress = silent,
) -> CopyResult:
    """Copy everything in the lock from the upstream registries to another, streaming, without touching disk."""
    wanted = [entry for entry in entries if entry.kind in IMAGE_KINDS]
    parsed = [Reference.parse(entry.name) for entry in wanted]
    mapping.check_collisions(parsed)
    items = [
        CopyItem(
            name=entry.name,
            source=upstreams.registry(reference),
            source_repository=reference.path,
            sink_repository=mapping.repository(reference),
            digest=entry.digest,
            tags=(reference.tag,) if reference.tag else (),
            platforms=tuple(platforms),
            referrers=tuple(referrer.digest for referrer in entry.referrers),
        )
        for entry, reference in zip(wanted, parsed, strict=True)
    ]
    return copy(items, registry, jobs, progress, manifests_prove_blobs=True)


class StoreView:
    """A store as a source of what it holds: children of a sparse index that it lacks are left out, not missed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.open_blob = store.open_blob
        self.referrers = store.referrers

    def manifest(self, repository: str, target: str) -> Manifest:
        """The manifest with those children only that the store holds; its bytes and digest are unchanged."""
        found = self._store.manifest(repository, target)
        if not found.is_index:
            return found
        held = tuple(child for child in found.manifests if self._store.has_manifest(repository, child.digest))
        return msgspec.structs.replace(found, manifests=held)


def _held(store: Store, digest: Digest) -> Manifest | None:
    if store.blob_size(digest) is None:
        return None
    return store.manifest_by_digest(digest)


def _descriptor(entry: LockEntry, tree: Tree) -> Descriptor:
    if tree.root.digest != entry.digest:
        raise UsageError("invalid-lock", f"{entry.name} has another digest than its content")
    return tree.root.descriptor()


def _all_referrers(store: Store, repository: str, digest: Digest) -> tuple[Digest, ...]:
    """Referrers of the image, of its children and of the referrers themselves that the store holds."""
    found: dict[Digest, None] = {}
    todo = [digest]
    while todo:
        subject = todo.pop()
        manifest = _held(store, subject)
        if manifest is None:
            continue
        todo.extend(child.digest for child in manifest.manifests)
        for descriptor in store.referrers(repository, subject):
            if descriptor.digest not in found:
                found[descriptor.digest] = None
                todo.append(descriptor.digest)
    return tuple(found)
