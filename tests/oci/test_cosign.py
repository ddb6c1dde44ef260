"""Keys, claims and their verification, by cosign's and sigstore's published specifications.

The signatures here are made with `cryptography`; those of the real cosign are in tests/real/test_cosign.py.
"""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.oci import Digest, parse_manifest
from isthmus.oci.cosign import Claim, claims_in, is_attachment, is_image, parse_keys, predicate_type

DIGEST = Digest.of(b"an image")
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO = "application/vnd.in-toto+json"


def pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def sign(key: Any, message: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), SHA256())
    return bytes(key.sign(message, ec.ECDSA(SHA256())))


KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
}


def simple(key: Any, digest: str = DIGEST, kind: str = "cosign container image signature") -> Claim:
    payload = json.dumps({"critical": {"image": {"docker-manifest-digest": digest}, "type": kind}}).encode()
    annotations = {"dev.cosignproject.cosign/signature": base64.b64encode(sign(key, payload)).decode()}
    (claim,) = claims_in(SIMPLE, annotations, payload)
    return claim


def envelope(key: Any, predicate: str, payload_type: str = IN_TOTO) -> dict[str, Any]:
    statement = {"subject": [{"name": "", "digest": {"sha256": DIGEST.hex}}], "predicateType": predicate}
    payload = json.dumps(statement).encode()
    message = f"DSSEv1 {len(payload_type)} {payload_type} {len(payload)} ".encode() + payload
    signature = base64.b64encode(sign(key, message)).decode()
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": signature}],
    }


@pytest.mark.parametrize("name", KEYS)
def test_each_kind_of_key(name: str) -> None:
    (key,) = parse_keys(pem(KEYS[name]), "cosign.pub")
    others = parse_keys(b"".join(pem(other) for known, other in KEYS.items() if known != name), "others.pub")
    assert len(others) == len(KEYS) - 1
    claim = simple(KEYS[name])
    assert claim.digests == {DIGEST.hex}
    assert claim.signed_by([*others, key]) == key
    assert claim.signed_by(others) is None
    (attested,) = claims_in(DSSE, {}, json.dumps(envelope(KEYS[name], "https://spdx.dev/Document")).encode())
    assert (attested.kind, attested.predicate) == ("attestation", predicate_type("spdx"))
    assert attested.signed_by([key]) == key
    bundle = {"mediaType": BUNDLE, "dsseEnvelope": envelope(KEYS[name], "https://sigstore.dev/cosign/sign/v1")}
    (signed,) = claims_in(BUNDLE, {}, json.dumps(bundle).encode())
    assert (signed.kind, signed.form) == ("signature", "sigstore bundle")
    assert signed.signed_by([key]) == key


def test_one_byte_of_the_message_or_the_type_ends_it() -> None:
    (key,) = parse_keys(pem(KEYS["p256"]), "cosign.pub")
    document = envelope(KEYS["p256"], "https://sigstore.dev/cosign/sign/v1")
    other = json.dumps({"subject": [{"digest": {"sha256": "0" * 64}}], "predicateType": "x"}).encode()
    moved = document | {"payload": base64.b64encode(other).decode()}
    (claim,) = claims_in(DSSE, {}, json.dumps(moved).encode())
    assert claim.signed_by([key]) is None
    text = envelope(KEYS["p256"], "x", payload_type="text/plain")
    assert list(claims_in(DSSE, {}, json.dumps(text).encode())) == []
    relabelled = text | {"payloadType": IN_TOTO}  # what was signed as something else is no statement
    (claim,) = claims_in(DSSE, {}, json.dumps(relabelled).encode())
    assert claim.signed_by([key]) is None


def test_other_payloads_signed_by_the_same_key_are_no_signatures() -> None:
    payload = json.dumps({"critical": {"image": {"docker-manifest-digest": DIGEST}, "type": "other"}}).encode()
    annotations = {"dev.cosignproject.cosign/signature": base64.b64encode(sign(KEYS["p256"], payload)).decode()}
    assert list(claims_in(SIMPLE, annotations, payload)) == []


@pytest.mark.parametrize("text", [b"", b"x", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_what_is_no_key(text: bytes) -> None:
    with pytest.raises(UsageError, match="public key"):
        parse_keys(text, "x.pub")


def test_weak_and_odd_keys_are_refused() -> None:
    for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP224R1())):
        with pytest.raises(UsageError, match="are taken"):
            parse_keys(pem(key), "x.pub")


def manifest(config: str, *layers: str) -> Any:
    def blob(kind: str) -> dict[str, Any]:
        return {"mediaType": kind, "digest": DIGEST, "size": 1}

    document = {"schemaVersion": 2, "config": blob(config), "layers": [blob(layer) for layer in layers]}
    return parse_manifest(json.dumps(document).encode())


def test_an_image_cannot_hide_as_a_signature() -> None:
    image = "application/vnd.oci.image.config.v1+json"
    layer = "application/vnd.oci.image.layer.v1.tar+gzip"
    tag = f"sha256-{DIGEST.hex}.sig"
    assert is_attachment(tag, manifest(image, SIMPLE))
    assert not is_attachment(tag, manifest(image, SIMPLE, layer))
    assert not is_attachment(tag, manifest(image))
    assert not is_attachment("1.0", manifest(image, SIMPLE))
    assert is_image(manifest("application/x", layer))
    assert not is_image(manifest("application/vnd.cncf.helm.config.v1+json", "application/x.tar+gzip"))


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.just(IN_TOTO),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["critical", "image", "type", "payloadType", "payload", "signatures", "sig", "subject", "digest",
             "mediaType", "dsseEnvelope", "docker-manifest-digest"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON | st.binary(max_size=60), st.sampled_from([SIMPLE, DSSE, BUNDLE]), st.text(max_size=8))
def test_any_document_claims_something_or_nothing(document: Any, kind: str, signature: str) -> None:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    for claim in claims_in(kind, {"dev.cosignproject.cosign/signature": signature}, data):
        assert claim.signed_by(parse_keys(pem(KEYS["ed25519"]), "x")) is None
