"""`pull` (registry → store), `push` (store → registry) and `mirror` (registry → registry).

Each turns lock entries into items for the engine. Not here: how content moves.
"""

from collections.abc import Sequence

from isthmus.errors import UsageError
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest, Manifest, Platform, Reference
from isthmus.progress import Progress, silent
from isthmus.registry import Registry
from isthmus.store import Store, StoredReference
from isthmus.transfer.engine import CopyResult, copy
from isthmus.transfer.plan import CopyItem
from isthmus.transfer.reshape import as_it_is, one_platform
from isthmus.transfer.shard import WHOLE, Shard
from isthmus.transfer.survey import RegistrySurvey, Survey
from isthmus.transfer.upstreams import Upstreams

_SINGLE = "single-platform"


def pull(
    entries: Sequence[LockEntry],
    store: Store,
    upstreams: Upstreams,
    platforms: Sequence[Platform] = (),
    jobs: int = 4,
    progress: Progress = silent,
    *,
    skip_foreign: bool = False,
) -> CopyResult:
    """Bring everything in the lock into the store, by digest, and name it there.

    With `skip_foreign`, layers that registries need not hold are left out, and listed in the result, where
    the upstream does not have them. Raises UnreachableError and VerificationError; what was pulled before is
    kept and need not be pulled again.
    """
    wanted = [entry for entry in entries if entry.in_registry]
    items = []
    for entry in wanted:
        reference = Reference.parse(entry.stored_name)
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
    result = copy(
        items, store, jobs, progress, known=lambda digest: _held(store, digest), skip_foreign=skip_foreign
    )
    store.set_references(
        StoredReference(name=entry.stored_name, descriptor=_descriptor(entry, root))
        for entry, root in zip(wanted, result.roots, strict=True)
    )
    return result


def push(
    store: Store,
    registry: Registry,
    mapping: MirrorMap,
    references: Sequence[StoredReference] | None = None,
    jobs: int = 4,
    progress: Progress = silent,
    *,
    survey: Survey | None = None,
    single_platform: bool = False,
) -> CopyResult:
    """Bring what the store names, or the given part of it, into a registry under the names of the mapping.

    Indexes of which the store holds some children only ("sparse") are pushed as they are; with
    `single_platform` the one image that is held goes under the tag instead. `survey` is a RegistrySurvey with
    a memory. Raises UsageError (`mapping-collision`), UnreachableError (also `sparse-index`).
    """
    chosen = store.references() if references is None else references
    parsed = [Reference.parse(stored.name) for stored in chosen]
    mapping.check_collisions(parsed)
    items = []
    for stored, reference in zip(chosen, parsed, strict=True):
        digest = stored.descriptor.digest
        held, referrers = _held_below(store, reference.repository, digest)
        items.append(
            CopyItem(
                name=stored.name,
                source=store,
                source_repository=reference.repository,
                sink_repository=mapping.repository(reference),
                digest=digest,
                tags=(reference.tag,) if reference.tag else (),
                referrers=referrers,
                content=" ".join([_SINGLE if single_platform else "", *sorted(held)]),
            )
        )
    return copy(
        items,
        registry,
        jobs,
        progress,
        survey=survey or RegistrySurvey(registry),
        carried=lambda child: store.has_manifest("", child),
        reshape=one_platform if single_platform else as_it_is,
        skip_foreign=True,  # whoever filled the store chose to; the result lists them
    )


def mirror(
    entries: Sequence[LockEntry],
    upstreams: Upstreams,
    registry: Registry,
    mapping: MirrorMap,
    platforms: Sequence[Platform] = (),
    jobs: int = 4,
    progress: Progress = silent,
    *,
    survey: Survey | None = None,
    single_platform: bool = False,
    skip_foreign: bool = False,
    shard: Shard = WHOLE,
) -> CopyResult:
    """Copy everything in the lock from the upstream registries to another, streaming, without touching disk.

    Options and errors as `push` and, for foreign layers, `pull`. For a `shard`, see `engine.copy`.
    """
    items = mirror_items(entries, upstreams, mapping, platforms, single_platform=single_platform)
    return copy(
        items,
        registry,
        jobs,
        progress,
        survey=survey or RegistrySurvey(registry),
        reshape=one_platform if single_platform else as_it_is,
        skip_foreign=skip_foreign,
        shard=shard,
    )


def mirror_items(
    entries: Sequence[LockEntry],
    upstreams: Upstreams,
    mapping: MirrorMap,
    platforms: Sequence[Platform] = (),
    *,
    single_platform: bool = False,
) -> list[CopyItem]:
    """What `mirror` copies; raises UsageError (`mapping-collision`)."""
    wanted = [entry for entry in entries if entry.in_registry]
    parsed = [Reference.parse(entry.stored_name) for entry in wanted]
    mapping.check_collisions(parsed)
    items = []
    for entry, reference in zip(wanted, parsed, strict=True):
        referrers = tuple(referrer.digest for referrer in entry.referrers)
        items.append(
            CopyItem(
                name=entry.name,
                source=upstreams.registry(reference),
                source_repository=reference.path,
                sink_repository=mapping.repository(reference),
                digest=entry.digest,
                tags=(reference.tag,) if reference.tag else (),
                platforms=tuple(platforms),
                referrers=referrers,
                content=_SINGLE if single_platform else "",
            )
        )
    return items


def _held(store: Store, digest: Digest) -> Manifest | None:
    if store.blob_size(digest) is None:
        return None
    return store.manifest_by_digest(digest)


def _descriptor(entry: LockEntry, root: Descriptor) -> Descriptor:
    if root.digest != entry.digest:
        raise UsageError("invalid-lock", f"{entry.name} has another digest than its content")
    return root


def _held_below(store: Store, repository: str, digest: Digest) -> tuple[tuple[Digest, ...], tuple[Digest, ...]]:
    """What the store holds of an image: its manifests, and the referrers of all of them and of one another."""
    held: dict[Digest, None] = {}
    referrers: dict[Digest, None] = {}
    todo = [digest]
    while todo:
        subject = todo.pop()
        manifest = _held(store, subject) if subject not in held else None
        if manifest is None:
            continue
        held[subject] = None
        todo.extend(child.digest for child in manifest.manifests)
        for descriptor in store.referrers(repository, subject):
            if descriptor.digest not in referrers:
                referrers[descriptor.digest] = None
                todo.append(descriptor.digest)
    return tuple(held), tuple(referrers)
