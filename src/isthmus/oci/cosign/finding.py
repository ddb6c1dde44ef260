"""Which manifests hold signed material about an image: tags made of its digest, and referrers.

Not here: what the material says (`claims`).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from isthmus.errors import IsthmusError
from isthmus.oci.cosign.claims import Claim, claims_in, is_claim_type
from isthmus.oci.descriptor import Descriptor
from isthmus.oci.digest import Digest
from isthmus.oci.manifest import Manifest

MAX_MATERIAL: Final = 32 * 1024 * 1024
"""Bytes of one signature or attestation that are read."""

MAX_LAYERS: Final = 256
"""Signatures that are looked at in one manifest; cosign adds a layer for each signer."""

_IMAGE_CONFIGS: Final = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
_ROOT_FILES: Final = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
_SBOM_TYPES: Final = (
    "text/spdx",
    "spdx+json",
    "application/vnd.cyclonedx",
    "application/spdx",
    "application/vnd.syft",
)
_TAG: Final = re.compile(r"sha256-[0-9a-f]{64}\.(?:sig|att|sbom)", re.ASCII)


class Shelf(Protocol):
    """Where manifests and their blobs are."""

    def attached(self, repository: str, digest: Digest) -> Iterable[Manifest]:
        """What names this digest as its subject, and what is tagged for it (`attached_tags`)."""
        ...

    def read(self, blob: Descriptor) -> bytes:
        """A small blob, verified. Raises IsthmusError where it is not there, or too large."""
        ...


def attached_tags(digest: Digest) -> tuple[str, ...]:
    """The tags under which cosign keeps the signature, the attestations and the SBOM of a digest."""
    stem = f"{digest.algorithm}-{digest.hex}"
    return tuple(f"{stem}.{suffix}" for suffix in ("sig", "att", "sbom")) if digest.algorithm == "sha256" else ()


def is_attachment(tag: str, manifest: Manifest) -> bool:
    """Whether this is something that cosign attached, and nothing that anybody could run.

    Both the tag and the contents must say so: neither alone may take an image out of what must be signed.
    """
    types = [layer.media_type for layer in manifest.layers]
    known = all(is_claim_type(kind) or kind.startswith(_SBOM_TYPES) for kind in types)
    return bool(_TAG.fullmatch(tag)) and not manifest.is_index and bool(types) and known


def is_image(manifest: Manifest) -> bool:
    """Whether a container runtime could run it: an index, an image's config, or layers of a file system."""
    if manifest.is_index:
        return True
    config = manifest.config.media_type if manifest.config else ""
    return config in _IMAGE_CONFIGS or any(layer.media_type.startswith(_ROOT_FILES) for layer in manifest.layers)


def claims_about(shelf: Shelf, repository: str, digest: Digest) -> Iterator[Claim]:
    """Every claim that names this very digest, signed by whomever. What cannot be read claims nothing."""
    for manifest in shelf.attached(repository, digest):
        for layer in manifest.layers[:MAX_LAYERS]:
            if not is_claim_type(layer.media_type) or layer.size > MAX_MATERIAL:
                continue
            try:
                data = shelf.read(layer)
            except IsthmusError:
                continue
            for claim in claims_in(layer.media_type, layer.annotations or {}, data):
                if digest.algorithm == "sha256" and digest.hex in claim.digests:
                    yield claim
