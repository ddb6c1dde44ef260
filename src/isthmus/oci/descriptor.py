"""Descriptors (OCI image-spec, descriptor.md) and the media types that Isthmus knows."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from isthmus.errors import UsageError
from isthmus.oci.digest import Digest
from isthmus.oci.platform import Platform

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
EMPTY_JSON = "application/vnd.oci.empty.v1+json"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
MAX_SIZE = 2**63 - 1


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a manifest says of a piece of content: media type, digest, size in bytes, and more.

    Equality and hash go by digest alone: the digest names the bytes, the rest is how a manifest describes
    them.
    """

    media_type: str
    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
    platform: Platform | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] | None = None
    urls: tuple[str, ...] | None = None

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Descriptor) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def is_index(self) -> bool:
        """Whether the content is an index (a "fat" manifest) of other manifests."""
        return self.media_type in INDEX_TYPES

    @property
    def is_manifest(self) -> bool:
        """Whether the content is a manifest or an index, and so lives under `/manifests/`."""
        return self.media_type in MANIFEST_TYPES or self.media_type in INDEX_TYPES

    @property
    def is_foreign(self) -> bool:
        """Whether registries are not expected to hold the content (non-distributable layers with URLs)."""
        return bool(self.urls) and ("foreign" in self.media_type or "nondistributable" in self.media_type)


def decode_custom(kind: type, value: Any) -> Any:
    """The `dec_hook` of msgspec for the types of this room."""
    if kind is Digest:
        if not isinstance(value, str):
            raise UsageError("invalid-digest", f"not a digest: {value!r:.200}")
        return Digest(value)
    raise NotImplementedError(kind)
