"""Manifests and indexes, OCI and Docker schema 2, as immutable views over the bytes that were served.

OCI image-spec 1.1, manifest.md and image-index.md. The raw bytes are kept and are the only form that is
ever written: nothing here encodes JSON. Not here: fetching.
"""

from collections.abc import Collection, Mapping

import msgspec

from isthmus.errors import UsageError
from isthmus.oci.descriptor import (
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    decode_custom,
)
from isthmus.oci.digest import Digest
from isthmus.oci.platform import Platform

MAX_MANIFEST_SIZE = 4 * 1024 * 1024
"""Bytes; the least that registries must accept (distribution-spec, "Pushing Manifests")."""

_ATTESTATION_FOR = "vnd.docker.reference.digest"


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | None = None
    manifests: tuple[Descriptor, ...] | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True):
    """A manifest or an index. `raw` is exactly what has `digest`."""

    raw: bytes
    media_type: str
    digest: Digest
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = {}

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.raw)

    @property
    def is_index(self) -> bool:
        """Whether this points to other manifests."""
        return self.media_type in INDEX_TYPES

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The config and the layers, each digest once, in the order of the manifest."""
        found = ([self.config] if self.config else []) + list(self.layers)
        return tuple(dict.fromkeys(found))

    @property
    def effective_artifact_type(self) -> str:
        """What the referrers API reports: `artifactType`, or the config's media type (distribution-spec 1.1)."""
        return self.artifact_type or (self.config.media_type if self.config else "")

    def descriptor(self, platform: Platform | None = None) -> Descriptor:
        """A descriptor that points to this manifest."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=self.size, platform=platform)

    def select(self, platforms: Collection[Platform]) -> tuple[Descriptor, ...]:
        """The children of an index that are wanted; all of them where `platforms` is empty.

        A child that names no platform is always wanted, and so are the build attestations of wanted
        children. The index itself stays as it is ("sparse"), so that its digest holds.
        """
        children = tuple(dict.fromkeys(self.manifests))
        if not platforms:
            return children
        wanted = {
            child.digest
            for child in children
            if child.platform is None or any(child.platform.matches(p) for p in platforms)
        }
        return tuple(c for c in children if c.digest in wanted or _attests(c) in wanted)


def _attests(child: Descriptor) -> str:
    """The digest of the image that a build attestation in an index is about, or nothing."""
    return (child.annotations or {}).get(_ATTESTATION_FOR, "")


_decoder = msgspec.json.Decoder(_Document, dec_hook=decode_custom)


def parse_manifest(raw: bytes, media_type: str = "", where: str = "", algorithm: str = "sha256") -> Manifest:
    """Parse a manifest or an index and compute its digest.

    `media_type` is what the server or the descriptor said; the document's own `mediaType` must not
    contradict it. Raises UsageError: `invalid-manifest`, or `schema1-manifest` for Docker's schema 1.
    """
    if len(raw) > MAX_MANIFEST_SIZE:
        raise _wrong(where, f"it has {len(raw)} bytes, more than the {MAX_MANIFEST_SIZE} that registries accept")
    try:
        document = _decoder.decode(raw)
    except (msgspec.MsgspecError, UsageError, RecursionError, UnicodeDecodeError) as error:
        raise _wrong(where, _first_line(error)) from error
    declared = media_type.partition(";")[0].strip().lower()
    if document.schema_version == 1 or declared in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED):
        raise UsageError(
            "schema1-manifest",
            "this image is in Docker's schema 1",
            where=where,
            hint="push it again with a current client, which makes it schema 2 or OCI",
        )
    kind = _kind(document, declared, where)
    return Manifest(
        raw=raw,
        media_type=kind,
        digest=Digest.of(raw, algorithm),
        config=document.config,
        layers=document.layers or (),
        manifests=document.manifests or (),
        subject=document.subject,
        artifact_type=document.artifact_type,
        annotations=document.annotations or {},
    )


def _kind(document: _Document, declared: str, where: str) -> str:
    """The media type, decided so that no reader could take the same bytes for something else.

    A document with both an index's and a manifest's fields is ambiguous (CVE-2021-41190) and refused.
    """
    if document.schema_version != 2:
        raise _wrong(where, f"schemaVersion is {document.schema_version}, not 2")
    if document.manifests is not None and (document.layers is not None or document.config is not None):
        raise _wrong(where, "it has the fields of an index and of a manifest, and could be taken for either")
    known = MANIFEST_TYPES | INDEX_TYPES
    if document.media_type and declared in known and document.media_type != declared:
        raise _wrong(where, f"it was announced as {declared} and calls itself {document.media_type}")
    kind = document.media_type or (declared if declared in known else "")
    if not kind:
        kind = OCI_INDEX if document.manifests is not None else OCI_MANIFEST
    if kind not in known:
        raise _wrong(where, f"its media type {kind[:200]!r} is not one of a manifest or an index")
    is_image = document.layers is not None or document.config is not None
    if is_image if kind in INDEX_TYPES else document.manifests is not None:
        raise _wrong(where, f"its fields do not fit its media type {kind}")
    if kind in MANIFEST_TYPES and document.config is None:
        raise _wrong(where, "it has no config")
    return kind  # an index may say `"manifests": null`, as Go writes an empty list


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


def _wrong(where: str, why: str) -> UsageError:
    return UsageError("invalid-manifest", f"not a usable manifest: {why}", where=where)
