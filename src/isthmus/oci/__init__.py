"""References, digests, descriptors and manifests: parsing and verification, no input or output at all."""

from isthmus.oci.content import BlobReader, BlobWriter, Sink, Source
from isthmus.oci.descriptor import Descriptor
from isthmus.oci.digest import Digest, Verifier
from isthmus.oci.manifest import Manifest, parse_manifest
from isthmus.oci.platform import Platform
from isthmus.oci.reference import Reference

__all__ = [
    "BlobReader",
    "BlobWriter",
    "Descriptor",
    "Digest",
    "Manifest",
    "Platform",
    "Reference",
    "Sink",
    "Source",
    "Verifier",
    "parse_manifest",
]
