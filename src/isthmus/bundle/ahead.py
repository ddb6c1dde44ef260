"""A store as it will be once a few small things are in it that are not written: what a dry run plans with.

Not here: planning (`planning`), and what those things are (`carried_lock`).
"""

from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.store import Store, StoredReference


class StoreAhead:
    """Reads from a store, and notes what is put into it: digests and sizes of blobs, and whole manifests."""

    def __init__(self, store: Store) -> None:
        self.path = store.path
        self._store = store
        self._sizes: dict[Digest, int] = {}
        self._manifests: dict[Digest, Manifest] = {}

    def write_blob(self, repository: str, blob: Descriptor) -> "_Nothing":  # noqa: ARG002
        """Take note of a blob; the writer that comes has nothing left to do."""
        self._sizes[blob.digest] = blob.size
        return _Nothing(blob.size)

    def put_manifest(self, repository: str, manifest: Manifest) -> None:  # noqa: ARG002
        """Take note of a manifest."""
        self._sizes[manifest.digest] = len(manifest.raw)
        self._manifests[manifest.digest] = manifest

    def references(self) -> tuple[StoredReference, ...]:
        """Every full name in the store."""
        return self._store.references()

    def blob_size(self, digest: Digest) -> int | None:
        """Bytes of a blob that is there, or will be."""
        found = self._store.blob_size(digest)
        return self._sizes.get(digest) if found is None else found

    def blob_path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self._store.blob_path(digest)

    def manifest_by_digest(self, digest: Digest) -> Manifest:
        """Raises what the store raises."""
        return self._manifests.get(digest) or self._store.manifest_by_digest(digest)

    def referrers(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        """What the store has that refers to it."""
        return self._store.referrers(repository, digest)


class _Nothing:
    """A writer that has all bytes already."""

    def __init__(self, size: int) -> None:
        self.offset = size

    def write(self, chunk: memoryview, /) -> None:
        """There is nothing left to write."""

    def commit(self) -> None:
        """Nothing is published."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass
