"""Files by URL: from a reference to a lock entry. Pinned, vouched for by the publisher, or trusted on first use.

Not here: moving bytes (`fetch`), checking signatures (`vouching`).
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import msgspec

from isthmus.content import vouching
from isthmus.content.artifact import complete
from isthmus.content.evidence import evidence_of
from isthmus.content.fetch import Fetched, fetch_known, fetch_unknown
from isthmus.content.naming import serve_path, stored_name
from isthmus.content.web import Web
from isthmus.errors import IsthmusError, UnreachableError, UsageError, VerificationError
from isthmus.inventory.config import Addition
from isthmus.inventory.lock import LockedContent, LockEntry
from isthmus.inventory.model import Ref
from isthmus.inventory.thing_config import VerifySection
from isthmus.oci import Digest
from isthmus.oci.content import new_buffer
from isthmus.progress import Meter
from isthmus.store import Store

TRUSTED = "trusted on first use"
_PIN = re.compile(r"\b(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})(?![0-9a-f])")
_SUMS = (".sha256", ".sha256sum", ".sha512")
_LISTS = ("SHA256SUMS", "sha256sum.txt", "checksums.txt")
_SIGNATURES = {"gpg": (".asc", ".sig", ".gpg"), "minisign": (".minisig",), "cosign": (".sig", ".bundle")}
_LIST_SIGNATURES = ("SHA256SUMS.asc", "SHA256SUMS.gpg", "SHA256SUMS.sig")


class Pin(msgspec.Struct, frozen=True):
    """The digest that a file must have, who says so, and its size in bytes where it was seen before."""

    digest: Digest
    by: str
    size: int | None = None


def lock_file(
    ref: Ref, addition: Addition, store: Store, web: Web, old: LockEntry | None, max_age: int = 0
) -> LockEntry:
    """The entry of a file. Only what nobody has a checksum of, or what is signed, is fetched for it.

    `old` is the former lock's entry: what was trusted once must stay the same, unless it is meant to change
    (`max_age`). Raises VerificationError, UnreachableError, UsageError (`invalid-key`…).
    """
    url = ref.name
    web.places(url)  # which refuses what is no address
    pin = _pin(ref, addition, web, old, ages=bool(max_age))
    signed = any((addition.verify.gpg, addition.verify.minisign, addition.verify.cosign))
    fetched = _size_only(web, url, pin) if pin and pin.digest.algorithm == "sha256" and not signed else None
    if fetched is None:
        fetched = _fetched(store, web, url, pin)
    vouched = [pin.by if pin else TRUSTED]
    if signed:
        vouched += _signatures(addition.verify, store, web, url, fetched.digest)
    served = serve_path(url, addition.serve)
    return complete(
        LockEntry(
            kind="file",
            name=url,
            digest=fetched.digest,
            reference=stored_name("file", url),
            serve=served,
            max_age=max_age,
            created=fetched.modified if max_age else "",
            verified_by=tuple(sorted({*vouched})),
            contents=(LockedContent(served.rpartition("/")[2], fetched.digest, fetched.size, url),),
            evidence=evidence_of(ref),
        )
    )


def _pin(ref: Ref, addition: Addition, web: Web, old: LockEntry | None, *, ages: bool) -> Pin | None:
    if addition.sha256:
        return Pin(Digest(f"sha256:{addition.sha256}"), "sha256 in isthmus.yaml")
    for finding in ref.findings:
        if match := _PIN.search(finding.note):
            return Pin(Digest(match[1]), f"checksum of {finding.source}")
    if ages:
        return _published(addition.verify, web, ref.name) or (_unchanged(web, ref.name, old) if old else None)
    if old is not None and len(old.contents) == 1:
        part = old.contents[0]
        return Pin(part.digest, next((text for text in old.verified_by if text), TRUSTED), part.size)
    return _published(addition.verify, web, ref.name)


def _unchanged(web: Web, url: str, old: LockEntry) -> Pin | None:
    """What the former lock has of a file that may change, where date and size are still the same."""
    if not old.created or len(old.contents) != 1:
        return None
    part = old.contents[0]
    for place in web.places(url):
        try:
            told = web.tell(place)
        except UnreachableError:
            continue
        return Pin(part.digest, TRUSTED) if (told.modified, told.size) == (old.created, part.size) else None
    return None


def _published(verify: VerifySection, web: Web, url: str) -> Pin | None:
    """What the publisher's checksum file says, where there is one."""
    name = urlsplit(url).path.rpartition("/")[2]
    if verify.checksum:
        found = vouching.digest_in_sums(web.read(verify.checksum, vouching.MAX_SUMS), name)
        if found is None:
            raise VerificationError("missing-content", f"{verify.checksum} does not list {name}", where=url)
        return Pin(found, f"checksum {verify.checksum}")
    for address in _beside(url):
        try:
            data = web.read_if_there(address, vouching.MAX_SUMS)
        except UnreachableError:
            continue  # a guess of ours, and not an answer: the file itself will tell whether the host is there
        found = vouching.digest_in_sums(data, name) if data else None
        if found is not None:
            return Pin(found, f"checksum {address}")
    return None


