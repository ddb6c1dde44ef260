"""Whether a store has everything of a lock already: read from its files, before anything else is loaded.

Most pulls bring nothing. That shall cost no connection, no database and few imports. Whatever is not plainly
as it must be, or cannot be read, is left to `pull`, which mends it or says what is wrong. Not here: copying.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from isthmus.errors import IsthmusError
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Descriptor, Digest, Manifest, Platform, parse_manifest
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.store import layout
from isthmus.store.blobs import BlobDirectory
from isthmus.store.index import read_index
from isthmus.transfer.tree import walk, with_referrers


def count_settled(store: Path, entries: Sequence[LockEntry], platforms: Sequence[Platform] = ()) -> int | None:
    """The number of blobs of these images where the store has and names all of them, else None.

    Manifests are read and verified, of blobs the size is looked at, as `pull` does.
    """
    try:
        layout.check(store)
        index = read_index(store / layout.INDEX)
        directory = BlobDirectory(store / layout.BLOBS)
        directory.check()
        named = {entry.name: entry.descriptor.digest for entry in index.entries if entry.name}
        listed = frozenset(entry.descriptor.digest for entry in index.entries)
        return _count(directory, named, listed, entries, platforms)
    except (IsthmusError, OSError):
        return None


def _count(
    directory: BlobDirectory,
    named: Mapping[str, Digest],
    listed: frozenset[Digest],
    entries: Sequence[LockEntry],
    platforms: Sequence[Platform],
) -> int | None:
    manifests: dict[Digest, Manifest] = {}

    def fetch(digest: Digest) -> Manifest:
        found = manifests.get(digest)
        if found is None:
            raw = directory.read(digest, MAX_MANIFEST_SIZE)
            found = manifests[digest] = parse_manifest(raw, "", str(store_path(digest)), digest.algorithm)
        return found

    store_path = directory.path
    blobs: dict[Descriptor, None] = {}
    for entry in entries:
        referrers = [referrer.digest for referrer in entry.referrers]
        if named.get(entry.stored_name) != entry.digest or not listed.issuperset(referrers):
            return None
        root = fetch(entry.digest)
        tree = with_referrers(root, walk(root, platforms, fetch), referrers, fetch)
        for blob in tree.blobs:
            if blob not in blobs:
                if directory.size(blob.digest) != blob.size:
                    return None
                blobs[blob] = None
    return len(blobs)
