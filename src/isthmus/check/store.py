"""`check_store`: every reference of a lock is in a store, with all its manifests and blobs. No registry needed."""

from collections.abc import Iterable, Iterator

from isthmus.check.hashing import Hashed
from isthmus.check.locked import platforms_of, reference_of
from isthmus.check.result import CheckResult, Finding, Verdict, points_elsewhere, sum_up
from isthmus.errors import IncompleteError, UsageError, VerificationError
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Digest, Manifest
from isthmus.store import Store


def check_store(entries: Iterable[LockEntry], store: Store, *, rehash: bool = False) -> CheckResult:
    """Look for every reference: its name, its manifests (verified), its blobs (by size), its referrers.

    With `rehash` every blob is read and hashed as well, once.

    Raises `io-failed` where the store cannot be read, `invalid-lock`.
    """
    names = {stored.name: stored.descriptor.digest for stored in store.references()}
    hashed = Hashed() if rehash else None
    return sum_up(_verdict(entry, store, names, hashed) for entry in entries)


def _verdict(entry: LockEntry, store: Store, names: dict[str, Digest], hashed: Hashed | None) -> Verdict:
    reference = reference_of(entry)
    if reference is None:
        why = f"the lock does not say what a {entry.kind} is called in a store; make it again"
        return Verdict(missing=(Finding(entry.name, why, entry.digest),))
    missing = [Finding(entry.name, why, str(digest)) for why, digest in _absent(entry, store, hashed)]
    found = names.get(str(reference))
    stale: tuple[Finding, ...] = ()
    if found is not None and found != entry.digest:
        stale = (Finding(entry.name, points_elsewhere(found, entry.digest), str(entry.digest)),)
    elif found is None and not missing:
        missing.append(Finding(entry.name, "its content is there, but the name is not", str(entry.digest)))
    return Verdict(missing=tuple(missing), stale=stale)


def _absent(entry: LockEntry, store: Store, hashed: Hashed | None) -> Iterator[tuple[str, Digest]]:
    """Why and what, for everything that the entry needs and the store does not have."""
    platforms = platforms_of(entry)
    todo = [(entry.digest, "it")]
    todo += [(referrer.digest, f"its referrer {referrer.digest}") for referrer in entry.referrers]
    seen: set[Digest] = set()
    while todo:
        digest, what = todo.pop(0)
        if digest in seen:
            continue
        seen.add(digest)
        manifest = _manifest(store, digest)
        if isinstance(manifest, str):
            yield f"{what} {manifest}", digest
            continue
        children = manifest.select(platforms)
        for child in children:
            if child.is_manifest:
                todo.append((child.digest, f"its part {child.digest} ({child.platform or child.media_type})"))
        for blob in (*manifest.blobs, *(child for child in children if not child.is_manifest)):
            size = None if blob.is_foreign else store.blob_size(blob.digest)
            if not blob.is_foreign and size != blob.size:
                yield f"its blob {blob.digest} is not there", blob.digest
            elif hashed and not blob.is_foreign and (why := hashed.complaint(store, "", blob)):
                yield f"its blob {blob.digest} {why}", blob.digest


def _manifest(store: Store, digest: Digest) -> Manifest | str:
    """The manifest, or what is wrong with it."""
    try:
        return store.manifest_by_digest(digest)
    except IncompleteError:
        return "is not there"
    except (VerificationError, UsageError) as error:
        return f"is damaged: {error.message}"
