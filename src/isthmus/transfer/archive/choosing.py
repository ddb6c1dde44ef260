"""Which of an archive's images get which names in the store, and whether they are what the lock says.

A lock's digest is restored where the archive, or the store, has the manifest with that digest and what it
names. Not here: copying (`reading`).
"""

from collections.abc import Collection, Iterator, Sequence

import msgspec

from isthmus.inventory.lock import LockEntry
from isthmus.oci import Digest, Manifest, Platform, Reference
from isthmus.transfer.archive.content import Assembly, Content
from isthmus.transfer.archive.images import ArchiveImage

_NAMELESS = "it has no name, and the lock does not know its digest"


class Choice(msgspec.Struct, frozen=True):
    """What becomes of an image under one name.

    It is not brought where there is a `problem`. `missing` says what the lock or the options ask for and
    neither archive nor store has. `accepted` is what the lock must say from now on.
    """

    name: str
    assembly: Assembly
    restored: bool = False
    locked: Digest | None = None
    problem: str = ""
    missing: tuple[str, ...] = ()
    referrers: tuple[Digest, ...] = ()
    accepted: LockEntry | None = None


def choose(
    image: ArchiveImage,
    content: Content,
    entries: Sequence[LockEntry],
    platforms: Collection[Platform],
    accept_new_digest: bool,
) -> Iterator[Choice]:
    """One choice for each name that the image gets, or for each reason why it gets none."""
    own = content.assemble(image.root, platforms)
    known = False
    for name, entry in _matches(image, own, entries):
        known = True
        yield _against_lock(name, own, content, entry, platforms, accept_new_digest)
    if known:
        return
    for name in image.names or ("",):
        yield _without_lock(name, own, platforms)


def _matches(image: ArchiveImage, own: Assembly, entries: Sequence[LockEntry]) -> Iterator[tuple[str, LockEntry]]:
    """Entries of the lock that this image may be: the same repository and tag, or the very digest."""
    names = [Reference.parse(name) for name in image.names]
    digests = {own.root.digest, *(manifest.digest for manifest in (*own.leaves, *own.indexes))}
    for entry in entries:
        reference = Reference.parse(entry.stored_name)
        same = [name for name in names if name.repository == reference.repository]
        by_tag = any(name.tag == reference.tag for name in same if name.tag)
        by_digest = entry.digest in digests and (not names or (same and not reference.tag))
        if by_tag or by_digest:
            yield str(reference), entry


def _against_lock(
    name: str,
    own: Assembly,
    content: Content,
    entry: LockEntry,
    platforms: Collection[Platform],
    accept_new_digest: bool,
) -> Choice:
    restored = _restore(own, content, entry, platforms)
    if restored is not None:
        lost = [r for r in entry.referrers if not _has(content, r.digest)]
        return Choice(
            name,
            restored,
            restored=True,
            locked=entry.digest,
            missing=(*restored.missing, *(f"{r.artifact_type or r.media_type} {r.digest}" for r in lost)),
            referrers=tuple(r.digest for r in entry.referrers if r not in lost),
        )
    if not own.leaves:
        return Choice(name, own, locked=entry.digest, problem=_nothing_whole(own))
    if Reference.parse(name).digest:
        why = f"the lock pins {entry.digest}, the archive gives {own.root.digest}"
        return Choice(name, own, locked=entry.digest, problem=f"digest differs from the lock: {why}")
    if not accept_new_digest:
        why = f"the lock has {entry.digest}, the archive gives {own.root.digest}"
        return Choice(name, own, locked=entry.digest, problem=f"digest differs from the lock: {why}")
    accepted = msgspec.structs.replace(
        entry,
        digest=own.root.digest,
        media_type=own.root.media_type,
        size=own.size,
        platforms=_platforms(own),
        referrers=(),  # those that the lock knew are about the other digest
    )
    return Choice(name, own, locked=entry.digest, accepted=accepted, missing=own.missing if platforms else ())


def _restore(
    own: Assembly, content: Content, entry: LockEntry, platforms: Collection[Platform]
) -> Assembly | None:
    """What the lock means, if it is there and about the same image as the archive's."""
    if entry.digest == own.root.digest:
        return own if own.leaves else None
    root = content.find(entry.digest)
    if root is None:
        return None
    found = content.assemble(root, platforms)
    return found if found.configs & own.configs else None


def _without_lock(name: str, own: Assembly, platforms: Collection[Platform]) -> Choice:
    if not own.leaves:
        return Choice(name, own, problem=_nothing_whole(own))
    if not name:
        return Choice(name, own, problem=_NAMELESS)
    pinned = Reference.parse(name).digest
    if pinned and pinned != own.root.digest:
        return Choice(name, own, problem=f"the archive calls {own.root.digest} so")
    # Without a lock, nobody asked for the platforms that are not there, unless an option did.
    return Choice(name, own, missing=own.missing if platforms else ())


def _nothing_whole(own: Assembly) -> str:
    return f"nothing of it is whole in the archive: {', '.join(own.missing[:5]) or 'it has no image at all'}"


def _platforms(own: Assembly) -> tuple[str, ...]:
    leaves = {leaf.digest for leaf in own.leaves}
    children = [child for index in own.indexes for child in index.manifests if child.digest in leaves]
    named = {str(child.platform) for child in children if child.platform}
    return tuple(sorted(named - {"unknown/unknown"}))


def _has(content: Content, digest: Digest) -> bool:
    manifest: Manifest | None = content.find(digest)
    return manifest is not None and content.is_whole(manifest)
