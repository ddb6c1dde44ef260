"""Signatures and attestations of images as cosign and sigstore write them: parsing and verification, offline.

Bytes and public keys come in, answers go out. Not here: where the bytes are (a `Shelf` gives them), transparency
logs, certificates and identities (those need the network, or a trusted root that a site does not have).
"""

from isthmus.oci.cosign.claims import SIGNATURE_PREDICATE, Claim, claims_in, predicate_type
from isthmus.oci.cosign.finding import Shelf, attached_tags, claims_about, is_attachment, is_image
from isthmus.oci.cosign.keys import VerifyingKey, parse_keys

__all__ = [
    "SIGNATURE_PREDICATE",
    "Claim",
    "Shelf",
    "VerifyingKey",
    "attached_tags",
    "claims_about",
    "claims_in",
    "is_attachment",
    "is_image",
    "parse_keys",
    "predicate_type",
]
