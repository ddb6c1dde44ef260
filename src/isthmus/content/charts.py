"""Helm charts: of classic repositories (index.yaml), of a plain address, and ranges of those in registries.

`https://host/repo#name?version=^1.2` names a chart of a repository; `https://host/x-1.0.tgz` is itself one;
`oci://host/path?version=^1.2` is one in a registry. Not here: charts of registries as such (`transfer`).
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin

import msgspec

from isthmus.content import vouching
from isthmus.content.artifact import complete, put_bytes
from isthmus.content.chart_archive import chart_metadata
from isthmus.content.evidence import evidence_of
from isthmus.content.fetch import fetch_known, fetch_unknown
from isthmus.content.naming import chart_name, serve_path
from isthmus.content.semver import best
from isthmus.content.web import Web
from isthmus.errors import UnreachableError, UsageError, VerificationError
from isthmus.inventory.config import Addition
from isthmus.inventory.lock import LockedContent, LockEntry
from isthmus.inventory.model import Ref
from isthmus.inventory.yaml_builder import build
from isthmus.oci import Digest, Reference
from isthmus.progress import Meter
from isthmus.store import Store

MAX_INDEX = 64 << 20
_HEX = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.ASCII)
_LISTED = re.compile(r"^\s{2}(\S+): sha256:([0-9a-f]{64})\s*$", re.MULTILINE)


class Found(msgspec.Struct, frozen=True):
    """A chart's archive: where it is, and what the repository says of it."""

    url: str
    name: str = ""
    version: str = ""
    digest: Digest | None = None


def lock_chart(ref: Ref, addition: Addition, store: Store, web: Web) -> LockEntry:
    """The entry of a chart of a classic repository, its archive and its provenance in the store.

    Raises UnreachableError, VerificationError, UsageError (`invalid-config`, `invalid-input`).
    """
    found = _find(ref.name, web)
    blob = _archive(store, web, found)
    meta = chart_metadata(store.blob_path(blob.digest), where=ref.name)
    if (found.name and meta.name != found.name) or (found.version and meta.version != found.version):
        raise VerificationError(
            "digest-mismatch",
            f"the repository offers {found.name} {found.version}, the archive is {meta.name} {meta.version}",
            where=ref.name,
        )
    title = f"{meta.name}-{meta.version}.tgz"
    contents = [LockedContent(title, blob.digest, blob.size, found.url)]
    vouched = [f"digest in {ref.name.partition('#')[0]}" if found.digest else "trusted on first use"]
    provenance = web.read_if_there(found.url.partition("?")[0] + ".prov", vouching.MAX_SIGNATURE)
    if provenance is not None:
        kept = put_bytes(store, provenance)
        contents.append(LockedContent(f"{title}.prov", kept.digest, kept.size, found.url + ".prov"))
    if addition.verify.gpg:
        vouched.append(_verified(provenance, addition.verify.gpg, blob.digest, ref.name))
    served = serve_path(found.url, addition.serve)
    return complete(
        LockEntry(
            kind="chart",
            name=ref.name,
            digest=blob.digest,
            reference=chart_name(meta.name, meta.version),
            serve=served.rpartition("/")[0],
            verified_by=tuple(sorted(vouched)),
            resolved=(f"{meta.name} {meta.version}",),
            contents=tuple(sorted(contents)),
            evidence=evidence_of(ref),
        )
    )


def pin_ranges(refs: Sequence[Ref], tags: Callable[[Reference], Sequence[str]]) -> list[Ref]:
    """References of which `oci://…?version=RANGE` became the newest tag that fits; others are as they were.

    Raises UnreachableError (`not-found`) where none fits, and what `tags` raises.
    """
    found = []
    for ref in refs:
        if ref.kind == "chart" and ref.name.startswith("oci://") and "?" in ref.name:
            path, _, query = ref.name.removeprefix("oci://").partition("?")
            reference = Reference.parse(path)
            wanted = parse_qs(query).get("version", [""])[0]
            # OCI tags have no plus: Helm writes an underscore.
            version = best([tag.replace("_", "+") for tag in tags(reference)], wanted)
            if version is None:
                raise _none(ref.name, wanted)
            pinned = msgspec.structs.replace(reference, tag=version.replace("+", "_"))
            ref = msgspec.structs.replace(ref, name=str(pinned))
        found.append(ref)
    return found


def _find(name: str, web: Web) -> Found:
    repository, hash_mark, rest = name.partition("#")
    if not hash_mark:
        if not repository.partition("?")[0].endswith((".tgz", ".tar.gz")):
            raise UsageError(
                "invalid-config", "it names a repository, but no chart in it", where=name,
                hint="write https://host/repository#NAME?version=RANGE",
            )  # fmt: skip
        return Found(repository)
    chart, _, query = rest.partition("?")
    wanted = parse_qs(query).get("version", [""])[0]
    base = repository.rstrip("/") + "/"
    index = _index(web.read(base + "index.yaml", MAX_INDEX), base + "index.yaml")
    listed = index.get("entries")
    entries = listed.get(chart) if isinstance(listed, dict) else None
    versions = {
        str(entry["version"]): entry
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("version"), str | int | float)
    }
    version = best(versions, wanted)
    if version is None:
        raise _none(name, wanted)
    entry = versions[version]
    urls = entry.get("urls")
    if not isinstance(urls, list) or not urls or not isinstance(urls[0], str):
        raise UsageError("invalid-input", f"the repository says no address of {chart} {version}", where=name)
    digest = _HEX.fullmatch(str(entry.get("digest", "")))
    try:
        address = urljoin(base, urls[0])
    except ValueError as error:
        raise UsageError("invalid-input", f"{urls[0][:200]!r} is no address", where=name) from error
    return Found(address, chart, version, Digest(f"sha256:{digest[1]}") if digest else None)


def _index(data: bytes, where: str) -> dict[str, Any]:
    try:
        documents = build(data.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise UsageError("invalid-input", "it is not UTF-8 text", where=where) from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise UsageError("invalid-input", "it is not the index of a chart repository", where=where)
    return documents[0]


def _archive(store: Store, web: Web, found: Found) -> LockedContent:
    """The archive in the store; with the digest of the index, where that has one."""
    if found.digest:
        told = next((told for place in web.places(found.url) if (told := web.tell(place)).size is not None), None)
        if told is not None and told.size is not None:
            fetch_known(store, web, found.url, found.digest, told.size, Meter(told.size), found.url)
            return LockedContent("", found.digest, told.size)
    fetched = fetch_unknown(store, web, found.url)
    if found.digest and fetched.digest != found.digest:
        raise VerificationError(
            "digest-mismatch", f"the index says {found.digest}, the archive has {fetched.digest}", where=found.url
        )
    return LockedContent("", fetched.digest, fetched.size)


def _verified(provenance: bytes | None, keyring: str, digest: Digest, where: str) -> str:
    """Helm's provenance: a clear-signed text that lists the archive's digest (helm.sh/docs/topics/provenance)."""
    if provenance is None:
        raise VerificationError("unsigned", "the chart has no provenance file", where=where)
    signer, text = vouching.signed_text(Path(keyring), provenance, where)
    if digest.hex not in {match[2] for match in _LISTED.finditer(text.decode("utf-8", "replace"))}:
        raise VerificationError("digest-mismatch", "the provenance is of another archive", where=where)
    return f"gpg {signer} (provenance)"


def _none(name: str, wanted: str) -> UnreachableError:
    return UnreachableError(
        "not-found", f"there is no version {wanted or 'at all'} of this chart", where=name, http_status=404
    )
