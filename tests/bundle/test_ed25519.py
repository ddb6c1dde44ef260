"""The pure Python verification of the bootstrap script: RFC 8032's vectors, and beside cryptography's."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.bundle.tool.bootstrap.ed25519 import ed25519_verifies

ORDER = 2**252 + 27742317777372353535851937790883648493

# RFC 8032, section 7.1: public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_vectors_of_rfc_8032(public: str, message: str, signature: str) -> None:
    key, text, value = (bytes.fromhex(part) for part in (public, message, signature))
    assert ed25519_verifies(key, text, value)
    assert not ed25519_verifies(key, text + b"!", value)
    assert not ed25519_verifies(key, text, value[:-1])
    assert not ed25519_verifies(key[:-1], text, value)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300), st.integers(0, 511), st.integers(0, 255))
def test_as_cryptography_has_it(seed: bytes, message: bytes, bit: int, key_bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert ed25519_verifies(public, message, signature)
    spoiled = bytearray(signature)
    spoiled[bit // 8] ^= 1 << bit % 8
    assert not ed25519_verifies(public, message, bytes(spoiled))
    other = bytearray(public)
    other[key_bit // 8] ^= 1 << key_bit % 8
    assert not ed25519_verifies(bytes(other), message, signature)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=8), st.binary(min_size=64, max_size=64))
def test_whatever_comes_is_answered(public: bytes, message: bytes, signature: bytes) -> None:
    """Degenerate keys verify nearly anything, there as here; nobody brings one."""
    if ed25519_verifies(public, message, signature):
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def test_a_signature_has_one_form_only() -> None:
    """S + L would verify in a careless implementation (RFC 8032, section 5.1.7)."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signature = private.sign(b"once")
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    twin = signature[:32] + scalar.to_bytes(32, "little")
    assert not ed25519_verifies(private.public_key().public_bytes_raw(), b"once", twin)
