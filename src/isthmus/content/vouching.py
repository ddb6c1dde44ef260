"""What publishers vouch for a file with: checksum files, minisign, cosign's detached signatures, OpenPGP.

Pure, but for `gpgv`, which is Debian's own verifier of OpenPGP. Not here: fetching any of it (`files`).
"""

import base64
import binascii
import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from isthmus.errors import UnreachableError, UsageError, VerificationError
from isthmus.oci import Digest
from isthmus.oci.content import CHUNK, new_buffer

MAX_SUMS = 4 << 20
MAX_SIGNATURE = 256 << 10
_PLAIN = re.compile(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{128})(?:[ \t]+\*?(.+))?")
_BSD = re.compile(r"SHA(?:256|512) \((.+)\) = ([0-9a-fA-F]{64}|[0-9a-fA-F]{128})")
_PATIENCE = 120


def digest_in_sums(data: bytes, name: str) -> Digest | None:
    """The digest that a checksum file has for a file name; a lone digest is for whatever it lies beside.

    Understands the formats of sha256sum and of BSD; None where the file is not listed.
    """
    lone: list[str] = []
    lines = data[:MAX_SUMS].decode("utf-8", "replace").splitlines()
    for line in lines:
        text = line.strip()
        if bsd := _BSD.fullmatch(text):
            found, listed = bsd[2], bsd[1]
        elif plain := _PLAIN.fullmatch(text):
            found, listed = plain[1], plain[2] or ""
        else:
            continue
        if not listed:
            lone.append(found)
        elif listed == name or listed.rpartition("/")[2] == name:
            return _digest(found)
    return _digest(lone[0]) if len(lone) == 1 and len([line for line in lines if line.strip()]) == 1 else None


def verify_minisign(key: str, signature: bytes, path: Path, where: str) -> str:
    """Check a `.minisig` (prehashed or legacy) over a file; the trusted comment. Raises `bad-signature`.

    `key` is the public key's line, as minisign prints it, or the text of its file.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw_key = _minisign_key(key)
    lines = signature[:MAX_SIGNATURE].decode("utf-8", "replace").splitlines()
    if len(lines) < 4 or not lines[2].startswith("trusted comment: "):
        raise _bad("it is not a minisign signature", where)
    body, whole = _decode(lines[1], where), _decode(lines[3], where)
    if len(body) != 74 or len(whole) != 64 or body[:2] not in (b"ED", b"Ed"):
        raise _bad("it is not a minisign signature", where)
    if body[2:10] != raw_key[2:10]:
        raise _bad("the signature was made with another key", where)
    comment = lines[2].removeprefix("trusted comment: ")
    public = Ed25519PublicKey.from_public_bytes(raw_key[10:])
    try:
        public.verify(body[10:], _hashed(path) if body[:2] == b"ED" else _whole(path, where))
        public.verify(whole, body[10:] + comment.encode())
    except InvalidSignature as error:
        raise _bad("the minisign signature does not hold", where) from error
    return comment


def verify_cosign(key: bytes, signature: bytes, digest: Digest, where: str) -> None:
    """Check what `cosign sign-blob --key` made: base64, or a bundle in JSON. Raises `bad-signature`."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError("invalid-key", "not a public key in PEM", where=where) from error
    if digest.algorithm != "sha256":
        raise _bad("cosign signs SHA-256 digests", where)
    value = _decode(_cosign_text(signature), where)
    prehashed = utils.Prehashed(hashes.SHA256())
    try:
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(value, bytes.fromhex(digest.hex), ec.ECDSA(prehashed))
        elif isinstance(public, rsa.RSAPublicKey):
            public.verify(value, bytes.fromhex(digest.hex), padding.PKCS1v15(), prehashed)
        else:
            raise UsageError("invalid-key", "only ECDSA and RSA keys are understood", where=where)
    except InvalidSignature as error:
        raise _bad("the cosign signature does not hold", where) from error


def verify_gpg(keyring: Path, signature: bytes, path: Path | None, where: str) -> str:
    """Check an OpenPGP signature with gpgv: detached over `path`, or inline. The fingerprint that signed.

    The keyring may be armoured. Raises VerificationError (`bad-signature`), UsageError (`invalid-key`, or
    `wrong-usage` where there is no gpgv).
    """
    with tempfile.TemporaryDirectory(prefix="isthmus-gpg-") as place:
        signer, _ = _gpgv(Path(place), keyring, signature, path, where)
    return signer


def signed_text(keyring: Path, message: bytes, where: str) -> tuple[str, bytes]:
    """The fingerprint that clear-signed a message, and exactly what it signed. Raises as `verify_gpg`."""
    with tempfile.TemporaryDirectory(prefix="isthmus-gpg-") as place:
        return _gpgv(Path(place), keyring, message, None, where)


