"""A part of an RPM repository: its own metadata as signed, and the packages that are needed.

Not here: reading metadata (`rpm_metadata`), who needs whom (`rpm_closure`).
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, cast

from isthmus.content.artifact import complete, put_bytes
from isthmus.content.evidence import evidence_of
from isthmus.content.fetch import fetch_known
from isthmus.content.naming import serve_path, stored_name
from isthmus.content.rpm_closure import Closure, closure
from isthmus.content.rpm_metadata import MAX_REPOMD, Part, Rpm, read_primary, read_repomd
from isthmus.content.vouching import MAX_SIGNATURE, verify_gpg_bytes
from isthmus.content.web import Web
from isthmus.errors import IncompleteError, UnreachableError, UsageError, VerificationError
from isthmus.inventory.lock import LockedContent, LockEntry
from isthmus.inventory.model import Ref
from isthmus.inventory.thing_config import PackagesSection
from isthmus.oci import Digest
from isthmus.progress import Meter
from isthmus.store import Store

MAX_PRIMARY = 4 << 30
_ARCHES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686"}
_NOT_CARRIED = ("other", "other_db", "other_zck", "primary_db", "filelists_db", "prestodelta")
"""Change logs, and databases that only yum of old read."""


def lock_rpm(
    ref: Ref, packages: PackagesSection, serve: str, store: Store, web: Web, max_age: int = 0
) -> LockEntry:
    """The entry of a partial repository; its metadata is in the store, its packages are pulled later.

    What a package requires and the repository lacks is taken to be on the nodes, and named in `resolved`; with
    `installed` it must be there. Raises VerificationError, UnreachableError, UsageError, IncompleteError.
    """
    if packages.sign:
        raise UsageError(
            "wrong-usage",
            "RPM metadata is carried as the publisher signed it; `sign` is for Debian",
            where=ref.name,
        )
    base = (packages.rpm or "").rstrip("/")
    signed, vouched = _signed(packages, web, base)
    parts = [part for part in read_repomd(signed["repomd.xml"], base) if part.type not in _NOT_CARRIED]
    contents = []
    for name, data in signed.items():
        blob = put_bytes(store, data)
        contents.append(LockedContent(f"repodata/{name}", blob.digest, blob.size))
    for part in parts:
        url = f"{base}/{part.path}"
        fetch_known(store, web, url, part.digest, part.size, Meter(part.size), url)
        contents.append(LockedContent(part.path, part.digest, part.size, url))
    found = _needed(packages, store, parts, ref.name)
    contents += [LockedContent(rpm.path, rpm.digest, rpm.size, f"{base}/{rpm.path}") for rpm in found.packages]
    return complete(
        LockEntry(
            kind="packages",
            name=ref.name,
            digest=Digest.of(b""),
            reference=stored_name("packages", ref.name),
            serve=serve.strip("/") if serve else serve_path(base),
            max_age=max_age,
            verified_by=(vouched,),
            resolved=(
                *sorted(rpm.title for rpm in found.packages),
                *(f"not in the repository: {name}" for name in found.elsewhere),
            ),
            contents=tuple(sorted(contents)),
            evidence=evidence_of(ref),
        )
    )


def _signed(packages: PackagesSection, web: Web, base: str) -> tuple[dict[str, bytes], str]:
    """repomd.xml and its signature; who vouches for it."""
    address = f"{base}/repodata/repomd.xml"
    data = web.read(address, MAX_REPOMD)
    signature = web.read_if_there(f"{address}.asc", MAX_SIGNATURE)
    files = {"repomd.xml": data} | ({"repomd.xml.asc": signature} if signature else {})
    if not packages.keyring:
        return files, "trusted on first use (repomd.xml)"
    if signature is None:
        raise VerificationError("unsigned", "repomd.xml is not signed, and a keyring was given", where=address)
    return files, f"gpg {verify_gpg_bytes(Path(packages.keyring), signature, data, address)} (repomd.xml)"


def _needed(packages: PackagesSection, store: Store, parts: list[Part], where: str) -> Closure:
    primary = next((part for part in parts if part.type == "primary"), None)
    if primary is None:
        raise UsageError("invalid-input", "the repository has no primary metadata", where=where)
    held: list[Rpm] = []
    try:
        with _opened(store.blob_path(primary.digest), primary.path, where) as stream:
            read_primary(stream, held.append, where, MAX_PRIMARY)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UsageError("invalid-input", f"{primary.path} cannot be unpacked", where=where) from error
    except OSError as error:
        if error.errno is None:  # bz2 has no error of its own
            raise UsageError("invalid-input", f"{primary.path} cannot be unpacked", where=where) from error
        raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=primary.path) from error
    except Exception as error:
        # The error class of zstd is only known where the library is.
        if type(error).__name__ != "ZstdError":
            raise
        raise UsageError("invalid-input", f"{primary.path} cannot be unpacked", where=where) from error
    arches = {_ARCHES.get(name, name) for name in packages.architectures}
    found = closure(held, packages.names, arches, _installed(packages.installed))
    if found.unknown:
        raise UnreachableError(
            "not-found", f"the repository has no {', '.join(found.unknown)} for {', '.join(sorted(arches))}",
            where=where, http_status=404,
        )  # fmt: skip
    if packages.installed and found.elsewhere:
        raise IncompleteError(
            "unresolved", f"neither the repository nor the nodes have {', '.join(found.elsewhere)[:300]}",
            where=where, items=found.elsewhere,
        )  # fmt: skip
    return found


def _installed(path: str) -> Collection[str]:
    """Capabilities of a node, from the output of `rpm -qa --provides`, or paths, one a line."""
    if not path:
        return ()
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return {line.split(" ", 1)[0].strip() for line in file if line.strip()}
    except OSError as error:
        raise UsageError("file-not-found", f"it cannot be read: {error.strerror}", where=path) from error


def _opened(source: Path, name: str, where: str) -> IO[bytes]:
    if name.endswith(".gz"):
        return cast("IO[bytes]", gzip.open(source, "rb"))
    if name.endswith(".xz"):
        return lzma.open(source, "rb")
    if name.endswith(".bz2"):
        return bz2.open(source, "rb")
    if name.endswith((".zst", ".zck")):
        return _zstd(source, where)
    return open(source, "rb")


def _zstd(source: Path, where: str) -> IO[bytes]:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found,no-redef,unused-ignore]
        except ImportError as error:
            raise UsageError(
                "wrong-usage", "the metadata is compressed with Zstandard, which this Python cannot read",
                where=where, hint="install isthmus[zstd]",
            ) from error  # fmt: skip
    return cast("IO[bytes]", zstd.open(source, "rb"))
