"""A part of a Debian repository: named packages, what they depend on, and indexes with a signature that holds.

The suite's own InRelease and lists are carried as they are, and only the .debs that are needed; or, with the
site's key, lists of just these. Not here: who depends on whom (`debian_apt`).
"""

import gzip
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import msgspec

from isthmus.content.artifact import complete, put_bytes
from isthmus.content.debian_apt import Package, needed
from isthmus.content.debian_release import MAX_RELEASE, Listed, Release, parse_release
from isthmus.content.debian_signed import reduced, release_files
from isthmus.content.evidence import evidence_of
from isthmus.content.fetch import fetch_known
from isthmus.content.naming import serve_path, stored_name
from isthmus.content.vouching import signed_text, verify_gpg_bytes
from isthmus.content.web import Web
from isthmus.errors import UnreachableError, UsageError, VerificationError
from isthmus.inventory.lock import LockedContent, LockEntry
from isthmus.inventory.model import Ref
from isthmus.inventory.thing_config import PackagesSection
from isthmus.oci import Digest
from isthmus.oci.content import CHUNK
from isthmus.progress import Meter
from isthmus.store import Store

KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
)
"""Tried where isthmus.yaml names none."""
MAX_LIST = 2 << 30
"""Bytes of an unpacked list of packages."""


class Suite(msgspec.Struct, frozen=True):
    """A suite whose signature holds."""

    base: str
    name: str
    release: Release
    files: dict[str, bytes]
    """What was signed, by name below `dists/SUITE/`."""
    signer: str


def lock_debian(
    ref: Ref, packages: PackagesSection, serve: str, store: Store, web: Web, max_age: int = 0
) -> LockEntry:
    """The entry of a partial repository; its indexes are in the store, its packages are pulled later.

    Raises VerificationError (`bad-signature`…), UnreachableError, UsageError.
    """
    suite = _suite(packages, web, ref.name)
    with tempfile.TemporaryDirectory(prefix="isthmus-debian-") as place:
        repository = Path(place, "repository")
        indexes = list(_indexes(suite, packages, store, web, repository, ref.name))
        chosen: set[Package] = set()
        for architecture in packages.architectures:
            chosen |= set(
                needed(
                    repository, Path(place, architecture), suite.name, packages.components, architecture,
                    packages.names, installed=packages.installed, recommends=packages.recommends, where=ref.name,
                )
            )  # fmt: skip
        if packages.sign:
            contents = _signed(suite, packages, store, indexes, chosen, Path(place), ref.name)
        else:
            contents = _original(suite, store, indexes)
    contents += [
        LockedContent(package.path, package.digest, package.size, f"{suite.base}/{package.path}")
        for package in sorted(chosen)
    ]
    return complete(
        LockEntry(
            kind="packages",
            name=ref.name,
            digest=Digest.of(b""),
            reference=stored_name("packages", ref.name),
            serve=_served(suite.base, serve),
            max_age=max_age or (0 if packages.sign else _life(suite.release)),
            created=_date(suite.release),
            verified_by=(f"gpg {suite.signer} (InRelease)",),
            resolved=tuple(sorted(package.title.removesuffix(".deb") for package in chosen)),
            contents=tuple(sorted(contents)),
            evidence=evidence_of(ref),
        )
    )


def _suite(packages: PackagesSection, web: Web, where: str) -> Suite:
    base = (packages.debian or "").rstrip("/")
    name = packages.suite or ""
    root = f"{base}/dists/{name}"
    rings = [packages.keyring] if packages.keyring else [ring for ring in KEYRINGS if Path(ring).is_file()]
    if not rings:
        raise UsageError("invalid-config", "no keyring of the distribution is known", where=where,
                         hint="name one: packages: {keyring: FILE}")  # fmt: skip
    inline = web.read_if_there(f"{root}/InRelease", MAX_RELEASE)
    plain = b"" if inline else web.read(f"{root}/Release", MAX_RELEASE)
    detached = b"" if inline else web.read(f"{root}/Release.gpg", MAX_RELEASE)
    for ring in rings:
        try:
            if inline:
                signer, text = signed_text(Path(ring), inline, f"{root}/InRelease")
            else:
                signer, text = verify_gpg_bytes(Path(ring), detached, plain, f"{root}/Release"), plain
        except VerificationError:
            if ring == rings[-1]:
                raise
            continue
        break
    release = parse_release(text, f"{root}/Release")
    until = release.valid_until
    if until is not None and until < datetime.now(UTC):
        raise VerificationError("bad-signature", f"the suite's signature held until {until:%Y-%m-%d %H:%M} UTC",
                                where=where, hint="the mirror is out of date: use another one")  # fmt: skip
    files = {"InRelease": inline} if inline else {"Release": plain, "Release.gpg": detached}
    return Suite(base, name, release, files, signer)


def _indexes(
    suite: Suite, packages: PackagesSection, store: Store, web: Web, repository: Path, where: str
) -> Iterator[tuple[Listed, str, str]]:
    """The lists of packages, fetched, and laid out for apt; with where each is, and its component/architecture."""
    root = f"{suite.base}/dists/{suite.name}"
    place = repository / "dists" / suite.name
    place.mkdir(parents=True)
    for name, data in suite.files.items():
        (place / name).write_bytes(data)
    seen: set[str] = set()
    for component in packages.components:
        for architecture in packages.architectures:
            found = list(suite.release.indexes(component, architecture))
            if not found:
                raise UnreachableError(
                    "not-found", f"the suite has no {component} for {architecture}", where=where, http_status=404
                )
            for listed in found:
                if listed.path in seen:
                    continue
                seen.add(listed.path)
                directory = listed.path.rpartition("/")[0]
                by_hash = f"{root}/{directory}/by-hash/SHA256/{listed.digest.hex}"
                url = by_hash if suite.release.by_hash else f"{root}/{listed.path}"
                fetch_known(store, web, url, listed.digest, listed.size, Meter(listed.size), url)
                target = place / listed.path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(store.blob_path(listed.digest), target)
                yield listed, url, directory


def _original(suite: Suite, store: Store, indexes: list[tuple[Listed, str, str]]) -> list[LockedContent]:
    """As the distribution signed it; by the names that never change as well, where apt asks for those."""
    top = f"dists/{suite.name}"
    found = []
    for name, data in suite.files.items():
        blob = put_bytes(store, data)
        found.append(LockedContent(f"{top}/{name}", blob.digest, blob.size))
    for listed, url, directory in indexes:
        found.append(LockedContent(f"{top}/{listed.path}", listed.digest, listed.size, url))
        if suite.release.by_hash:
            path = f"{top}/{directory}/by-hash/SHA256/{listed.digest.hex}"
            found.append(LockedContent(path, listed.digest, listed.size, url))
    return found


def _signed(
    suite: Suite, packages: PackagesSection, store: Store, indexes: list[tuple[Listed, str, str]],
    chosen: set[Package], place: Path, where: str,
) -> list[LockedContent]:  # fmt: skip
    wanted = {package.path for package in chosen}
    lists: dict[str, bytes] = {}
    for listed, _, directory in indexes:
        plain = place / "list"
        _unpack(store.blob_path(listed.digest), listed.path, plain, where)
        lists[f"{directory}/Packages"] = reduced(plain, wanted, where)
    files = release_files(
        lists, suite.release, packages.architectures, packages.components, packages.sign, packages.sign
    )
    found = []
    for path, data in files.items():
        blob = put_bytes(store, data)
        found.append(LockedContent(f"dists/{suite.name}/{path}", blob.digest, blob.size))
    return found


def _unpack(source: Path, name: str, target: Path, where: str) -> None:
    """A list in plain text, within limits."""
    left = MAX_LIST
    try:
        with _opened(source, name) as packed, open(target, "wb") as out:
            while data := packed.read(CHUNK):
                left -= len(data)
                if left < 0:
                    raise UsageError(
                        "invalid-input", f"{name} unpacks to more than {MAX_LIST >> 20} MiB", where=where
                    )
                out.write(data)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UsageError("invalid-input", f"{name} cannot be unpacked", where=where) from error
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be unpacked: {error.strerror}", where=name) from error


def _opened(source: Path, name: str) -> IO[bytes]:
    if name.endswith(".xz"):
        return lzma.open(source, "rb")
    return cast("IO[bytes]", gzip.open(source, "rb")) if name.endswith(".gz") else open(source, "rb")


def _served(base: str, serve: str) -> str:
    return serve.strip("/") if serve else serve_path(base)


def _date(release: Release) -> str:
    return release.date.strftime("%Y-%m-%dT%H:%M:%SZ") if release.date else ""


def _life(release: Release) -> int:
    """Seconds for which apt takes the suite's signature; 0 for ever."""
    date, until = release.date, release.valid_until
    return max(0, int((until - date).total_seconds())) if date and until else 0
