"""What the console tells of one reference's content: kind, size, platforms, dates; read from its manifests.

A digest never changes what it stands for, so facts are kept for as long as something names them. Reads disk,
so it runs in a thread or a process apart (`survey`). Not here: names (`console.holdings`).
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from isthmus.errors import IsthmusError
from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.store import Store

CREATED = "org.opencontainers.image.created"
NAME = "dev.isthmus.name"
SERVE = "dev.isthmus.serve"
MAX_AGE = "dev.isthmus.max-age"

KINDS = ("image", "artifact", "chart", "file", "git", "packages", "other")
"""In the order in which they are shown; `other` is what cannot be read."""

_BY_TYPE = {
    "application/vnd.isthmus.file.v1": "file",
    "application/vnd.isthmus.packages.v1": "packages",
    "application/vnd.isthmus.git.v1": "git",
    "application/vnd.cncf.helm.config.v1+json": "chart",
}
_IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_MAX_TREE = 10_000  # manifests below one name; an index may name others without end


@dataclass(frozen=True)
class Facts:
    """`size` is in bytes, each blob once; `parts`: a blob's key (`blob_key`) and size, eight bytes each, and on.

    `absent` counts manifests that were not carried. `max_age` is in seconds, 0 where nothing becomes stale;
    `arrived` is when the manifest came into the store, in seconds since the epoch.
    """

    kind: str = "other"
    artifact_type: str = ""
    platforms: tuple[str, ...] = ()
    size: int = 0
    absent: int = 0
    created: float | None = None
    max_age: int = 0
    arrived: float = 0.0
    origin: str = ""
    serve: str = ""
    is_readable: bool = False
    parts: bytes = b""

    @property
    def sizes(self) -> Iterator[tuple[int, int]]:
        """Key and size of each blob."""
        numbers = memoryview(self.parts).cast("Q")
        return zip(numbers[::2], numbers[1::2], strict=True)


def blob_key(digest: Digest) -> int:
    """A short stand-in for a digest where only sums are made: 60 bits of it."""
    return int(digest.partition(":")[2][:15], 16)


def find_facts(store: Store, root: Descriptor) -> Facts:
    """Read the manifests below a root. What cannot be read makes it `other`. Raises `io-failed`."""
    manifest = _read(store, root.digest)
    if manifest is None:
        return Facts(arrived=_arrived(store, root.digest))
    sizes: dict[int, int] = {blob_key(manifest.digest): manifest.size}
    platforms: dict[str, None] = {}
    absent = 0
    images = [manifest]
    todo, seen = [manifest], {manifest.digest}
    while todo:
        current = todo.pop()
        for blob in current.blobs:
            sizes[blob_key(blob.digest)] = blob.size
        for child in current.manifests:
            if child.digest in seen or len(seen) >= _MAX_TREE:
                continue
            seen.add(child.digest)
            found = _read(store, child.digest) if child.is_manifest else None
            if found is None:
                absent += 1
                continue
            sizes[blob_key(found.digest)] = found.size
            platform = str(child.platform) if child.platform else ""
            if platform and not platform.startswith("unknown"):
                platforms[platform] = None
            todo.append(found)
            images.append(found)
    annotations = manifest.annotations
    return Facts(
        kind=_kind(images),
        artifact_type=manifest.effective_artifact_type,
        platforms=tuple(sorted(platforms)),
        size=sum(sizes.values()),
        absent=absent,
        created=parse_time(annotations.get(CREATED, "")),
        max_age=_seconds(annotations),
        arrived=_arrived(store, root.digest),
        origin=annotations.get(NAME, "")[:2048],
        serve=annotations.get(SERVE, "")[:1024],
        is_readable=True,
        parts=array("Q", (number for pair in sizes.items() for number in pair)).tobytes(),
    )


def _kind(manifests: list[Manifest]) -> str:
    root = manifests[0]
    known = _BY_TYPE.get(root.artifact_type) or _BY_TYPE.get(root.effective_artifact_type)
    if known:
        return known
    if any(one.config is not None and one.config.media_type in _IMAGE_CONFIGS for one in manifests):
        return "image"
    return "image" if root.is_index and not root.artifact_type else "artifact"


def _read(store: Store, digest: Digest) -> Manifest | None:
    try:
        return store.manifest_by_digest(digest)
    except IsthmusError:
        return None


def _arrived(store: Store, digest: Digest) -> float:
    return store.blobs.changed(digest) or 0.0


def _seconds(annotations: Mapping[str, str]) -> int:
    text = annotations.get(MAX_AGE, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0


def parse_time(text: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 time, or None where it is none."""
    if not 10 <= len(text) <= 40:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
