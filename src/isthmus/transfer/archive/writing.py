"""Writes images of a store into one tar that `docker load`, `podman load` and `ctr images import` take.

As modern `docker save`, the file is an OCI layout and, for docker's format, a docker-archive at once, around
the same blobs. The same images give the same bytes; every blob is verified while it is read; the file appears
under its name only when it is whole. Not here: which images (`selecting`).
"""

import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from isthmus.oci import Descriptor, Digest, Platform, Verifier
from isthmus.oci.content import new_buffer
from isthmus.oci.descriptor import OCI_INDEX
from isthmus.progress import Meter, Progress, silent
from isthmus.store import Store, StoredReference
from isthmus.store.index import CONTAINERD_NAME, REF_NAME
from isthmus.transfer.archive.output import opened
from isthmus.transfer.archive.selecting import Selected, select
from isthmus.transfer.archive.tar import BLOCK

Format = Literal["docker", "oci"]
_MARKER = b'{"imageLayoutVersion":"1.0.0"}'
_RECORD = 20 * BLOCK  # what tar fills its files up to
_encoder = msgspec.json.Encoder(enc_hook=str)  # for Digest, a subclass of str


class ExportedImage(msgspec.Struct, frozen=True):
    """An image in an archive: `names` for containerd and podman, `tags` for docker.

    `not_for_docker` says why `docker load` does not take it; it is in the layout all the same.
    """

    name: str
    digest: Digest
    names: tuple[str, ...]
    tags: tuple[str, ...]
    not_for_docker: str = ""
    absent: tuple[Digest, ...] = ()


class Exported(msgspec.Struct, frozen=True):
    """What was written; `bytes` is the size of the file. `referrers_left_out` are signatures and the like."""

    images: tuple[ExportedImage, ...]
    blobs: int
    bytes: int
    seconds: float
    referrers_left_out: int = 0


def write_archive(
    store: Store,
    references: Sequence[StoredReference],
    out: Path | BinaryIO,
    format: Format = "docker",  # noqa: A002  # as the option is called
    platforms: Sequence[Platform] = (),
    progress: Progress = silent,
    dry_run: bool = False,
) -> Exported:
    """Write these references into a file, which is replaced when all is written, or to a stream.

    Docker's format leaves referrers out, which its readers would take for images; `oci` carries them.
    Raises IncompleteError (`missing-content`), VerificationError (`damaged-store`), UnreachableError
    (`io-failed`), UsageError (`wrong-usage` where another process writes the same file).
    """
    started = time.monotonic()
    chosen = select(store, references, platforms)
    blobs = _blobs(chosen, format)
    documents = _documents(chosen, format)
    size = _size(documents, blobs)
    if not dry_run:
        meter = Meter(sum(blob.size for blob in blobs), progress)
        with opened(out) as write:
            _write(write, documents, store, blobs, meter, size)
    referrers = {referrer.digest for one in chosen for referrer in one.referrers}
    return Exported(
        images=tuple(_told(one, format) for one in chosen),
        blobs=len(blobs),
        bytes=size,
        seconds=time.monotonic() - started,
        referrers_left_out=0 if format == "oci" else len(referrers),
    )


def _told(one: Selected, form: Format) -> ExportedImage:
    return ExportedImage(
        name=one.reference.name,
        digest=one.reference.descriptor.digest,
        names=one.names,
        tags=one.tags if form == "docker" and one.saved else (),
        not_for_docker=one.unsaved if form == "docker" else "",
        absent=tuple(blob.digest for blob in one.absent),
    )


def _blobs(chosen: Sequence[Selected], form: Format) -> list[Descriptor]:
    """Everything that has a digest, each once, in the order of the digests."""
    found: dict[Digest, Descriptor] = {}
    for one in chosen:
        absent = {blob.digest for blob in one.absent}
        for manifest in (*one.manifests, *(one.referrers if form == "oci" else ())):
            found.setdefault(manifest.digest, manifest.descriptor())
            for blob in manifest.blobs:
                if blob.digest not in absent:
                    found.setdefault(blob.digest, blob)
    return [found[digest] for digest in sorted(found)]


