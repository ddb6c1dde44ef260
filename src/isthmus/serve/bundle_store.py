"""A complete set of volumes served without unpacking: a small store whose blobs are in the volumes.

Signatures, manifests, indexes and the places of all records are checked on start, as `verify` does, and what
the site pinned is not asked. Payloads are not read then: manifests are verified when they are read, layers by
whoever pulls them. Read-only; what is written is a directory with the names, which can be thrown away.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.bundle import PublicKey
from isthmus.bundle.beside import replace
from isthmus.bundle.carried_lock import lock_in
from isthmus.bundle.documents import LOCK, keep_lock
from isthmus.bundle.history import ReceivedBundle, now, record_bundle
from isthmus.bundle.layout import RECORD_HEADER_SIZE, Kind
from isthmus.bundle.manifest import BundleManifest
from isthmus.bundle.policy import gate
from isthmus.bundle.problems import error_for
from isthmus.bundle.unpacking import names_in
from isthmus.bundle.volumeset import VolumeSet, gather
from isthmus.errors import IncompleteError, UnreachableError, UsageError
from isthmus.oci import Digest
from isthmus.store import FilePart, Store


class VolumeBlobs:
    """Blobs by digest, as parts of volumes (`store.Elsewhere`). Keeps no file open."""

    takes = False

    def __init__(self, parts: dict[Digest, tuple[FilePart, ...]]) -> None:
        self._parts = parts

    def size(self, digest: Digest, /) -> int | None:
        """As the signed manifest has it."""
        found = self._parts.get(digest)
        return sum(part.length for part in found) if found is not None else None

    def open(self, digest: Digest, offset: int, /) -> "_Reader":
        """Read over the borders of volumes."""
        found = self._parts.get(digest)
        if found is None:
            raise IncompleteError("not-found", f"the bundle does not carry {digest}")
        return _Reader(found, offset)

    def parts(self, digest: Digest, /) -> tuple[FilePart, ...] | None:
        """Where it is."""
        return self._parts.get(digest)

    def link(self, _digest: Digest, /) -> str:
        """Nowhere else."""
        return ""

    def put(self, digest: Digest, path: Path, _size: int, /) -> None:
        """Refuse: volumes are only read."""
        raise UsageError("wrong-usage", f"{digest} cannot be put into volumes", where=str(path))

    def changed(self, _digest: Digest, /) -> float | None:
        """Never."""
        return None

    def remove(self, _digest: Digest, /) -> None:
        """Nothing is removed from volumes."""

    def items(self) -> Iterator[tuple[Digest, int]]:
        """Every blob."""
        for digest in self._parts:
            yield digest, self.size(digest) or 0


class _Reader:
    def __init__(self, parts: Sequence[FilePart], offset: int) -> None:
        self.size: int | None = max(0, sum(part.length for part in parts) - offset)
        self._parts = list(parts)
        self._skip = offset
        self._descriptor = -1
        self._position = self._left = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as the current part goes; 0 only at the end. Raises `io-failed`."""
        while not self._left:
            if not self._parts:
                return 0
            self._next(self._parts.pop(0))
        try:
            count = os.preadv(self._descriptor, [buffer[: self._left]], self._position)
        except OSError as error:
            raise UnreachableError("io-failed", error.strerror or "a volume cannot be read") from error
        if not count:
            raise UnreachableError("io-failed", "a volume was cut off while it was served")
        self._position += count
        self._left -= count
        self.size = (self.size or 0) - count
        return count

    def _next(self, part: FilePart) -> None:
        skipped = min(self._skip, part.length)
        self._skip -= skipped
        self._position, self._left = part.offset + skipped, part.length - skipped
        self.close()
        if self._left:
            try:
                self._descriptor = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise UnreachableError("io-failed", error.strerror or "", where=str(part.path)) from error

    def close(self) -> None:
        """Close the volume that is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def lay_out(paths: Iterable[Path], keys: Sequence[PublicKey], place: Path) -> VolumeBlobs:
    """Check the volumes and write their names into an empty directory; the blobs to open that store with.

    Raises VerificationError as `verify`, IncompleteError `missing-volume`, UsageError `wrong-usage` for an
    update, whose other half is in a store.
    """
    given = gather(paths, keys)
    error = error_for(given.problems, given.missing)
    if error is not None:
        raise error
    contents = given.contents
    assert contents is not None
    manifest = contents.manifest
    gate(place, keys).admit(contents, [one for volume in given.in_order for one in volume.header.signatures])
    if manifest.held():
        raise UsageError(
            "wrong-usage",
            "the bundle is an update, and what it builds on is not in it",
            hint="unpack it into the store that it updates, and serve that",
        )
    found: dict[Digest, list[tuple[int, FilePart]]] = {}
    for volume in given.in_order:
        path = Path(os.path.abspath(volume.path))
        for record in volume.records():
            header = record.placed.header
            if header is None or header.kind != Kind.BLOB:
                continue
            part = FilePart(path, record.placed.position + RECORD_HEADER_SIZE, header.length)
            found.setdefault(header.digest, []).append((header.offset, part))
    blobs = VolumeBlobs({digest: tuple(part for _, part in sorted(parts)) for digest, parts in found.items()})
    _write_names(manifest, blobs, place)
    _write_record(given, manifest, place)
    keep_lock((volume.path for volume in given.in_order), manifest, place)
    return blobs


def _write_record(given: VolumeSet, manifest: BundleManifest, place: Path) -> None:
    """Say which bundle it is, for the console and the metrics."""
    assert given.contents is not None
    record_bundle(
        place,
        ReceivedBundle(
            bundle=hashlib.sha256(given.contents.raw).hexdigest(),
            name=manifest.name,
            at=now(),
            blobs=len(manifest.blobs),
            bytes=sum(blob.size for blob in manifest.blobs),
            references=len(names_in(manifest)),
            volumes=len(manifest.volumes),
            sequence=manifest.sequence,
            created=manifest.created,
            expires=manifest.expires,
            signed_by=given.signed_by,
            claimed_by=given.claimed_by,
        ),
    )


def _write_names(manifest: BundleManifest, blobs: VolumeBlobs, place: Path) -> None:
    with Store.create(place, also=blobs) as store:
        for one in manifest.manifests:  # manifests are read often, and referrers are found by them
            found = store.manifest_by_digest(manifest.blobs[one.blob].digest)
            store.put_manifest("", found)
        store.set_references(names_in(manifest))
        if (lock := lock_in(store, manifest)) is not None:
            replace(place / LOCK, lock)
