"""From references to a lock: every tag becomes a digest, with sizes, platforms and signatures.

Not here: what cosign keeps under tags (`attached`), the lock file (`inventory.lock`), moving blobs (`engine`).
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from isthmus.errors import IsthmusError, UnreachableError
from isthmus.inventory.lock import LockedReferrer, LockEntry
from isthmus.inventory.model import Ref
from isthmus.oci import Digest, Manifest, Platform, Reference, Source
from isthmus.progress import Meter, Progress, silent
from isthmus.transfer.attached import find_attached
from isthmus.transfer.pool import run_all
from isthmus.transfer.tree import Tree, walk, with_referrers
from isthmus.transfer.upstreams import Upstreams

MAX_REFERRER_DEPTH = 3
"""Signatures of SBOMs of images are followed this far."""


class Failure(msgspec.Struct, frozen=True):
    """A reference that could not be resolved, and the error that says why."""

    reference: Ref
    error: IsthmusError


class Resolution(msgspec.Struct, frozen=True):
    """What could be resolved, sorted by name, and what could not. `bytes` counts every blob once."""

    entries: tuple[LockEntry, ...]
    failures: tuple[Failure, ...]
    bytes: int


def resolve(
    references: Sequence[Ref],
    upstreams: Upstreams,
    platforms: Collection[Platform] = (),
    jobs: int = 8,
    progress: Progress = silent,
) -> Resolution:
    """Ask the upstream registries what every image and artifact is at this moment.

    Never raises for a single reference: failures are listed, so that one run shows all of them.
    """
    wanted = [ref for ref in references if ref.in_registry]
    meter = Meter(len(wanted), progress)

    def one(ref: Ref) -> list[tuple[LockEntry, Tree]] | Failure:
        try:
            return _resolve_one(ref, upstreams, platforms)
        except IsthmusError as error:
            return Failure(ref, error)
        finally:
            meter.add(1, ref.name)

    answers = run_all(one, wanted, jobs)
    good = [pair for answer in answers if not isinstance(answer, Failure) for pair in answer]
    return Resolution(
        entries=_unique(entry for entry, _ in good),
        failures=tuple(answer for answer in answers if isinstance(answer, Failure)),
        bytes=_total(tree for _, tree in good),
    )


def _unique(entries: Iterable[LockEntry]) -> tuple[LockEntry, ...]:
    """Sorted; what two images of the same digest have attached, or what was asked for as well, is there once."""
    found: dict[tuple[str, str], LockEntry] = {}
    named: dict[str, tuple[str, str]] = {}
    for entry in entries:
        key = named.setdefault(entry.name, entry.key)
        other = found.get(key)
        if other is not None:
            entry = msgspec.structs.replace(other, evidence=tuple(sorted({*other.evidence, *entry.evidence})))
        found[key] = entry
    return tuple(sorted(found.values(), key=lambda entry: entry.key))


def _resolve_one(ref: Ref, upstreams: Upstreams, platforms: Collection[Platform]) -> list[tuple[LockEntry, Tree]]:
    """The reference itself first, then what cosign attached to it."""
    reference = Reference.parse(ref.name.removeprefix("oci://"))
    registry = upstreams.registry(reference)

    def fetch(digest: Digest) -> Manifest:
        return registry.manifest(reference.path, digest)

    root = registry.manifest(reference.path, reference.target)
    manifests = walk(root, platforms, fetch)
    _require_platform(root, manifests, platforms, ref.name)
    referrers = _find_referrers(registry, reference.path, manifests)
    tree = with_referrers(root, manifests, [referrer.digest for referrer in referrers], fetch)
    entry = LockEntry(
        kind=ref.kind,
        name=ref.name,
        digest=root.digest,
        media_type=root.media_type,
        size=tree.size,
        platforms=_platforms(root, platforms),
        children=_children(root, platforms),
        referrers=referrers,
        evidence=_evidence(ref),
    )
    return [(entry, tree), *find_attached(registry, reference, _signable(root, manifests))]


def _signable(root: Manifest, manifests: Sequence[Manifest]) -> list[Digest]:
    """What people sign: an index and its images, but not the build attestations beside them."""
    records = _records(root)
    return [manifest.digest for manifest in manifests if manifest.digest not in records]


def _require_platform(
    root: Manifest, manifests: Sequence[Manifest], platforms: Collection[Platform], name: str
) -> None:
    if root.is_index and root.manifests and len(manifests) == 1:
        have = sorted({str(child.platform) for child in root.manifests if child.platform})
        raise UnreachableError(
            "not-found",
            f"{name} has no image for {', '.join(map(str, platforms))}",
            hint=f"it has {', '.join(have)}",
            http_status=404,
        )


def _find_referrers(
    registry: Source, repository: str, manifests: Sequence[Manifest]
) -> tuple[LockedReferrer, ...]:
    """Everything that names one of the manifests as its subject, and what names those, sorted by digest."""
    found: dict[Digest, LockedReferrer] = {}
    subjects = [manifest.digest for manifest in manifests]
    for _ in range(MAX_REFERRER_DEPTH):
        fresh: list[Digest] = []
        for subject in subjects:
            for descriptor in registry.referrers(repository, subject):
                if descriptor.digest not in found:
                    found[descriptor.digest] = LockedReferrer(
                        digest=descriptor.digest,
                        media_type=descriptor.media_type,
                        artifact_type=descriptor.artifact_type,
                        size=descriptor.size,
                    )
                    fresh.append(descriptor.digest)
        subjects = fresh
    return tuple(found[digest] for digest in sorted(found))


def _platforms(root: Manifest, platforms: Collection[Platform]) -> tuple[str, ...]:
    named = {str(child.platform) for child in root.select(platforms) if child.platform}
    return tuple(sorted(named - {"unknown/unknown"}))


def _children(root: Manifest, platforms: Collection[Platform]) -> tuple[Digest, ...]:
    """The images that are carried of an index of which not everything is, sorted; as `reshape` sees them."""
    carried = {child.digest: child for child in root.select(platforms) if child.is_manifest}
    if all(child.digest in carried for child in root.manifests):
        return ()
    records = _records(root)
    return tuple(sorted(digest for digest in carried if digest not in records))


def _records(root: Manifest) -> set[Digest]:
    """The build attestations that stand in an index beside its images."""
    return {child.digest for child in root.manifests if str(child.platform) == "unknown/unknown"}


def _evidence(ref: Ref) -> tuple[str, ...]:
    lines = {" ".join(part for part in (f.source, f.object, f.path) if part) for f in ref.findings}
    return tuple(sorted(lines))


def _total(trees: Iterable[Tree]) -> int:
    sizes: dict[Digest, int] = {}
    for tree in trees:
        sizes.update({manifest.digest: manifest.size for manifest in tree.everything})
        sizes.update({blob.digest: blob.size for blob in tree.blobs})
    return sum(sizes.values())
