"""What a registry holds below the mapping's prefix that no lock needs any more, and deleting it.

Decided by digests alone: a manifest stays if a lock names it, if it is below an index that a lock names, if it
is the image that a lock lets stand in place of one (`--single-platform`), or if it is about one that stays
(referrers, and what cosign attaches by tags). Registries list no manifests without tags, so those are found only
below what has one. Nothing is deleted in a repository in which something that a lock names is missing, since a
copy may be on its way. Not here: blobs, which the registry's own garbage collection frees.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest, Manifest, Reference
from isthmus.registry import Registry
from isthmus.transfer.pool import run_all
from isthmus.transfer.tree import walk

_ABOUT = re.compile(r"(sha256|sha512)-([0-9a-f]{64,128})(?:\.[a-z]+)?", re.ASCII)


class Unneeded(msgspec.Struct, frozen=True):
    """A manifest that no lock needs, and the tags that go with it."""

    repository: str
    digest: Digest
    tags: tuple[str, ...] = ()


class PrunePlan(msgspec.Struct, frozen=True):
    """What would go, parents before children; `kept` manifests with tags stay.

    `stale` are tags that a lock names and that stand for something else, which are left as they are;
    `incomplete` repositories lack something that a lock names, and `foreign` ones are none of the mapping's.
    """

    unneeded: tuple[Unneeded, ...] = ()
    kept: int = 0
    stale: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


class _Wanted(msgspec.Struct):
    """What the locks say of one repository; of each root, what may be there in its place."""

    roots: dict[Digest, Digest | None] = msgspec.field(default_factory=dict)
    attached: dict[Digest, None] = msgspec.field(default_factory=dict)
    tags: dict[str, None] = msgspec.field(default_factory=dict)


class _Found(msgspec.Struct, frozen=True):
    unneeded: tuple[Unneeded, ...] = ()
    kept: int = 0
    stale: tuple[str, ...] = ()
    incomplete: bool = False


def plan_prune(entries: Iterable[LockEntry], registry: Registry, mapping: MirrorMap, jobs: int = 4) -> PrunePlan:
    """Look at every repository below the prefix; changes nothing.

    Raises UsageError (`wrong-usage`) without a prefix, where everything in the registry would be meant,
    without a single image in the locks, and where none of their repositories is there; UnreachableError.
    """
    wanted = _wanted(entries, mapping)
    if not mapping.prefix:
        raise UsageError(
            "wrong-usage", "without a prefix, everything in the registry would be meant", hint="--to HOST/PREFIX"
        )
    if not wanted:
        raise UsageError("wrong-usage", "the locks name no image, so that everything would be deleted")
    below = sorted(name for name in registry.catalog() if name.startswith(f"{mapping.prefix}/"))
    ours = [name for name in below if _is_ours(name, mapping)]
    if ours and not any(name in wanted for name in ours):
        raise UsageError(
            "wrong-usage",
            f"nothing below {mapping.prefix}/ is in a repository that the locks name, so that everything would "
            f"be deleted",
            hint=f"the locks name {next(iter(wanted))}; is it another --mapping or prefix, or not pushed yet?",
        )
    found = run_all(lambda name: _look(registry, name, wanted.get(name, _Wanted())), ours, jobs)
    return PrunePlan(
        unneeded=tuple(one for each in found for one in each.unneeded),
        kept=sum(each.kept for each in found),
        stale=tuple(one for each in found for one in each.stale),
        incomplete=tuple(name for name, each in zip(ours, found, strict=True) if each.incomplete),
        foreign=tuple(name for name in below if name not in set(ours)),
    )


def prune(plan: PrunePlan, registry: Registry) -> int:
    """Delete what the plan says; returns how many manifests were there to be deleted.

    Raises UnreachableError, with what to do where the registry does not delete.
    """
    count = 0
    for one in plan.unneeded:
        try:
            registry.delete_manifest(one.repository, one.digest)
            count += 1
        except UnreachableError as error:
            if error.code == "not-found":
                continue  # gone meanwhile, or with its parent
            if error.http_status == 405:
                error.hint = "allow it in the registry's configuration, storage.delete.enabled for Distribution"
            raise
    return count


def _wanted(entries: Iterable[LockEntry], mapping: MirrorMap) -> dict[str, _Wanted]:
    wanted: dict[str, _Wanted] = {}
    for entry in entries:
        reference = Reference.parse(entry.stored_name)
        of = wanted.setdefault(mapping.repository(reference), _Wanted())
        of.roots[entry.digest] = of.roots.get(entry.digest) or entry.stand_in
        of.attached.update(dict.fromkeys(referrer.digest for referrer in entry.referrers))
        if reference.tag:
            of.tags[reference.tag] = None
    return wanted


def _is_ours(repository: str, mapping: MirrorMap) -> bool:
    return mapping.mapping == "flat" or mapping.origin(repository) is not None


def _look(registry: Registry, repository: str, wanted: _Wanted) -> _Found:
    tags = dict(_tags(registry, repository))
    if not tags and not wanted.roots:
        return _Found()
    keep: dict[Digest, None] = dict(wanted.attached)
    for wanted_root, stand_in in wanted.roots.items():
        root = _there(registry, repository, wanted_root, stand_in)
        if root is None:
            return _Found(kept=len(tags), incomplete=True)
        keep.update(dict.fromkeys(one.digest for one in _below(registry, repository, root)))
    stale = [f"{repository}:{tag}" for tag, one in tags.items() if tag in wanted.tags and one.digest not in keep]
    gone: dict[Digest, list[str]] = {}
    for tag, descriptor in tags.items():
        if descriptor.digest in keep or tag in wanted.tags or _subject(tag) in keep:
            # Whatever hangs below a tag that stays must stay too.
            keep.update(dict.fromkeys(one.digest for one in _below(registry, repository, descriptor.digest)))
    for tag, descriptor in tags.items():
        if descriptor.digest not in keep:
            gone.setdefault(descriptor.digest, []).append(tag)
    return _Found(
        unneeded=tuple(_with_parts(registry, repository, gone, keep)),
        kept=len({one.digest for one in tags.values()} & set(keep)),
        stale=tuple(stale),
    )


def _there(registry: Registry, repository: str, root: Digest, stand_in: Digest | None) -> Digest | None:
    """What the registry has of a root: itself, or the image in its place."""
    if registry.has_manifest(repository, root):
        return root
    return stand_in if stand_in and registry.has_manifest(repository, stand_in) else None


def _with_parts(
    registry: Registry, repository: str, gone: dict[Digest, list[str]], keep: dict[Digest, None]
) -> Iterator[Unneeded]:
    """What goes by its tag, with all below it and about it that nothing else needs."""
    done = set(keep)
    for root, tags in gone.items():
        for manifest in reversed(_below(registry, repository, root)):
            about = () if _subject(tags[0]) else _about(registry, repository, manifest.digest)
            for digest in (manifest.digest, *about):
                if digest not in done:
                    done.add(digest)
                    yield Unneeded(repository, digest, tuple(sorted(gone.get(digest, ()))))


def _about(registry: Registry, repository: str, digest: Digest) -> Sequence[Digest]:
    return [descriptor.digest for descriptor in registry.referrers(repository, digest)]


def _below(registry: Registry, repository: str, root: Digest) -> Sequence[Manifest]:
    """The manifest and those below it that are there; children first."""
    found = registry.manifest(repository, root)
    there = [child for child in found.manifests if registry.has_manifest(repository, child.digest)]
    held = msgspec.structs.replace(found, manifests=tuple(there))

    def fetch(digest: Digest) -> Manifest:
        return registry.manifest(repository, digest)

    return walk(held, (), fetch)


def _tags(registry: Registry, repository: str) -> Iterator[tuple[str, Descriptor]]:
    try:
        names = registry.tags(repository)
    except UnreachableError as error:
        if error.code != "not-found":
            raise
        return  # a repository of which everything was deleted is listed for ever by some
    for name in names:
        descriptor = registry.manifest_digest(repository, name)
        if descriptor is not None:
            yield name, descriptor


def _subject(tag: str) -> Digest | None:
    """What a referrers tag (distribution-spec, "Referrers Tag Schema") or cosign's is about."""
    match = _ABOUT.fullmatch(tag)
    if match is None:
        return None
    try:
        return Digest(f"{match[1]}:{match[2]}")
    except UsageError:
        return None
