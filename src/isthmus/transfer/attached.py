"""What cosign attaches to an image under tags made of its digest: `sha256-HEX.sig`, `.att` and `.sbom`.

Such a signature names no subject; only the tag says what it is about, so it must be there under that very tag
inside the site. Each becomes an entry of the lock of its own, an artifact with that tag, and not one of its
image's referrers, which have no tags: then pull names it in the store, push and mirror publish it by its tag,
serve answers to it, pack carries it and check asks for it, all as for anything else in the lock. Not here:
referrers (`resolve`).
"""

from collections.abc import Callable, Iterable, Iterator

from isthmus.errors import UnreachableError
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Digest, Manifest, Reference, Source
from isthmus.transfer.tree import Tree, walk

SUFFIXES = {"sig": "signature", "att": "attestation", "sbom": "SBOM"}
MAX_DEPTH = 3
"""Signatures of SBOMs of images are followed this far."""


def find_attached(source: Source, reference: Reference, digests: Iterable[Digest]) -> list[tuple[LockEntry, Tree]]:
    """What cosign attached to the manifests with these digests, and to that again.

    One request for each kind and digest, as no registry lists tags by their beginning. Raises what the
    source raises for anything but a tag that is not there.
    """
    found: dict[str, tuple[LockEntry, Tree]] = {}
    todo = [(digest, str(reference)) for digest in digests]
    for _ in range(MAX_DEPTH):
        fresh: list[tuple[Digest, str]] = []
        for digest, about in todo:
            for entry, tree in _attached_to(source, reference, digest, about):
                if entry.name not in found:
                    found[entry.name] = (entry, tree)
                    fresh.append((entry.digest, entry.name))
        todo = fresh
    return list(found.values())


def _attached_to(
    source: Source, reference: Reference, digest: Digest, about: str
) -> Iterator[tuple[LockEntry, Tree]]:
    if digest.algorithm != "sha256":  # longer digests make no tag, and cosign none of them
        return
    for suffix, kind in SUFFIXES.items():
        tag = f"{digest.algorithm}-{digest.hex}.{suffix}"
        root = _find(source, reference.path, tag)
        if root is None:
            continue
        fetch: Callable[[Digest], Manifest] = lambda wanted: source.manifest(reference.path, wanted)  # noqa: E731
        tree = Tree(root, walk(root, (), fetch))
        entry = LockEntry(
            kind="artifact",
            name=f"{reference.repository}:{tag}",
            digest=root.digest,
            media_type=root.media_type,
            size=tree.size,
            evidence=(f"{kind} of {about}",),
        )
        yield entry, tree


def _find(source: Source, path: str, tag: str) -> Manifest | None:
    try:
        return source.manifest(path, tag)
    except UnreachableError as error:
        if error.code == "not-found":
            return None
        raise
