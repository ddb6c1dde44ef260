"""Digests and their verification while content streams past."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import UsageError, VerificationError
from isthmus.oci import Digest, Verifier

GOOD = ["sha256:" + "a" * 64, "sha512:" + "0" * 128]


@pytest.mark.parametrize("text", GOOD)
def test_the_parts(text: str) -> None:
    digest = Digest(text)
    assert str(digest) == text
    assert f"{digest.algorithm}:{digest.hex}" == text
    assert Digest(digest) is digest
    assert digest == text
    assert hash(digest) == hash(text)
    assert {text: 1}[digest] == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        "a" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "SHA256:" + "a" * 64,
        "sha256:" + "g" * 64,
        "sha512:" + "a" * 64,
        "md5:" + "a" * 32,
        "sha384:" + "a" * 96,
        "blake3:" + "a" * 64,
        "sha256+b64:" + "a" * 64,
        " sha256:" + "a" * 64,
        "sha256:" + "a" * 64 + "\n",
        "sha256:" + "٠" * 64,
        "sha256:../../../etc/passwd",
        "sha256:" + "a" * 100_000,
    ],
)
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Digest(text)
    assert caught.value.code == "invalid-digest"
    assert len(caught.value.message) < 400


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    try:
        digest = Digest(text)
    except UsageError:
        return
    assert str(digest) == text


@given(st.binary(max_size=200), st.sampled_from(["sha256", "sha512"]))
def test_of_bytes(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert digest == f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    assert Digest.of(bytearray(data), algorithm) == Digest.of(memoryview(data), algorithm) == digest


@given(st.lists(st.binary(max_size=50), max_size=6), st.sampled_from(["sha256", "sha512"]), st.booleans())
def test_verifier_takes_any_chunks(chunks: list[bytes], algorithm: str, knows_size: bool) -> None:
    data = b"".join(chunks)
    verifier = Verifier(Digest.of(data, algorithm), len(data) if knows_size else None)
    for chunk in chunks:
        verifier.update(memoryview(chunk))
    assert verifier.count == len(data)
    verifier.finish()
    verifier.finish()


def test_verifier_says_what_is_wrong() -> None:
    digest = Digest.of(b"right")
    too_long = Verifier(digest, 5, where="here")
    too_long.update(b"righ")
    with pytest.raises(VerificationError) as caught:
        too_long.update(b"tt")
    assert (caught.value.code, caught.value.where) == ("size-mismatch", "here")
    too_short = Verifier(digest, 5)
    too_short.update(b"righ")
    with pytest.raises(VerificationError) as caught:
        too_short.finish()
    assert caught.value.code == "size-mismatch"
    for size in (5, None):
        other = Verifier(digest, size)
        other.update(b"wrong")
        with pytest.raises(VerificationError) as caught:
            other.finish()
        assert caught.value.code == "digest-mismatch"
        assert digest in caught.value.message


def test_chunks_are_counted_in_bytes() -> None:
    words = memoryview(bytes(16)).cast("I")
    verifier = Verifier(Digest.of(bytes(16)), 16)
    verifier.update(words)
    verifier.finish()


def test_a_copy_of_a_verifier_goes_its_own_way() -> None:
    verifier = Verifier(Digest.of(b"right"), 5)
    verifier.update(b"rig")
    aside = verifier.copy()
    verifier.update(b"xx")
    aside.update(b"ht")
    aside.finish()
    with pytest.raises(VerificationError):
        verifier.finish()
