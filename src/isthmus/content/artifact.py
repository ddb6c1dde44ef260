"""Files, trees, git repositories and charts as OCI artifacts in a store, deterministic (decision 0005).

The manifest follows from the lock entry alone, so that whoever pulls the same lock gets the same digest.
Not here: where the bytes come from (`files`, `charts`, `git`, `debian`), and reading (`things`).
"""

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from isthmus.content.naming import HOST, ROOMS, chart_name, checked_path, stored_name
from isthmus.errors import UnreachableError, UsageError, VerificationError
from isthmus.inventory.lock import LockedContent, LockEntry
from isthmus.inventory.model import Kind
from isthmus.oci import Descriptor, Digest, Manifest, Reference, parse_manifest
from isthmus.oci.content import new_buffer
from isthmus.oci.descriptor import EMPTY_JSON, OCI_MANIFEST
from isthmus.store import Store, StoredReference

TYPES: Mapping[str, str] = {
    "file": "application/vnd.isthmus.file.v1",
    "packages": "application/vnd.isthmus.packages.v1",
    "git": "application/vnd.isthmus.git.v1",
}
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
CHART_PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
ANY_LAYER = "application/octet-stream"

NAME = "dev.isthmus.name"
SERVE = "dev.isthmus.serve"
MAX_AGE = "dev.isthmus.max-age"
CREATED = "org.opencontainers.image.created"
TITLE = "org.opencontainers.image.title"
_EMPTY = b"{}"


def manifest_of(entry: LockEntry) -> tuple[Manifest, bytes]:
    """The manifest that an entry stands for, and its config's bytes.

    Raises UsageError (`invalid-lock`) for an entry that cannot be one, `invalid-config` for its paths.
    """
    if entry.kind not in (*TYPES, "chart") or entry.in_registry or not entry.contents:
        raise UsageError("invalid-lock", f"{entry.name} has no contents to be made of", where=entry.name)
    if not entry.reference.startswith(f"{HOST}/{ROOMS[entry.kind]}/"):
        raise UsageError("invalid-lock", f"{entry.reference!r:.200} cannot name a {entry.kind}", where=entry.name)
    is_chart = entry.kind == "chart"
    config = _chart_config(entry) if is_chart else _EMPTY
    annotations = {NAME: entry.name}
    if entry.serve:
        annotations[SERVE] = checked_path(entry.serve)
    if entry.max_age:
        annotations[MAX_AGE] = str(entry.max_age)
    if entry.created:
        annotations[CREATED] = entry.created
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": CHART_CONFIG if is_chart else EMPTY_JSON,
            "digest": Digest.of(config),
            "size": len(config),
        },
        "layers": [_layer(content, is_chart=is_chart) for content in sorted(entry.contents)],
        "annotations": annotations,
    }
    if not is_chart:
        document["artifactType"] = TYPES[entry.kind]
    raw = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return parse_manifest(raw, OCI_MANIFEST, where=entry.name), config


def complete(entry: LockEntry) -> LockEntry:
    """The entry with the digest, media type and size (of everything, in bytes) that follow from its contents."""
    manifest, config = manifest_of(entry)
    sizes = {content.digest: content.size for content in entry.contents}
    return msgspec.structs.replace(
        entry,
        digest=manifest.digest,
        media_type=manifest.media_type,
        size=sum(sizes.values()) + manifest.size + len(config),
    )


def put(store: Store, entry: LockEntry) -> StoredReference:
    """Write the manifest of an entry whose contents the store has; the reference to name it by.

    Raises VerificationError (`digest-mismatch`) where the entry is not what its contents make.
    """
    manifest, config = manifest_of(entry)
    if manifest.digest != entry.digest:
        raise VerificationError(
            "digest-mismatch",
            f"the contents make {manifest.digest}, the lock says {entry.digest}",
            where=entry.name,
            hint="the lock was changed by hand; make it again with `isthmus lock`",
        )
    repository = Reference.parse(entry.stored_name).repository
    put_bytes(store, config)
    store.put_manifest(repository, manifest)
    return StoredReference(entry.stored_name, manifest.descriptor())