def _gpgv(place: Path, keyring: Path, signature: bytes, path: Path | None, where: str) -> tuple[str, bytes]:
    ring, signed, plain = place / "ring.gpg", place / "signature", place / "plain"
    ring.write_bytes(_dearmoured(keyring))
    signed.write_bytes(signature)
    command = ["gpgv", "--homedir", str(place), "--status-fd", "1", "--keyring", str(ring)]
    command += [str(signed), str(path.absolute())] if path is not None else ["--output", str(plain), str(signed)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
    except FileNotFoundError as error:
        raise UsageError(
            "wrong-usage", "there is no gpgv on this machine", where=where, hint="install gpgv (Debian) or gnupg2"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError("io-failed", "gpgv did not end", where=where) from error
    signer, why = _good(done.stdout.decode("utf-8", "replace"))
    if not signer or (path is None and not plain.is_file()):
        raise _bad(why, where)
    return signer, plain.read_bytes() if path is None else b""


def _good(status: str) -> tuple[str, str]:
    """The fingerprint of the first good signature, or nothing and the reason.

    Of several signatures, keys that are not in the keyring do not matter, as for apt; a bad one does.
    """
    signer, why, last = "", "it is not signed", ""
    reasons = {
        "BADSIG": "the signature does not hold",
        "ERRSIG": "it was made with a key that is not in the keyring",
        "EXPSIG": "the signature has expired",
        "EXPKEYSIG": "it was made with a key that has expired",
        "REVKEYSIG": "it was made with a key that was revoked",
    }
    for line in status.splitlines():
        words = line.split()
        if len(words) < 3 or words[0] != "[GNUPG:]":
            continue
        if words[1] == "BADSIG":
            return "", reasons["BADSIG"]
        if words[1] == "GOODSIG" or words[1] in reasons:
            last = words[1]
            why = reasons.get(last, why)
        elif words[1] == "VALIDSIG" and last == "GOODSIG":
            signer = signer or words[2]
    return signer, why


def verify_gpg_bytes(keyring: Path, signature: bytes, data: bytes, where: str) -> str:
    """As `verify_gpg`, over bytes in memory."""
    with tempfile.TemporaryDirectory(prefix="isthmus-gpg-") as place:
        path = Path(place, "data")
        path.write_bytes(data)
        return verify_gpg(keyring, signature, path, where)


def _dearmoured(keyring: Path) -> bytes:
    """The keys in binary, which is all that gpgv takes; several armoured blocks are joined."""
    try:
        with open(keyring, "rb") as file:
            data = file.read(MAX_SUMS)
    except OSError as error:
        raise UsageError("file-not-found", f"it cannot be read: {error.strerror}", where=str(keyring)) from error
    if not data.lstrip().startswith(b"-----BEGIN PGP"):
        return data
    found = bytearray()
    for block in re.findall(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(.*?)-----END PGP", data, re.DOTALL):
        lines = (b"\n" + block.replace(b"\r", b"")).partition(b"\n\n")[2].split(b"\n")
        try:
            found += base64.b64decode(b"".join(line for line in lines if not line.startswith(b"=")), validate=True)
        except (binascii.Error, ValueError) as error:
            raise UsageError("invalid-key", "not an OpenPGP keyring", where=str(keyring)) from error
    if not found:
        raise UsageError("invalid-key", "not an OpenPGP keyring", where=str(keyring))
    return bytes(found)


def _cosign_text(signature: bytes) -> str:
    text = signature[:MAX_SIGNATURE].decode("utf-8", "replace").strip()
    if not text.startswith("{"):
        return text
    try:
        document = json.loads(text)
        found = document.get("base64Signature") or document.get("messageSignature", {}).get("signature", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""


def _minisign_key(key: str) -> bytes:
    lines = [line.strip() for line in key.splitlines() if line.strip() and "comment:" not in line]
    try:
        raw = base64.b64decode(lines[-1], validate=True) if lines else b""
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 42 or raw[:2] != b"Ed":
        raise UsageError("invalid-key", "not a minisign public key", hint="give the line that begins with RW")
    return raw


def _decode(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("it is not base64", where) from error


def _hashed(path: Path) -> bytes:
    state = hashlib.blake2b()
    _each(path, state.update)
    return state.digest()


def _whole(path: Path, where: str) -> bytes:
    """Legacy signatures are over the file itself, which must then be in memory."""
    if path.stat().st_size > 256 * CHUNK:
        raise _bad("a legacy minisign signature of a file of more than 256 MiB", where)
    return path.read_bytes()


def _each(path: Path, take: Callable[[memoryview], None]) -> None:
    buffer = new_buffer()
    try:
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                take(buffer[:count])
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=str(path)) from error


def _digest(text: str) -> Digest:
    return Digest(f"{'sha256' if len(text) == 64 else 'sha512'}:{text.lower()}")


def _bad(why: str, where: str) -> VerificationError:
    return VerificationError("bad-signature", why, where=where)