def _documents(chosen: Sequence[Selected], form: Format) -> dict[str, bytes]:
    """The files that are not blobs; first in the archive, so that a reader of a stream knows what comes."""
    entries: list[Descriptor] = []
    referrers: dict[Digest, Descriptor] = {}
    for one in chosen:
        for name in one.names:
            own = {CONTAINERD_NAME: name, REF_NAME: name}
            entries.append(_annotated(one.reference.descriptor, own))
        for manifest in one.referrers if form == "oci" else ():
            described = msgspec.structs.replace(
                manifest.descriptor(), artifact_type=manifest.effective_artifact_type
            )
            referrers[manifest.digest] = _annotated(described, manifest.annotations)
    named = {entry.digest for entry in entries}
    entries += [referrers[digest] for digest in sorted(referrers) if digest not in named]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    documents = {"oci-layout": _MARKER, "index.json": _encoder.encode(index)}
    if form == "docker":
        documents["manifest.json"] = _encoder.encode(_saved(chosen))
    return documents


def _annotated(descriptor: Descriptor, more: Mapping[str, str]) -> Descriptor:
    annotations = {**(descriptor.annotations or {}), **more}
    return msgspec.structs.replace(descriptor, annotations=dict(sorted(annotations.items())) or None)


def _saved(chosen: Sequence[Selected]) -> list[dict[str, object]]:
    """`manifest.json`: each image once, with all its tags."""
    entries: dict[Digest, dict[str, object]] = {}
    tags: dict[Digest, dict[str, None]] = {}
    for one in chosen:
        if one.saved is None or one.saved.config is None:
            continue
        tags.setdefault(one.saved.digest, {}).update(dict.fromkeys(one.tags))
        entries[one.saved.digest] = {
            "Config": _blob_name(one.saved.config.digest),
            "RepoTags": list(tags[one.saved.digest]),
            "Layers": [_blob_name(layer.digest) for layer in one.saved.layers],
        }
    return list(entries.values())


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _write(
    write: Callable[[memoryview], None],
    documents: dict[str, bytes],
    store: Store,
    blobs: Sequence[Descriptor],
    meter: Meter,
    size: int,
) -> None:
    written = 0

    def put(data: memoryview) -> None:
        nonlocal written
        write(data)
        written += data.nbytes

    for name, data in documents.items():
        put(memoryview(_header(name, len(data)) + data + _padding(len(data))))
    for directory in _directories(blobs):
        put(memoryview(_header(directory, 0, tarfile.DIRTYPE)))
    buffer = new_buffer()
    for blob in blobs:
        put(memoryview(_header(_blob_name(blob.digest), blob.size)))
        _copy(store, blob, put, buffer, meter)
        put(memoryview(_padding(blob.size)))
    put(memoryview(bytes(size - written)))


def _copy(
    store: Store, blob: Descriptor, put: Callable[[memoryview], None], buffer: memoryview, meter: Meter
) -> None:
    verifier = Verifier(blob.digest, blob.size, where=str(store.blob_path(blob.digest)))
    with store.open_blob("", blob) as reader:
        while count := reader.readinto(buffer):
            verifier.update(buffer[:count])
            put(buffer[:count])
            meter.add(count, str(blob.digest))
    verifier.finish()


def _directories(blobs: Sequence[Descriptor]) -> list[str]:
    return ["blobs/", *sorted({f"blobs/{blob.digest.algorithm}/" for blob in blobs})]


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header that says nothing of this machine or moment; sizes and names of any length by pax."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.type = kind
    member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return member.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _size(documents: dict[str, bytes], blobs: Sequence[Descriptor]) -> int:
    """The bytes that the file will have, known before anything is read."""
    parts = [(name, len(data), tarfile.REGTYPE) for name, data in documents.items()]
    parts += [(name, 0, tarfile.DIRTYPE) for name in _directories(blobs)]
    parts += [(_blob_name(blob.digest), blob.size, tarfile.REGTYPE) for blob in blobs]
    total = sum(len(_header(name, size, kind)) + size + len(_padding(size)) for name, size, kind in parts)
    return -(-(total + 2 * BLOCK) // _RECORD) * _RECORD
