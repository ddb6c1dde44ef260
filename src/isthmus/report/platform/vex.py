"""OpenVEX documents that cross with images, collected into one; their statements stay as their authors wrote them.

They come as referrers of the type of OpenVEX, plain or in a signed envelope, or as in-toto attestations. Whether
to believe them is not decided here.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from isthmus.errors import IsthmusError, UsageError
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Descriptor, Digest, Manifest, Platform, Reference
from isthmus.oci.content import new_buffer
from isthmus.oci.cosign import attached_tags, claims_in
from isthmus.report.platform.model import PlatformReport
from isthmus.store import Store

CONTEXT: Final = "https://openvex.dev/ns/v0.2.0"
MAX_DOCUMENT: Final = 16 << 20
_PREDICATE: Final = "https://openvex.dev/ns"
_IN_TOTO: Final = "application/vnd.in-toto+json"
_MOST: Final = 100_000


def carried(entries: Iterable[LockEntry], store: Store) -> list[dict[str, Any]]:
    """Every OpenVEX document about an image of the lock or one of its platforms, in a stable order, each once."""
    found: dict[str, dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda entry: entry.key):
        if entry.in_registry:
            for document in _about(entry, store):
                found.setdefault(_key(document), document)
    return [found[key] for key in sorted(found)]


def read_document(data: bytes, where: str) -> dict[str, Any]:
    """An OpenVEX document. Raises UsageError `invalid-input`."""
    document = _decoded(data[: MAX_DOCUMENT + 1]) if len(data) <= MAX_DOCUMENT else None
    if document is None:
        raise UsageError("invalid-input", "not an OpenVEX document", where=where)
    return document


def collect(report: PlatformReport, documents: Iterable[dict[str, Any]]) -> bytes:
    """One document with all statements; each takes over its own document's time and author where it says none."""
    statements: list[Any] = []
    times = []
    for document in documents:
        times.append(str(document.get("timestamp", "")))
        for statement in document["statements"]:
            inherited = {"timestamp": document["timestamp"]} if document.get("timestamp") else {}
            if document.get("author") and "supplier" not in statement:
                inherited["supplier"] = document["author"]
            statements.append({**inherited, **statement})
    body = msgspec.json.encode(statements, order="sorted")
    whole = {
        "@context": CONTEXT,
        "@id": f"urn:isthmus:vex:{hashlib.sha256(body).hexdigest()}",
        "author": report.tool,
        "timestamp": report.made or max(times, default="") or "1970-01-01T00:00:00Z",
        "version": 1,
        "statements": statements,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def _about(entry: LockEntry, store: Store) -> Iterator[dict[str, Any]]:
    try:
        repository = Reference.parse(entry.stored_name).repository
        root = store.manifest_by_digest(entry.digest)
        children = root.select(tuple(Platform.parse(text) for text in entry.platforms))
    except IsthmusError:
        return
    for digest in (entry.digest, *(child.digest for child in children if child.is_manifest)):
        for manifest in _attached(store, repository, digest):
            for layer in manifest.layers[:16]:
                yield from _in_layer(store, manifest, layer)


def _attached(store: Store, repository: str, digest: Digest) -> Iterator[Manifest]:
    for descriptor in store.referrers(repository, digest):
        try:
            yield store.manifest_by_digest(descriptor.digest)
        except IsthmusError:
            continue
    for tag in attached_tags(digest):
        try:
            yield store.manifest(repository, tag)
        except IsthmusError:
            continue


def _in_layer(store: Store, manifest: Manifest, layer: Descriptor) -> Iterator[dict[str, Any]]:
    if layer.size > MAX_DOCUMENT:
        return
    kind = f"{layer.media_type} {manifest.effective_artifact_type}".lower()
    signed = "dsse" in kind or "sigstore.bundle" in kind or _IN_TOTO in kind
    if not signed and "vex" not in kind:
        return
    try:
        data = _read(store, layer)
    except IsthmusError:
        return
    bodies: list[Any] = [
        claim.body
        for claim in claims_in(layer.media_type, layer.annotations or {}, data)
        if claim.predicate.startswith(_PREDICATE)
    ]
    plain = _json(data)
    if isinstance(plain, dict) and str(plain.get("predicateType", "")).startswith(_PREDICATE):
        bodies.append(plain.get("predicate"))
    for body in [*bodies, plain]:
        if (document := _checked(body)) is not None:
            yield document


def _read(store: Store, blob: Descriptor) -> bytes:
    out, buffer = bytearray(), new_buffer()
    with store.open_blob("", blob) as body:
        while read := body.readinto(buffer):
            out += buffer[:read]
            if len(out) > MAX_DOCUMENT:
                break
    return bytes(out)


def _decoded(data: bytes) -> dict[str, Any] | None:
    return _checked(_json(data))


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _checked(document: Any) -> dict[str, Any] | None:
    if not isinstance(document, dict) or not str(document.get("@context", "")).startswith(_PREDICATE):
        return None
    statements = document.get("statements")
    if not isinstance(statements, list) or len(statements) > _MOST:
        return None
    return document if all(isinstance(each, dict) for each in statements) else None


def _key(document: dict[str, Any]) -> str:
    body = hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()
    return f"{document.get('timestamp', '')} {document.get('@id', '')} {body}"
