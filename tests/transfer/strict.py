"""A registry in memory for the tests of this room: as strict as real ones, and counting. Not a test file.

Without repositories for blobs it refuses; without blobs it refuses a manifest; without children, an index.
"""

import threading
from collections import Counter
from types import TracebackType
from typing import Self

from isthmus.errors import UnreachableError
from isthmus.oci import Descriptor, Digest, Manifest, Verifier


class StrictRegistry:
    """A sink that counts what it is asked, by the HTTP requests that it would take."""

    def __init__(self, *, mounts: bool = True, takes_sparse: bool = False) -> None:
        self.mounts = mounts
        self.takes_sparse = takes_sparse
        self.blobs: dict[str, set[Digest]] = {}
        self.manifests: dict[tuple[str, str], Manifest] = {}
        self.requests: Counter[str] = Counter()
        self.log: list[tuple[str, str, str]] = []
        self.written: Counter[Digest] = Counter()
        self._sessions: set[tuple[str, Digest]] = set()
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    def has_blob(self, repository: str, blob: Descriptor) -> bool:
        self.note("HEAD blob", repository, blob.digest)
        return blob.digest in self.blobs.get(repository, ())

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        return self.manifest_digest(repository, digest) is not None

    def manifest_digest(self, repository: str, target: str) -> Descriptor | None:
        self.note("HEAD manifest", repository, target)
        found = self.manifests.get((repository, target))
        return found.descriptor() if found else None

    def mount_blob(self, repository: str, blob: Descriptor, other_repository: str) -> bool:
        self.note("POST", repository, blob.digest)
        with self._lock:
            if self.mounts and blob.digest in self.blobs.get(other_repository, ()):
                self.blobs.setdefault(repository, set()).add(blob.digest)
                return True
            self._sessions.add((repository, blob.digest))
            return False

    def write_blob(self, repository: str, blob: Descriptor) -> "StrictWriter":
        with self._lock:
            is_open = (repository, blob.digest) in self._sessions
            self._sessions.discard((repository, blob.digest))
        if not is_open:
            self.note("POST", repository, blob.digest)
        return StrictWriter(self, repository, blob)

    def put_manifest(self, repository: str, manifest: Manifest, tag: str = "") -> None:
        self.note("PUT manifest", repository, tag or manifest.digest)
        with self._lock:
            held = self.blobs.get(repository, set())
            children = () if self.takes_sparse else manifest.manifests
            missing = [blob.digest for blob in manifest.blobs if blob.digest not in held]
            missing += [c.digest for c in children if (repository, c.digest) not in self.manifests]
            if missing:
                raise UnreachableError("not-found", f"MANIFEST_BLOB_UNKNOWN {missing}", http_status=404)
            self.manifests[repository, manifest.digest] = manifest
            if tag:
                self.manifests[repository, tag] = manifest

    def note(self, kind: str, repository: str, target: str) -> None:
        with self._lock:
            self.requests[kind] += 1
            self.log.append((kind, repository, target))

    def forget_log(self) -> None:
        self.requests.clear()
        self.log.clear()
        self.written.clear()


class StrictWriter:
    """Takes a blob whole."""

    offset = 0

    def __init__(self, registry: StrictRegistry, repository: str, blob: Descriptor) -> None:
        self._registry = registry
        self._repository = repository
        self._verifier = Verifier(blob.digest, blob.size)

    def write(self, chunk: memoryview, /) -> None:
        self._verifier.update(chunk)

    def commit(self) -> None:
        self._verifier.finish()
        self._registry.note("PUT blob", self._repository, self._verifier.digest)
        self._registry.blobs.setdefault(self._repository, set()).add(self._verifier.digest)
        self._registry.written[self._verifier.digest] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass
