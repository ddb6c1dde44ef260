"""What a bundle's manifest lists, as something that signatures and SBOMs are looked up in.

The same before it is packed (blobs in the outer store) and before it is taken (staged, or in the site's store).
Not here: what signatures say (`oci.cosign`), and what is asked of them (`demands`).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from isthmus.bundle.manifest import BundleManifest, CarriedReference
from isthmus.bundle.medium import open_regular
from isthmus.errors import IncompleteError, IsthmusError, UsageError
from isthmus.oci import Descriptor, Digest, Manifest, Reference, Verifier, parse_manifest
from isthmus.oci.cosign import attached_tags

MAX_READ: Final = 64 * 1024 * 1024
"""Bytes of one blob that are read into memory."""


class BundleShelf:
    """`path_of` says where the blob of a number in `manifest.blobs` is, or None."""

    def __init__(self, manifest: BundleManifest, path_of: Callable[[int], Path | None]) -> None:
        self.manifest = manifest
        self._path_of = path_of
        self._numbers = {blob.digest: number for number, blob in enumerate(manifest.blobs)}
        self._types = {entry.blob: entry.media_type for entry in manifest.manifests}
        self._subjects: dict[int, list[int]] = {}
        for entry in manifest.manifests:
            if entry.subject is not None:
                self._subjects.setdefault(entry.subject, []).append(entry.blob)
        self._named: dict[tuple[str, str], Digest] = {}
        for carried in manifest.references:
            named = Reference.parse(carried.name)
            if named.tag:
                self._named[named.repository, named.tag] = carried.digest

    def root(self, reference: CarriedReference) -> Manifest:
        """What a reference stands for. Raises IsthmusError where it is not a manifest, or not there."""
        return self.manifest_of(reference.digest, reference.media_type)

    def manifest_of(self, digest: Digest, media_type: str = "") -> Manifest:
        """A manifest by its digest, verified; raises IsthmusError."""
        number = self._number(digest)
        raw = self._bytes(number)
        return parse_manifest(raw, media_type or self._types.get(number, ""), str(digest), digest.algorithm)

    def parts(self, reference: CarriedReference) -> list[Manifest]:
        """All manifests that the reference needs and that can be read, its root and its referrers among them."""
        found = []
        for number in reference.blobs:
            if number in self._types:
                try:
                    found.append(self.manifest_of(self.manifest.blobs[number].digest))
                except IsthmusError:
                    continue
        return found

    def attached(self, repository: str, digest: Digest) -> Iterator[Manifest]:
        """Referrers by their subject, and what is under cosign's tags in the same repository."""
        wanted = {self._named.get((repository, tag)): None for tag in attached_tags(digest)}
        for number in self._subjects.get(self._numbers.get(digest, -1), ()):
            wanted[self.manifest.blobs[number].digest] = None
        for found in wanted:
            if found is None:
                continue
            try:
                yield self.manifest_of(found)
            except IsthmusError:
                continue

    def read(self, blob: Descriptor) -> bytes:
        """A small blob, verified; raises IsthmusError."""
        return self._bytes(self._number(blob.digest))

    def path(self, digest: Digest) -> Path | None:
        """Where a blob is, if it is there."""
        number = self._numbers.get(digest)
        return None if number is None else self._path_of(number)

    def _number(self, digest: Digest) -> int:
        if digest not in self._numbers:
            raise IncompleteError("missing-content", f"the bundle does not list {digest}")
        return self._numbers[digest]

    def _bytes(self, number: int) -> bytes:
        digest, size = self.manifest.blobs[number]
        path = self._path_of(number)
        if path is None:
            raise IncompleteError("missing-content", f"{digest} is not there")
        if size > MAX_READ:
            raise UsageError("invalid-input", f"{digest} is larger than {MAX_READ} bytes")
        with open_regular(path) as file:
            data = file.at(0, size + 1)
        verifier = Verifier(digest, size, str(path))
        verifier.update(data)
        verifier.finish()
        return data
