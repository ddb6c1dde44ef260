"""What signed material says about which images: simple signing payloads, DSSE envelopes, sigstore bundles.

Specifications: cosign's SIGNATURE_SPEC, DSSE v1, in-toto Statement v0.1 and v1, sigstore bundle v0.1 to v0.3. A
claim is what the material says; whether anybody signed it is asked of the claim. Not here: finding it (`finding`).
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from isthmus.oci.cosign.keys import VerifyingKey

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
ENVELOPE: Final = "application/vnd.dsse.envelope.v1+json"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle"
IN_TOTO: Final = "application/vnd.in-toto+json"
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
SIGNATURE_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
_SIMPLE_TYPE: Final = "cosign container image signature"
_MAX_SIGNATURES: Final = 64

_PREDICATES: Final = {
    "slsaprovenance": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
    "spdx": "https://spdx.dev/Document",
    "spdxjson": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    "openvex": "https://openvex.dev/ns",
    "link": "https://in-toto.io/Link/v1",
    "custom": "https://cosign.sigstore.dev/attestation/v1",
}


class Claim(msgspec.Struct, frozen=True):
    """`digests` are the sha256 hex digits of what it is about; `predicate` is empty for simple signing."""

    kind: Literal["signature", "attestation"]
    form: str
    digests: frozenset[str]
    message: bytes
    signatures: tuple[bytes, ...]
    predicate: str = ""
    body: Any = None

    def signed_by(self, keys: Iterable[VerifyingKey]) -> VerifyingKey | None:
        """The first of the keys that made one of the signatures."""
        for key in keys:
            if any(key.verifies(signature, self.message) for signature in self.signatures):
                return key
        return None


def predicate_type(name: str) -> str:
    """The URI behind one of cosign's short names for a type of attestation; anything else is its own."""
    return _PREDICATES.get(name, name)


def claims_in(media_type: str, annotations: Mapping[str, str], data: bytes) -> Iterator[Claim]:
    """What a layer with signed material claims; nothing where it cannot be read, as nobody can rely on that."""
    try:
        if media_type == SIMPLE_SIGNING:
            yield from _simple(data, annotations)
        elif media_type == ENVELOPE:
            yield from _envelope(msgspec.json.decode(data), "DSSE")
        elif media_type.startswith(BUNDLE):
            document = msgspec.json.decode(data)
            if isinstance(document, dict) and str(document.get("mediaType", "")).startswith(BUNDLE):
                yield from _envelope(document.get("dsseEnvelope"), "sigstore bundle")
    except (msgspec.MsgspecError, UnicodeError, RecursionError, binascii.Error, ValueError):
        return


def is_claim_type(media_type: str) -> bool:
    """Whether a layer of this type holds signed material."""
    return media_type in (SIMPLE_SIGNING, ENVELOPE) or media_type.startswith(BUNDLE)


def _simple(data: bytes, annotations: Mapping[str, str]) -> Iterator[Claim]:
    critical = _mapping(_mapping(msgspec.json.decode(data)).get("critical"))
    digest = str(_mapping(critical.get("image")).get("docker-manifest-digest", ""))
    signature = annotations.get(SIGNATURE_ANNOTATION, "")
    if critical.get("type") == _SIMPLE_TYPE and digest.startswith("sha256:") and signature:
        digests = frozenset([digest.removeprefix("sha256:")])
        yield Claim("signature", "simple signing", digests, data, (_base64(signature),))


def _envelope(document: Any, form: str) -> Iterator[Claim]:
    envelope = _mapping(document)
    if envelope.get("payloadType") != IN_TOTO:
        return
    payload = _base64(envelope.get("payload"))
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) > _MAX_SIGNATURES:
        return
    kind = IN_TOTO.encode()
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)  # DSSE, "PAE"
    statement = _mapping(msgspec.json.decode(payload))
    predicate = str(statement.get("predicateType", ""))
    subjects = statement.get("subject")
    subjects = subjects if isinstance(subjects, list) else []
    digests = [_mapping(_mapping(subject).get("digest")).get("sha256") for subject in subjects]
    yield Claim(
        kind="signature" if predicate == SIGNATURE_PREDICATE else "attestation",
        form=form,
        digests=frozenset(digest for digest in digests if isinstance(digest, str)),
        message=message,
        signatures=tuple(_base64(_mapping(signature).get("sig")) for signature in signatures),
        predicate=predicate,
        body=statement.get("predicate"),
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _base64(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError("not base64")
    return base64.b64decode(value, validate=True)
