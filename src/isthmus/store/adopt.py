"""Verified blobs move from a staging directory into a store: a rename each, or a copy across file systems.

Running it again after a crash goes on: what was moved already is in the store. Not here: names; they are
set in one batch afterwards, and until then nothing of it is visible.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from isthmus.errors import IncompleteError
from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.oci.content import new_buffer
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.store import files, ingest
from isthmus.store.blobs import BlobDirectory
from isthmus.store.database import begins_like_json, manifest_or_none
from isthmus.store.staging import Staging


def adopt(
    staging: Staging,
    digests: Sequence[Digest],
    blobs: BlobDirectory,
    ingest_directory: Path,
    learn: Callable[[Sequence[Manifest]], None],
    *,
    durable: bool,
) -> int:
    """Move blobs and return how many moved. Raises IncompleteError `missing-content` before moving any."""
    missing = [d for d in digests if staging.blobs.size(d) is None and blobs.size(d) is None]
    if missing:
        raise IncompleteError(
            "missing-content",
            f"{missing[0]} is neither staged nor in the store",
            where=str(staging.path),
            items=[str(digest) for digest in missing],
        )
    learn(tuple(_manifests(staging, digests)))
    return sum(_move(staging, digest, blobs, ingest_directory, durable=durable) for digest in digests)


def _manifests(staging: Staging, digests: Sequence[Digest]) -> Iterator[Manifest]:
    for digest in digests:
        size = staging.blobs.size(digest)
        if size is not None and size <= MAX_MANIFEST_SIZE and begins_like_json(staging.blobs.path(digest)):
            manifest = manifest_or_none(staging.blobs, digest)
            if manifest is not None:
                yield manifest


def _move(
    staging: Staging, digest: Digest, blobs: BlobDirectory, ingest_directory: Path, *, durable: bool
) -> bool:
    size = staging.blobs.size(digest)
    if size is None:
        return False
    if blobs.size(digest) == size:
        staging.forget(digest)
        return False
    blobs.prepare(digest.algorithm)
    source, target = staging.blobs.path(digest), blobs.path(digest)
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno == errno.ENOENT and blobs.size(digest) == size:
            return False  # another process moved it
        if error.errno != errno.EXDEV:
            raise files.io_failed(error, target) from error
        _copy(staging, Descriptor("", digest, size), blobs, ingest_directory, durable=durable)
        staging.forget(digest)
    else:
        if durable:
            files.sync_directory(target.parent)
    return True


def _copy(
    staging: Staging, blob: Descriptor, blobs: BlobDirectory, ingest_directory: Path, *, durable: bool
) -> None:
    buffer = new_buffer()
    with (
        ingest.begin(ingest_directory, blobs, blob, durable=durable) as writer,
        staging.blobs.open(blob.digest, writer.offset, blob.size) as reader,
    ):
        while count := reader.readinto(buffer):
            writer.write(buffer[:count])
        writer.commit()