def _beside(url: str) -> Iterator[str]:
    base = url.partition("#")[0].partition("?")[0]
    yield from (base + ending for ending in _SUMS)
    yield from (urljoin(base, name) for name in _LISTS)


def _size_only(web: Web, url: str, pin: Pin) -> Fetched | None:
    """Size and date as a host tells them; the bytes are verified when they are pulled."""
    failure: UnreachableError | None = None
    for place in web.places(url):
        try:
            told = web.tell(place, is_pinned=True)
        except UnreachableError as error:
            failure = failure or error
            continue
        if told.size is None:
            return None
        if pin.size not in (None, told.size):
            raise VerificationError(
                "size-mismatch",
                f"the file had {pin.size} bytes when it was locked, and has {told.size} now",
                where=url,
                hint="look why it changed; `isthmus lock --trust-anew` takes it as it is",
            )
        return Fetched(pin.digest, told.size, told.modified)
    raise failure or AssertionError(url)


def _fetched(store: Store, web: Web, url: str, pin: Pin | None) -> Fetched:
    """The file itself, and the proof that it is what it must be."""
    sized = _size_only(web, url, pin) if pin and pin.digest.algorithm == "sha256" else None
    if pin and sized is not None:
        fetch_known(store, web, url, pin.digest, sized.size, Meter(sized.size), url)
        return sized
    fetched = fetch_unknown(store, web, url)
    if pin is None:
        return fetched
    found = fetched.digest
    if pin.digest.algorithm != found.algorithm:
        found = _hash(store.blob_path(fetched.digest), pin.digest.algorithm)
    if found != pin.digest:
        raise VerificationError(
            "digest-mismatch", f"expected {pin.digest} ({pin.by}), the content has {found}", where=url
        )
    return fetched


def _hash(path: Path, algorithm: str) -> Digest:
    state = hashlib.new(algorithm)
    buffer = new_buffer()
    try:
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                state.update(buffer[:count])
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=str(path)) from error
    return Digest(f"{algorithm}:{state.hexdigest()}")


def _signatures(verify: VerifySection, store: Store, web: Web, url: str, digest: Digest) -> list[str]:
    """Every signature that was asked for, checked; what each is, for the lock."""
    path = store.blob_path(digest)
    found = []
    if verify.minisign:
        key = (
            verify.minisign
            if verify.minisign.startswith("RW")
            else _key(verify.minisign).decode("utf-8", "replace")
        )

        def minisign(data: bytes, where: str) -> str:
            return "minisign: " + vouching.verify_minisign(key, data, path, where)[:200]

        found.append(_first(verify, web, url, "minisign", minisign))
    if verify.cosign:
        pem = _key(verify.cosign)

        def cosign(data: bytes, where: str) -> str:
            vouching.verify_cosign(pem, data, digest, where)
            return f"cosign key {hashlib.sha256(pem).hexdigest()[:16]}"

        found.append(_first(verify, web, url, "cosign", cosign))
    if verify.gpg:
        ring = Path(verify.gpg)

        def gpg(data: bytes, where: str) -> str:
            return f"gpg {vouching.verify_gpg(ring, data, path, where)}"

        found.append(_gpg(verify, web, url, digest, gpg, ring))
    return found


def _first(verify: VerifySection, web: Web, url: str, kind: str, check: Callable[[bytes, str], str]) -> str:
    """The first signature that is there must hold."""
    base = url.partition("#")[0].partition("?")[0]
    given = verify.signature
    for address in (given,) if given else tuple(base + ending for ending in _SIGNATURES[kind]):
        data = web.read_if_there(address, vouching.MAX_SIGNATURE)
        if data is not None:
            return check(data, address)
    raise VerificationError("unsigned", f"there is no {kind} signature beside the file", where=url)


def _gpg(
    verify: VerifySection, web: Web, url: str, digest: Digest, check: Callable[[bytes, str], str], ring: Path
) -> str:
    """A signature over the file, or over the list of checksums beside it that has the file."""
    try:
        return _first(verify, web, url, "gpg", check)
    except IsthmusError as error:
        if error.code != "unsigned":
            raise
        unsigned = error
    sums_at = urljoin(url, "SHA256SUMS")
    sums = web.read_if_there(sums_at, vouching.MAX_SUMS)
    name = urlsplit(url).path.rpartition("/")[2]
    if sums is None or vouching.digest_in_sums(sums, name) != digest:
        raise unsigned
    for ending in _LIST_SIGNATURES:
        address = urljoin(url, ending)
        data = web.read_if_there(address, vouching.MAX_SIGNATURE)
        if data is not None:
            return f"gpg {vouching.verify_gpg_bytes(ring, data, sums, address)} over {sums_at}"
    raise unsigned


def _key(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(vouching.MAX_SIGNATURE)
    except OSError as error:
        raise UsageError("file-not-found", f"the key cannot be read: {error.strerror}", where=path) from error
