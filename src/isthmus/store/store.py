"""`Store`: an OCI image layout on disk that is a `Source` and a `Sink`.

It only puts the parts of this room together: blobs, partial files, `index.json`, the database, leases.
Repositories are full names (`docker.io/library/nginx`), since one store holds images of every host. Several
threads may use one Store, and several processes one directory.
"""
# ruff: noqa: ARG002 -- a store keeps each blob once, so it needs no repository, but a Source and Sink are given one

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.errors import IncompleteError, UsageError, VerificationError
from isthmus.oci import Descriptor, Digest, Manifest, parse_manifest
from isthmus.oci.content import BlobReader
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.store import adopt, collect, index, ingest, layout, uploads
from isthmus.store.blobs import BlobDirectory, DamagedBlob
from isthmus.store.database import Database, manifest_or_none
from isthmus.store.elsewhere import Elsewhere
from isthmus.store.index import Entry, Index, StoredReference
from isthmus.store.leases import Lease
from isthmus.store.names import IndexFile
from isthmus.store.staging import Staging

_UPLOADS_IDLE = 24 * 3600.0  # seconds that an upload may rest


class Store:
    """Use `create` or `open`. With `durable`, every blob and the index reach the medium before they count."""

    def __init__(self, path: Path, *, durable: bool = False, also: Elsewhere | None = None) -> None:
        self.path = path
        self.durable = durable
        self.blobs = BlobDirectory(path / layout.BLOBS, also)
        self._database = Database(path / layout.DATABASE, self.blobs)
        self._lease = Lease(path / layout.LEASES)
        self._index = IndexFile(
            path / layout.INDEX, path / layout.INDEX_LOCK, path / layout.INDEX_TEMPORARY, durable=durable
        )

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, durable: bool = False, also: Elsewhere | None = None) -> Self:
        """Make a store where there is none, or open the one that is there."""
        layout.create(Path(path))
        return cls.open(path, durable=durable, also=also)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, durable: bool = False, also: Elsewhere | None = None) -> Self:
        """Open a layout, ours or another tool's; `also` is where blobs are that its directory does not have.

        Raises UsageError `store-not-found`, or `damaged-store`.
        """
        layout.check(Path(path))
        store = cls(Path(path), durable=durable, also=also)
        store.blobs.check()
        return store

    def close(self) -> None:
        """End the lease, and with it the protection of what nothing names yet."""
        self._database.close()
        self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    # Source

    def manifest(self, repository: str, target: str) -> Manifest:
        """By tag or digest, verified. Raises IncompleteError `not-found`, or `damaged-store`."""
        if ":" in target:
            return self.manifest_by_digest(Digest(target))
        found = self._index.current().by_tag.get((repository, target))
        if found is None:
            raise IncompleteError("not-found", f"the store has no {repository}:{target}", where=str(self.path))
        return self._parse(found.digest, found.media_type)

    def manifest_by_digest(self, digest: Digest) -> Manifest:
        """Read and verified. Raises IncompleteError `not-found`, `damaged-store`, or `invalid-manifest`."""
        return self._parse(digest, "")

    def _parse(self, digest: Digest, media_type: str) -> Manifest:
        raw = self.blobs.read(digest, MAX_MANIFEST_SIZE)
        return parse_manifest(raw, media_type, where=str(self.blobs.path(digest)), algorithm=digest.algorithm)

    def open_blob(self, repository: str, blob: Descriptor, offset: int = 0) -> BlobReader:
        """The blob's bytes from `offset` on. Raises IncompleteError `not-found`, `io-failed`."""
        return self.blobs.reader(blob.digest, offset, blob.size)

    def referrers(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        """What names this digest as its subject, as the referrers API tells it (distribution-spec 1.1)."""
        self._refresh()
        found = []
        for candidate in self._database.referrers(digest):
            try:
                manifest = self.manifest_by_digest(candidate)
            except (IncompleteError, UsageError):
                continue  # the database may know more than there is
            if manifest.subject and manifest.subject.digest == digest:
                found.append(index.as_referrer(manifest))
        return tuple(found)

    # Sink

    def has_blob(self, repository: str, blob: Descriptor) -> bool:
        """Whether the blob is there with its size; from then on it is not collected while this Store is open."""
        self._lease.protect(blob.digest)
        return self.blobs.size(blob.digest) == blob.size

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        """Whether the manifest is there and whole; it is small enough to be hashed."""
        self._lease.protect(digest)
        try:
            self.blobs.read(digest, MAX_MANIFEST_SIZE)
        except (IncompleteError, VerificationError, UsageError):
            return False
        return True

    def mount_blob(self, repository: str, blob: Descriptor, other_repository: str) -> bool:
        """Whether the blob is there: a store keeps each once for all repositories."""
        return self.has_blob(repository, blob)

    def write_blob(self, repository: str, blob: Descriptor) -> ingest.FileWriter | ingest.HeldWriter:
        """A writer that resumes; its `offset` is the blob's size where the blob is there already."""
        self._lease.protect(blob.digest)
        return self._begin(blob)

    def _begin(self, blob: Descriptor, *, replace: bool = False) -> ingest.FileWriter | ingest.HeldWriter:
        place = self.path / layout.INGEST
        return ingest.begin(place, self.blobs, blob, durable=self.durable, replace=replace)

    def begin_upload(self, name: str) -> None:
        """Make an empty upload, for content whose digest is told at its end; `name` as `uploads.begin` says."""
        uploads.begin(self.path / layout.INGEST, name)

    def upload(self, name: str, running: uploads.Running | None = None) -> uploads.Upload:
        """Hold an upload for writing. Raises IncompleteError `not-found`, UsageError `store-busy`."""
        return uploads.resume(self.path / layout.INGEST, self.blobs, name, running, durable=self.durable)

    def upload_size(self, name: str) -> int:
        """Bytes of an upload that are there. Raises IncompleteError `not-found`."""
        return uploads.size(self.path / layout.INGEST, name)

    def sweep_uploads(self, idle_seconds: float) -> int:
        """Remove uploads that nobody has written to for so long; how many."""
        return uploads.sweep(self.path / layout.INGEST, idle_seconds)

    def protect(self, digest: Digest) -> None:
        """Keep a blob from being collected while this Store is open, whether it is there or comes later."""
        self._lease.protect(digest)

    def protect_only(self, wanted: Callable[[], Iterable[Digest]]) -> None:
        """Give up the protection of everything else. `wanted` is asked while nothing new can be protected."""
        self._lease.keep_only(wanted)

    def put_manifest(self, repository: str, manifest: Manifest, tag: str = "") -> None:
        """Write a manifest under its digest and, with a tag, name it. For many names, use `set_references`."""
        self._lease.protect(manifest.digest)
        self._database.learn([manifest])
        if not self.has_manifest(repository, manifest.digest):
            with self._begin(manifest.descriptor(), replace=True) as writer:
                writer.write(memoryview(manifest.raw)[writer.offset :])
                writer.commit()
        if tag:
            self.set_references([StoredReference(f"{repository}:{tag}", manifest.descriptor())])

    # Names

    def references(self) -> tuple[StoredReference, ...]:
        """Every full name, sorted. Entries that have only a tag, or nothing, are in `entries` alone."""
        return self._index.current().references

    def entries(self) -> tuple[Entry, ...]:
        """Every entry of `index.json` as it stands, those of other tools and of referrers too."""
        return self._index.current().index.entries

    def set_references(self, references: Iterable[StoredReference], remove: Iterable[str] = ()) -> None:
        """Set and remove names, all in one atomic write; what is named must be there (`missing-content`)."""
        references = tuple(references)
        for reference in references:
            self._lease.protect(reference.descriptor.digest)
        missing = [r.name for r in references if self.blobs.size(r.descriptor.digest) != r.descriptor.size]
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            message = f"what {missing[0]} stands for is not in the store{more}"
            raise IncompleteError("missing-content", message, where=str(self.path), items=missing)
        self._refresh()
        subjects = self._database.with_subject()
        self._index.change(
            lambda old: index.with_references(old, references, remove, self._referrer_entries(old, subjects))
        )

    def _referrer_entries(self, old: Index, subjects: Iterable[Digest]) -> Iterator[Entry]:
        """Entries for referrers that other tools could not find otherwise."""
        listed = {entry.descriptor.digest for entry in old.entries}
        for digest in subjects:
            manifest = None if digest in listed else manifest_or_none(self.blobs, digest)
            if manifest and manifest.subject:
                yield index.referrer_entry(index.as_referrer(manifest), manifest.subject.digest)

    # Blobs

    def blob_path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self.blobs.path(digest)

    def blob_size(self, digest: Digest) -> int | None:
        """Bytes on disk, or None. Raises `damaged-store` for a link or special file in its place."""
        return self.blobs.size(digest)

    def iter_blobs(self) -> Iterator[tuple[Digest, int]]:
        """Every blob on disk with its size, sorted, whatever names it."""
        return iter(self.blobs)

    def verify_blob(self, digest: Digest) -> int:
        """Hash a blob again; the bytes read. Raises VerificationError `damaged-store`, `not-found`."""
        return self.blobs.verify(digest)

    def scrub(self) -> Iterator[DamagedBlob]:
        """Hash everything again and yield what is damaged."""
        return self.blobs.scrub()

    def discard_blob(self, digest: Digest) -> None:
        """Remove a damaged blob, so that it is fetched again."""
        self.blobs.discard(digest)

    def needed_by(self, digest: Digest) -> tuple[str, ...]:
        """The full names that lead to a blob or manifest, through parents and subjects, sorted."""
        self._refresh()
        names: dict[Digest, list[str]] = {}
        for reference in self.references():
            names.setdefault(reference.descriptor.digest, []).append(reference.name)
        found: set[str] = set()
        seen: set[Digest] = set()
        todo = [digest]
        while todo:
            current = todo.pop()
            if current not in seen:
                seen.add(current)
                found.update(names.get(current, ()))
                todo += [*self._database.parents(current), *self._database.subject_of(current)]
        return tuple(sorted(found))

    def adopt(self, staging: Staging, digests: Iterable[Digest]) -> int:
        """Move verified blobs of a staging directory in here; how many moved. Raises `missing-content`."""
        wanted = tuple(dict.fromkeys(digests))
        for digest in wanted:
            self._lease.protect(digest)
        place = self.path / layout.INGEST
        return adopt.adopt(staging, wanted, self.blobs, place, self._database.learn, durable=self.durable)

    def collect(
        self, grace_seconds: float = collect.GRACE_SECONDS, dry_run: bool = False
    ) -> collect.CollectResult:
        """Remove what no name leads to, if older than the grace period, and what interrupted writers left.

        Never what a Store that is open anywhere has asked for or written, this one included. Raises
        `damaged-store`, before anything is removed, where a manifest that is needed cannot be read.
        """
        started = time.time()
        sweep = collect.Sweep(self.blobs, self.path / layout.LEASES, self._marked, self._index.mark)
        removed, kept = sweep.run(grace_seconds, dry_run=dry_run)
        gone = {digest for digest, _ in removed}
        partials, partial_bytes = ingest.sweep(self.path / layout.INGEST, started - grace_seconds, dry_run=dry_run)
        if not dry_run:
            self.sweep_uploads(max(grace_seconds, _UPLOADS_IDLE))
            self._database.forget(gone)
            self._index.change(lambda old: collect.without_gone_referrers(old, self.blobs))
        return collect.CollectResult(
            blobs=len(removed),
            bytes=sum(size for _, size in removed) + partial_bytes,
            partials=partials,
            kept=kept,
            digests=tuple(digest for digest, _ in removed),
            dry_run=dry_run,
        )

    def _marked(self) -> tuple[set[Digest], str]:
        now = self._index.current()
        self._database.refresh(now.index, now.mark)
        return collect.mark(self.blobs, now.index.entries, self._database.referrers), now.mark

    def _refresh(self) -> None:
        now = self._index.current()
        self._database.refresh(now.index, now.mark)
