"""`pull` (registry → store), `push` (store → registry) and `mirror` (registry → registry).

Each turns lock entries into items for the engine. Not here: how content moves.
"""

from collections.abc import Sequence

from isthmus.errors import UsageError
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Platform, Reference, Source
from isthmus.progress import Progress, silent
from isthmus.registry import Registry
from isthmus.store import Store, StoredReference
from isthmus.transfer.engine import CopyResult, copy
from isthmus.transfer.plan import CopyItem
from isthmus.transfer.reshape import as_it_is, one_platform
from isthmus.transfer.shard import WHOLE, Shard
from isthmus.transfer.survey import RegistrySurvey, Survey
from isthmus.transfer.upstreams import Upstreams
from isthmus.transfer.wanted import Wanted, held, wanted_of_lock, wanted_of_store


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
        items, store, jobs, progress, known=lambda digest: held(store, digest), skip_foreign=skip_foreign
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
    items = [
        _item(wanted, store, wanted.reference.repository)
        for wanted in wanted_of_store(store, chosen, mapping, single_platform=single_platform)
    ]
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
    return [
        _item(wanted, upstreams.registry(wanted.reference), wanted.reference.path)
        for wanted in wanted_of_lock(entries, mapping, platforms, single_platform=single_platform)
    ]


def _item(wanted: Wanted, source: Source, repository: str) -> CopyItem:
    return CopyItem(
        name=wanted.name,
        source=source,
        source_repository=repository,
        sink_repository=wanted.sink_repository,
        digest=wanted.digest,
        tags=wanted.tags,
        platforms=wanted.platforms,
        referrers=wanted.referrers,
        content=wanted.content,
    )


def _descriptor(entry: LockEntry, root: Descriptor) -> Descriptor:
    if root.digest != entry.digest:
        raise UsageError("invalid-lock", f"{entry.name} has another digest than its content")
    return root
