"""Pushing and deleting manifests, tags and blobs (OCI distribution-spec 1.1, "Push", "Content Management").

What is answered for is named in the store's `index.json`: a tag as `REPOSITORY:TAG`, a manifest pushed by its
digest as `REPOSITORY@DIGEST`. Nothing is deleted that something else in the repository needs, and no bytes are:
collection removes them later. Runs in threads, one change at a time.
"""

import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from isthmus.errors import IsthmusError, UsageError
from isthmus.oci import Descriptor, Digest, Manifest, Reference, parse_manifest
from isthmus.serve.answers import RefusedError
from isthmus.serve.links import Links
from isthmus.serve.reach import Reach
from isthmus.store import Store, StoredReference, files


class _OneAtATime:
    """A lock for the threads of all workers."""

    def __init__(self, path: Path) -> None:
        self._threads = threading.Lock()
        self._path = path
        self._held: AbstractContextManager[None] | None = None

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            held = files.locked(self._path)
            held.__enter__()
            self._held = held
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.__exit__(None, None, None)
        self._threads.release()


class Pushing:
    """Changes a store. Raises RefusedError, and what the store raises."""

    def __init__(self, store: Store, links: Links) -> None:
        self._store = store
        self._links = links
        self._lock = _OneAtATime(store.path / "serve.push.lock")

    def put(self, repository: str, manifest: Manifest, tags: Iterable[str]) -> None:
        """Store a manifest whose parts are there and name it; without tags by its digest."""
        tags = tuple(tags)
        names = [f"{repository}:{tag}" for tag in tags] or [f"{repository}@{manifest.digest}"]
        _check_names(names)
        with self._lock:
            self._links.remove(repository, [manifest.digest], "hidden")
            self._store.put_manifest(repository, manifest)
            replaced = [one for one in self._of(repository) if one.tag in tags and one.tag]
            self._keep_untagged(repository, replaced, manifest.digest)
            self._store.set_references(
                [StoredReference(name, manifest.descriptor()) for name in names],
                remove=[one.name for one in replaced if one.name not in names],
            )
            self._links.remove(repository, [blob.digest for blob in manifest.blobs], "blob")
            self._links.remove(repository, [manifest.digest], "manifest")

    def _keep_untagged(self, repository: str, replaced: Iterable[StoredReference], new: Digest) -> None:
        """Somebody may be in the middle of pulling what the tag stood for until now."""
        for digest in {one.descriptor.digest for one in replaced} - {new}:
            self._links.add(repository, digest, "manifest")

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Whether there was one. Its manifest stays, by its digest."""
        with self._lock:
            gone = [one for one in self._of(repository) if one.tag == tag]
            kept = {f"{repository}@{one.descriptor.digest}": one.descriptor for one in gone}
            references = [StoredReference(name, descriptor) for name, descriptor in kept.items()]
            if gone:
                self._store.set_references(references, remove=[one.name for one in gone])
            return bool(gone)

    def delete_manifest(self, repository: str, digest: Digest, reach: Reach) -> None:
        """Remove every name of a manifest that the repository has. Refuses where an index needs it."""
        with self._lock:
            for parent in reach.manifests:
                if parent != digest and digest in self._parts(parent):
                    raise _needed(digest, parent)
            gone = [one for one in self._of(repository) if one.descriptor.digest == digest]
            if self._subject(digest):
                self._links.add(repository, digest, "hidden")  # as a referrer it would still be found
            self._store.set_references([], remove=[one.name for one in gone])
            self._links.remove(repository, [digest], "manifest")

    def delete_blob(self, repository: str, digest: Digest, reach: Reach) -> None:
        """Take a blob out of a repository. Refuses where a manifest needs it."""
        with self._lock:
            for parent in reach.manifests:
                if parent == digest or digest in self._parts(parent):
                    raise _needed(digest, parent)
            self._links.remove(repository, [digest], "blob")

    def _of(self, repository: str) -> list[StoredReference]:
        """The repository's names; hosts do not tell case apart."""
        host, _, path = repository.partition("/")
        found = []
        for one in self._store.references():
            if f"/{path}" in one.name:
                reference = one.reference
                if reference.path == path and reference.host.lower() == host:
                    found.append(one)
        return found

    def _subject(self, digest: Digest) -> Descriptor | None:
        try:
            return self._store.manifest_by_digest(digest).subject
        except IsthmusError:
            return None

    def _parts(self, digest: Digest) -> set[Digest]:
        try:
            manifest = self._store.manifest_by_digest(digest)
        except IsthmusError:
            return set()  # gone, or damaged, which is told to whoever asks for it
        return {part.digest for part in (*manifest.blobs, *manifest.manifests)}


def read_manifest(raw: bytes, media_type: str, digest: Digest | None) -> Manifest:
    """Parse what was pushed. Raises RefusedError `MANIFEST_INVALID`, `DIGEST_INVALID`."""
    algorithm = digest.algorithm if digest else "sha256"
    if digest is not None and Digest.of(raw, algorithm) != digest:
        raise RefusedError(400, "DIGEST_INVALID", f"the manifest does not have the digest {digest}")
    try:
        return parse_manifest(raw, media_type, algorithm=algorithm)
    except UsageError as error:
        raise RefusedError(400, "MANIFEST_INVALID", error.message) from error


def needed_blobs(manifest: Manifest) -> tuple[Descriptor, ...]:
    """What must be in the repository before the manifest; its children may be missing (a sparse index)."""
    blobs = ([manifest.config] if manifest.config else []) + list(manifest.layers)  # `blobs` has each digest once
    return tuple(blob for blob in blobs if not (blob.is_foreign or "nondistributable" in blob.media_type))


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        try:
            if str(Reference.parse(name)) == name:
                continue
        except UsageError:
            pass
        raise RefusedError(400, "NAME_INVALID", "a repository cannot be called that")


def _needed(digest: Digest, parent: Digest) -> RefusedError:
    message = f"{parent} needs {digest}; delete that first"
    return RefusedError(405, "DENIED", message, {"Allow": "GET, HEAD"})