def put_bytes(store: Store, data: bytes) -> Descriptor:
    """Write bytes as a blob."""
    blob = Descriptor(ANY_LAYER, Digest.of(data), len(data))
    with store.write_blob("", blob) as writer:
        if writer.offset < len(data):
            writer.write(memoryview(data)[writer.offset :])
        writer.commit()
    return blob


def put_file(store: Store, path: str | os.PathLike[str]) -> Descriptor:
    """Write a file as a blob, reading it once. Raises UnreachableError (`io-failed`)."""
    name = secrets.token_hex(16)
    store.begin_upload(name)
    with store.upload(name) as upload:
        buffer = new_buffer()
        try:
            with open(path, "rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    upload.write(buffer[:count])
        except OSError as error:
            upload.remove()
            raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=str(path)) from error
        digest, size = upload.digest(), upload.size
        store.protect(digest)
        upload.publish(digest)
    return Descriptor(ANY_LAYER, digest, size)


def make_tree(
    store: Store,
    kind: Kind,
    name: str,
    files: Mapping[str, bytes | Path],
    *,
    serve: str = "",
    max_age: int = 0,
    created: str = "",
    reference: str = "",
) -> LockEntry:
    """Put local bytes into the store as one artifact, named, and give its lock entry. Paths are POSIX, relative.

    Raises UsageError (`invalid-config`) for a path that leads elsewhere, `io-failed`.
    """
    contents = []
    for path, source in files.items():
        blob = put_bytes(store, source) if isinstance(source, bytes) else put_file(store, source)
        contents.append(LockedContent(checked_path(path), blob.digest, blob.size))
    entry = complete(
        LockEntry(
            kind=kind,
            name=name,
            digest=Digest.of(b""),
            reference=reference or stored_name(kind, name),
            serve=serve,
            max_age=max_age,
            created=created,
            contents=tuple(sorted(contents)),
        )
    )
    store.set_references([put(store, entry)])
    return entry


def make_file(
    store: Store, name: str, source: bytes | Path, *, serve: str, max_age: int = 0, created: str = ""
) -> LockEntry:
    """One file, which the file server has at `serve`."""
    title = serve.rpartition("/")[2]
    return make_tree(store, "file", name, {title: source}, serve=serve, max_age=max_age, created=created)


def make_chart(
    store: Store, name: str, archive: bytes | Path, *, chart: str, version: str, serve: str = "",
    provenance: bytes = b"",
) -> LockEntry:  # fmt: skip
    """A packaged chart of a classic repository, found inside as `oci://…/charts/CHART:VERSION`."""
    files = {f"{chart}-{version}.tgz": archive}
    if provenance:
        files[f"{chart}-{version}.tgz.prov"] = provenance
    return make_tree(store, "chart", name, files, serve=serve, reference=chart_name(chart, version))


def make_git(store: Store, name: str, directory: Path, *, serve: str, created: str = "") -> LockEntry:
    """A bare repository as plain HTTP serves it: every regular file below the directory."""
    files: dict[str, bytes | Path] = {
        path.relative_to(directory).as_posix(): path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return make_tree(store, "git", name, files, serve=serve, created=created)


def name_all(store: Store, references: Iterable[StoredReference]) -> None:
    """Name many at once."""
    held = list(references)
    if held:
        store.set_references(held)


def _chart_config(entry: LockEntry) -> bytes:
    """As much of Chart.yaml as the name tells, so that the lock alone makes it; Helm reads the archive's own."""
    reference = Reference.parse(entry.stored_name)
    chart = reference.path.rpartition("/")[2]
    version = reference.tag.replace("_", "+")
    document = {"apiVersion": "v2", "name": chart, "version": version}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _layer(content: LockedContent, *, is_chart: bool) -> dict[str, object]:
    kind = ANY_LAYER
    if is_chart:
        kind = CHART_PROVENANCE if content.path.endswith(".prov") else CHART_LAYER
    return {
        "mediaType": kind,
        "digest": content.digest,
        "size": content.size,
        "annotations": {TITLE: checked_path(content.path)},
    }
