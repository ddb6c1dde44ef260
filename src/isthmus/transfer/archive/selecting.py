"""Which images of a store go into an archive, under which names each tool takes them.

`docker load` takes names with a tag only. containerd asks for an image with tag and digest by its digest
alone, as its CRI does, so such an image gets both names. Not here: the archive's bytes (`writing`).
"""

from collections.abc import Collection, Sequence

import msgspec

from isthmus.errors import IncompleteError, UsageError
from isthmus.oci import Descriptor, Digest, Manifest, Platform, Reference
from isthmus.store import Store, StoredReference
from isthmus.transfer.tree import MAX_DEPTH, lacks_platform

_CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
_PREFERRED = Platform("linux", "amd64")


class Selected(msgspec.Struct, frozen=True):
    """An image to export: everything of it that is carried, and what `docker load` gets of it.

    `names` are for containerd and podman, `tags` for docker. `saved` is the one image that docker can load;
    None for artifacts, with the reason in `unsaved`.
    """

    reference: StoredReference
    names: tuple[str, ...]
    tags: tuple[str, ...]
    manifests: tuple[Manifest, ...]
    referrers: tuple[Manifest, ...]
    absent: tuple[Descriptor, ...]
    saved: Manifest | None
    unsaved: str = ""


def find_references(store: Store, wanted: Sequence[str]) -> list[StoredReference]:
    """What the store calls so, or everything. A tag also finds the same tag with a digest.

    Raises IncompleteError (`missing-content`), UsageError (`invalid-reference`).
    """
    held = store.references()
    if not wanted:
        if not held:
            raise IncompleteError("missing-content", "the store names nothing", where=str(store.path))
        return list(held)
    found: dict[str, StoredReference] = {}
    missing = []
    for text in wanted:
        reference = Reference.parse(text)
        same = [one for one in held if one.name == str(reference)] or [
            one for one in held if _means(reference, one.reference)
        ]
        found.update({one.name: one for one in same})
        if not same:
            missing.append(str(reference))
    if missing:
        raise IncompleteError(
            "missing-content",
            f"the store has no {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            where=str(store.path),
            items=missing,
            hint="bring it with 'isthmus pull' first",
        )
    return [found[name] for name in sorted(found)]


def _means(wanted: Reference, held: Reference) -> bool:
    if wanted.repository != held.repository:
        return False
    return wanted.digest == held.digest if wanted.digest else wanted.tag == held.tag


def select(
    store: Store, references: Sequence[StoredReference], platforms: Sequence[Platform] = ()
) -> list[Selected]:
    """Everything of these references; with platforms, their children of indexes must be there.

    Without, those that the store holds are taken. Raises IncompleteError (`missing-content`) with all that
    is missing, VerificationError (`damaged-store`).
    """
    missing: list[str] = []
    # A tag alone is what it is now; of names with a tag and a digest, the first may have the tag.
    taken: dict[tuple[str, str], str] = {}
    for stored in sorted(references, key=lambda one: (one.reference.digest is not None, one.name)):
        if stored.tag:
            taken.setdefault((stored.repository, stored.tag), stored.name)
    ordered = sorted({stored.name: stored for stored in references}.items())  # the order asked for means nothing
    chosen = [_select(store, stored, platforms, taken, missing) for _, stored in ordered]
    if missing:
        raise IncompleteError(
            "missing-content",
            f"the store lacks what must be exported ({len(missing)}): {'; '.join(missing[:3])}",
            where=str(store.path),
            items=missing,
            hint="run 'isthmus pull' until nothing is missing, or name what is to be exported",
        )
    return chosen


def _select(
    store: Store,
    stored: StoredReference,
    platforms: Sequence[Platform],
    taken: dict[tuple[str, str], str],
    missing: list[str],
) -> Selected:
    manifests: dict[Digest, Manifest] = {}
    lacking = list(_walk(store, stored.descriptor, platforms, manifests))
    root = manifests.get(stored.descriptor.digest)
    if root is not None and (others := lacks_platform(root, platforms)):
        lacking.append(f"an image for {', '.join(map(str, platforms))}, and has {others}")
    referrers = _referrers(store, stored.repository, manifests)
    blobs = {blob.digest: blob for m in (*manifests.values(), *referrers) for blob in m.blobs}
    absent = tuple(blob for blob in blobs.values() if store.blob_size(blob.digest) != blob.size)
    lacking += [blob.digest for blob in absent if not blob.is_foreign]
    missing.extend(f"{stored.name} needs {what}" for what in lacking)
    reference = stored.reference
    tag = reference.tag if taken.get((stored.repository, reference.tag)) == stored.name else ""
    digest = f"{stored.repository}@{stored.descriptor.digest}" if reference.digest else ""
    names = tuple(name for name in (f"{stored.repository}:{tag}" if tag else "", digest) if name)
    # An image by digest has no name that docker could keep; the tag says what it is.
    replacement = tag or f"{stored.descriptor.digest.algorithm}-{stored.descriptor.digest.hex[:64]}"
    saved, unsaved = _saved(manifests, platforms, {blob.digest for blob in absent})
    tags = (f"{stored.repository}:{replacement}",)
    return Selected(stored, names, tags, tuple(manifests.values()), referrers, absent, saved, unsaved)


def _walk(
    store: Store, root: Descriptor, platforms: Collection[Platform], found: dict[Digest, Manifest], depth: int = 0
) -> list[str]:
    """Collect the manifests, children first; what must be there and is not comes back."""
    if store.blob_size(root.digest) is None:
        return [str(root.digest)]
    if depth > MAX_DEPTH:
        raise UsageError("invalid-manifest", f"indexes are nested more than {MAX_DEPTH} deep at {root.digest}")
    manifest = store.manifest_by_digest(root.digest)
    children = [child for child in manifest.select(platforms) if child.is_manifest]
    held = [child for child in children if store.blob_size(child.digest) is not None]
    lacking = []
    for child in children if platforms or not held else held:
        if child.digest not in found:
            lacking += _walk(store, child, platforms, found, depth + 1)
    found[manifest.digest] = manifest
    return lacking


def _referrers(store: Store, repository: str, manifests: dict[Digest, Manifest]) -> tuple[Manifest, ...]:
    found: dict[Digest, Manifest] = {}
    todo = list(manifests)
    while todo:
        for descriptor in store.referrers(repository, todo.pop()):
            if descriptor.digest not in found and descriptor.digest not in manifests:
                found[descriptor.digest] = store.manifest_by_digest(descriptor.digest)
                todo.append(descriptor.digest)
    return tuple(found.values())


def _saved(
    manifests: dict[Digest, Manifest], platforms: Sequence[Platform], absent: Collection[Digest]
) -> tuple[Manifest | None, str]:
    """The one image under a name that `docker load` takes: of the first platform asked for, else linux/amd64."""
    children = {c.digest: c.platform for m in manifests.values() for c in m.manifests}
    images = [m for m in manifests.values() if m.config and m.config.media_type in _CONFIGS]
    if not images:
        return None, "docker loads images only, this is another artifact"

    def rank(image: Manifest) -> int:
        have = children.get(image.digest)
        order = [*platforms, _PREFERRED]
        places = [place for place, wanted in enumerate(order) if have and have.matches(wanted)]
        unknown = have is not None and str(have) == "unknown/unknown"  # an attestation
        return len(order) + 1 if unknown else min(places, default=len(order))

    best = min(images, key=rank)
    if any(layer.digest in absent for layer in best.layers):
        return None, "it has foreign layers that were not pulled"
    return best, ""
