"""An archive together with the store it goes to: what of an image is there, and the engine's source of it.

What the store holds already counts as there, so that an archive may hold what changed alone. Not here: which
images an archive names (`images`).
"""

from collections.abc import Collection, Iterator

import msgspec

from isthmus.errors import IncompleteError, VerificationError
from isthmus.oci import Descriptor, Digest, Manifest, Platform, parse_manifest
from isthmus.store import Store
from isthmus.transfer.archive.survey import FileReader, Survey
from isthmus.transfer.tree import MAX_DEPTH


class Assembly(msgspec.Struct, frozen=True):
    """A root and what of it is there: image manifests that are whole, and the indexes above, children first.

    `missing` says which parts are not, as platforms where they have one.
    """

    root: Manifest
    leaves: tuple[Manifest, ...]
    indexes: tuple[Manifest, ...]
    missing: tuple[str, ...]

    @property
    def configs(self) -> frozenset[Digest]:
        """What tells that two manifests are about the same image, however its layers are compressed."""
        return frozenset(leaf.config.digest for leaf in self.leaves if leaf.config)

    @property
    def size(self) -> int:
        """Bytes of all manifests and blobs, each once."""
        blobs = {blob.digest: blob.size for leaf in self.leaves for blob in leaf.blobs}
        return sum(blobs.values()) + sum(manifest.size for manifest in (*self.leaves, *self.indexes))


class Content:
    """A `Source` of what is in the archive, or was made from it."""

    def __init__(self, survey: Survey, store: Store) -> None:
        self._survey = survey
        self._store = store
        self._manifests: dict[Digest, Manifest] = {}

    def add(self, manifest: Manifest) -> None:
        """Take in a manifest that was made around the archive's layers."""
        self._manifests[manifest.digest] = manifest

    def find(self, digest: Digest, media_type: str = "") -> Manifest | None:
        """A manifest from the archive, verified, or else from the store."""
        found = self._manifests.get(digest) or self._from_archive(digest, media_type)
        if found is None and self._store.blob_size(digest) is not None:
            found = self._store.manifest_by_digest(digest)
        if found is not None:
            self._manifests[digest] = found
        return found

    def _from_archive(self, digest: Digest, media_type: str) -> Manifest | None:
        file = self._survey.located(digest)
        if file is None:
            return None
        where = f"{self._survey.where}: {file.name}"
        raw = self._survey.document(file)
        if Digest.of(raw, digest.algorithm) != digest:
            raise VerificationError("digest-mismatch", "its content has another digest than its name", where=where)
        return parse_manifest(raw, media_type, where, digest.algorithm)

    def holds(self, blob: Descriptor) -> bool:
        """Whether a blob is there with its size."""
        file = self._survey.located(blob.digest)
        return (file is not None and file.size == blob.size) or self._store.blob_size(blob.digest) == blob.size

    def is_whole(self, manifest: Manifest) -> bool:
        """Whether all its blobs are there, but for layers that need not be."""
        return all(self.holds(blob) or blob.is_foreign for blob in manifest.blobs)

    def assemble(self, root: Manifest, platforms: Collection[Platform]) -> Assembly:
        """What of the wanted parts of a root is there."""
        leaves: dict[Digest, Manifest] = {}
        indexes: dict[Digest, Manifest] = {}
        missing = tuple(self._descend(root, platforms, leaves, indexes, 0))
        return Assembly(root, tuple(leaves.values()), tuple(indexes.values()), missing)

    def _descend(
        self,
        manifest: Manifest,
        platforms: Collection[Platform],
        leaves: dict[Digest, Manifest],
        indexes: dict[Digest, Manifest],
        depth: int,
    ) -> Iterator[str]:
        if not manifest.is_index:
            if self.is_whole(manifest):
                leaves[manifest.digest] = manifest
            else:
                yield f"blobs of {manifest.digest}"
            return
        for child in manifest.select(platforms):
            found = self.find(child.digest, child.media_type) if child.is_manifest and depth < MAX_DEPTH else None
            if found is None or (not found.is_index and not self.is_whole(found)):
                yield _label(child)
            elif child.digest not in leaves and child.digest not in indexes:
                yield from self._descend(found, platforms, leaves, indexes, depth + 1)
        indexes[manifest.digest] = manifest

    # Source

    def manifest(self, repository: str, target: str) -> Manifest:
        """By digest. Raises IncompleteError (`not-found`)."""
        found = self.find(Digest(target))
        if found is None:
            raise IncompleteError(
                "not-found", f"the archive has no {repository}@{target}", where=self._survey.where
            )
        return found

    def open_blob(self, repository: str, blob: Descriptor, offset: int = 0) -> FileReader:
        """A blob's bytes, not verified. Raises IncompleteError (`not-found`)."""
        file = self._survey.located(blob.digest)
        if file is None or self._survey.is_packed:  # of a packed one, all that can be read has been read
            raise IncompleteError(
                "not-found", f"the archive has no {repository}@{blob.digest}", where=self._survey.where
            )
        return self._survey.open(file, offset)

    def referrers(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:  # noqa: ARG002
        """None: those of an archive are copied as what they are."""
        return ()


def _label(child: Descriptor) -> str:
    if child.platform and str(child.platform) != "unknown/unknown":
        return str(child.platform)
    return str(child.digest)
