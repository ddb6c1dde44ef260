"""Signatures and checksums of publishers, made by minisign, GPG and as cosign does, checked from isthmus.yaml."""

import base64
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.content.vouching import digest_in_sums, signed_text, verify_cosign, verify_gpg, verify_minisign
from isthmus.errors import UsageError, VerificationError
from isthmus.oci import Digest
from tests.content.conftest import Publisher
from tests.content.workplace import Workplace

DATA = b"what is signed" * 1000
needs_minisign = pytest.mark.skipif(shutil.which("minisign") is None, reason="needs minisign (Debian package)")
needs_gpg = pytest.mark.skipif(
    not (shutil.which("gpg") and shutil.which("gpgv")), reason="needs gnupg and gpgv (Debian packages)"
)


class Minisign:
    """Signs with the real minisign."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        self._run("-G", "-W", "-p", "m.pub", "-s", "m.key")
        self.public = (place / "m.pub").read_text()
        self.line = self.public.splitlines()[1]

    def sign(self, data: bytes, *, legacy: bool = False) -> bytes:
        (self.place / "data").write_bytes(data)
        self._run("-S", "-s", "m.key", "-m", "data", "-t", "a trusted comment", *(["-l"] if legacy else []))
        return (self.place / "data.minisig").read_bytes()

    def _run(self, *arguments: str) -> None:
        subprocess.run(["minisign", *arguments], cwd=self.place, check=True, capture_output=True, input=b"\n\n")


@needs_minisign
@pytest.mark.parametrize("legacy", [False, True])
def test_what_minisign_signed_holds(place: Workplace, publisher: Publisher, tmp_path: Path, legacy: bool) -> None:
    signer = Minisign(tmp_path / "minisign")
    url = publisher.put("a.bin", DATA)
    publisher.put("a.bin.minisig", signer.sign(DATA, legacy=legacy))
    place.write({"file": url, "verify": {"minisign": signer.line}})
    assert place.run("lock")[0] == 0
    assert place.entries()[url].verified_by == ("minisign: a trusted comment", "trusted on first use")
    (place.directory / "key.pub").write_text(signer.public)
    place.write({"file": url, "verify": {"minisign": "key.pub"}})
    assert place.run("lock")[0] == 0


@needs_minisign
def test_what_minisign_did_not_sign_does_not_hold(place: Workplace, publisher: Publisher, tmp_path: Path) -> None:
    signer, other = Minisign(tmp_path / "minisign"), Minisign(tmp_path / "other")
    good = signer.sign(DATA)
    lines = good.decode().splitlines()
    comment = "\n".join([lines[0], lines[1], lines[2] + "!", lines[3]]).encode()
    url = publisher.put("a.bin", DATA)
    for signature in (signer.sign(DATA + b"!"), other.sign(DATA), comment, b"", b"x\n" * 4, lines[1].encode()):
        publisher.put("a.bin.minisig", signature)
        place.write({"file": url, "verify": {"minisign": signer.line}})
        status, told = place.run("lock")
        assert (status, told["error"]["code"]) == (4, "bad-signature")
    (publisher.root / "a.bin.minisig").unlink()
    status, told = place.run("lock")
    assert (status, told["error"]["code"]) == (4, "unsigned")


@pytest.fixture
def home() -> Iterator[Path]:
    # The socket of the agent needs a short path.
    place = Path("/tmp") / f"isthmus-gpg-{os.getpid()}-v"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    yield place
    subprocess.run(["gpgconf", "--homedir", str(place), "--kill", "all"], check=False)
    shutil.rmtree(place)


def gpg(home: Path, *arguments: str, given: bytes = b"") -> bytes:
    base = ["gpg", "--homedir", str(home), "--batch", "--no-tty", "--quiet", "--pinentry-mode", "loopback"]
    return subprocess.run([*base, *arguments], input=given, capture_output=True, check=True).stdout


@needs_gpg
def test_openpgp_signatures_of_files_and_of_checksum_lists(
    place: Workplace, publisher: Publisher, home: Path
) -> None:
    gpg(home, "--passphrase", "", "--quick-generate-key", "a <a@x.example>", "ed25519", "sign", "never")
    ring = place.directory / "ring.asc"
    for armour in (["--armor"], []):
        ring.write_bytes(gpg(home, *armour, "--export"))
        url = publisher.put("d/a.bin", DATA)
        place.write({"file": url, "verify": {"gpg": "ring.asc"}})
        for ending, how in ((".asc", ["--armor"]), (".sig", [])):
            publisher.put(f"d/a.bin{ending}", gpg(home, *how, "--detach-sign", given=DATA))
            assert place.run("lock")[0] == 0
            assert any(text.startswith("gpg ") for text in place.entries()[url].verified_by)
            (publisher.root / f"d/a.bin{ending}").unlink()
    sums = f"{hashlib.sha256(DATA).hexdigest()}  a.bin\n".encode()
    publisher.put("d/SHA256SUMS", sums)
    publisher.put("d/SHA256SUMS.gpg", gpg(home, "--detach-sign", given=sums))
    assert place.run("lock")[0] == 0
    assert place.entries()[url].verified_by[1].endswith("over " + url.replace("a.bin", "SHA256SUMS"))
    publisher.put("d/SHA256SUMS", sums + b"\n")
    status, told = place.run("lock")
    assert (status, told["error"]["code"]) == (4, "bad-signature")
    publisher.put("d/a.bin.asc", gpg(home, "--armor", "--detach-sign", given=DATA + b"!"))
    status, told = place.run("lock")
    assert (status, told["error"]["code"]) == (4, "bad-signature")
    ring.write_bytes(b"-----BEGIN PGP nonsense")
    status, told = place.run("lock")
    assert status == 3
    assert "keyring" in told["error"]["items"][0]


@needs_gpg
def test_of_several_signatures_one_must_be_good_and_none_bad(home: Path, tmp_path: Path) -> None:
    for name, life in (("a", "never"), ("b", "never"), ("c", "seconds=2")):
        gpg(
            home, "--passphrase", "", "--quick-generate-key", f"{name} <{name}@x.example>", "ed25519", "sign", life
        )
    data, rings = tmp_path / "data", {}
    data.write_bytes(DATA)
    for name in "abc":
        rings[name] = tmp_path / f"{name}.gpg"
        rings[name].write_bytes(gpg(home, "--export", f"{name}@x.example"))
    both = gpg(home, "-u", "a@x.example", "-u", "b@x.example", "--detach-sign", given=DATA)
    assert verify_gpg(rings["a"], both, data, "x") != verify_gpg(rings["b"], both, data, "x")
    message = gpg(home, "-u", "a@x.example", "-u", "b@x.example", "--clearsign", given=b"signed\n")
    assert signed_text(rings["b"], b"before\n" + message + b"behind\n", "x")[1] == b"signed\n"
    late = gpg(home, "-u", "c@x.example", "--detach-sign", given=DATA)
    time.sleep(3)
    for ring, signature, why in ((rings["c"], late, "expired"), (rings["b"], late, "not in the keyring")):
        with pytest.raises(VerificationError) as caught:
            verify_gpg(ring, signature, data, "x")
        assert why in caught.value.message
    data.write_bytes(DATA + b"!")
    with pytest.raises(VerificationError):
        verify_gpg(rings["a"], both, data, "x")


def test_cosigns_blob_signatures(place: Workplace, publisher: Publisher) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    url = publisher.put("a.bin", DATA)
    value = base64.b64encode(key.sign(DATA, ec.ECDSA(hashes.SHA256())))
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (place.directory / "cosign.pub").write_bytes(pem)
    place.write({"file": url, "verify": {"cosign": "cosign.pub"}})
    for text in (value, value + b"\n", b'{"base64Signature":"' + value + b'","cert":""}'):
        publisher.put("a.bin.sig", text)
        assert place.run("lock")[0] == 0
    for text in (b"", b"{}", b"[]", b"{" * 9000, base64.b64encode(b"x" * 70), b'{"base64Signature":1}'):
        publisher.put("a.bin.sig", text)
        status, told = place.run("lock")
        assert (status, told["error"]["code"]) == (4, "bad-signature")


def test_other_keys_of_cosign() -> None:
    digest = Digest.of(DATA)
    private = rsa.generate_private_key(65537, 2048)
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signature = base64.b64encode(private.sign(DATA, PKCS1v15(), hashes.SHA256()))
    verify_cosign(private.public_key().public_bytes(*form), signature, digest, "x")
    other = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*form)
    for key in (other, b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(UsageError):
            verify_cosign(key, signature, digest, "x")


HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEX, HEX),
        (f"{HEX.upper()}  f.zip", HEX),
        (f"{HEX} *./dist/f.zip", HEX),
        (f"SHA256 (f.zip) = {HEX}", HEX),
        (f"{HEX}  g.zip", None),
        (f"{HEX}\n{HEX}", None),
        ("", None),
        ("not a digest", None),
        (f"<html>{HEX}</html>", None),
    ],
)
def test_checksum_files(text: str, expected: str | None) -> None:
    assert digest_in_sums(text.encode(), "f.zip") == (f"sha256:{expected}" if expected else None)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_no_signature(data: bytes) -> None:
    digest_in_sums(data, "f.zip")
    key = "RW" + base64.b64encode(b"Ed" + bytes(40)).decode()[2:]
    with pytest.raises((VerificationError, UsageError)):
        verify_minisign(key, data, Path("/dev/null"), "x")
