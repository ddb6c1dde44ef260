"""Brings the images of archives into a store, under their names and, where it can be had, the lock's digest.

An archive's headers and documents are read first and everything is decided on them; layers are then read
once, verified while they are written. Not here: the files' formats (`images`, `tar`).
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from isthmus.inventory.lock import LockEntry
from isthmus.oci import Descriptor, Digest, Manifest, Platform, Reference
from isthmus.oci.content import new_buffer
from isthmus.progress import Meter, Progress, silent
from isthmus.store import Store, StoredReference
from isthmus.transfer import CopyItem, CopyResult, copy
from isthmus.transfer.archive.choosing import Choice, choose
from isthmus.transfer.archive.content import Content
from isthmus.transfer.archive.images import read_images
from isthmus.transfer.archive.opening import Stream
from isthmus.transfer.archive.survey import Survey, surveyed


class BroughtImage(msgspec.Struct, frozen=True):
    """An image of an archive: `restored` where it has the digest of the lock, which `locked` is.

    With a `problem` it was not brought. `missing` lists what the lock or the options ask for and is not there.
    """

    name: str
    digest: Digest
    restored: bool
    locked: Digest | None = None
    problem: str = ""
    missing: tuple[str, ...] = ()


class BroughtArchive(msgspec.Struct, frozen=True):
    """An archive and what was in it."""

    file: str
    images: tuple[BroughtImage, ...]


class Brought(msgspec.Struct, frozen=True):
    """What all archives brought; `accepted` are the lock's entries with another digest than before."""

    archives: tuple[BroughtArchive, ...]
    blobs: int
    bytes: int
    reused: int
    seconds: float
    accepted: tuple[LockEntry, ...] = ()
    skipped_foreign: tuple[Descriptor, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether everything was brought, and nothing that the lock asks for is missing."""
        return not any(image.problem or image.missing for archive in self.archives for image in archive.images)


class _Moved(msgspec.Struct, frozen=True):
    blobs: int = 0
    bytes: int = 0
    reused: int = 0
    skipped_foreign: tuple[Descriptor, ...] = ()


def bring(
    paths: Sequence[Path],
    store: Store,
    entries: Sequence[LockEntry] = (),
    platforms: Sequence[Platform] = (),
    *,
    accept_new_digest: bool = False,
    skip_foreign: bool = False,
    dry_run: bool = False,
    jobs: int = 4,
    progress: Progress = silent,
) -> Brought:
    """Bring the images of docker-archives or OCI archives, plain, gzip or zstd, into the store.

    `entries` are the lock's; an image that it knows comes with its digest, or, if the archive cannot give
    that, only with `accept_new_digest`. `platforms` are the wanted ones; none means all. `skip_foreign` is as
    for `transfer.pull`. Raises UsageError
    (`invalid-input`, `file-not-found`…), VerificationError, IncompleteError (`missing-content`),
    UnreachableError (`io-failed`); what was brought before stays.
    """
    started = time.monotonic()
    known = [entry for entry in entries if entry.in_registry]
    archives, moved, accepted = [], [], []
    for path in paths:
        with surveyed(path) as survey:
            content = Content(survey, store)
            images = read_images(survey, content, store)
            choices = [
                choice
                for image in images.images
                for choice in choose(image, content, known, platforms, accept_new_digest)
            ]
            archives.append(BroughtArchive(str(path), tuple(_told(choice) for choice in choices)))
            good = [choice for choice in choices if not choice.problem]
            if not dry_run:
                move = partial(copy, sink=store, jobs=jobs, progress=progress, skip_foreign=skip_foreign)
                moved.append(_copy(good, images.referrers, survey, content, store, move, progress))
            accepted += [choice.accepted for choice in good if choice.accepted]
    return Brought(
        archives=tuple(archives),
        blobs=sum(part.blobs for part in moved),
        bytes=sum(part.bytes for part in moved),
        reused=sum(part.reused for part in moved),
        seconds=time.monotonic() - started,
        accepted=tuple(accepted),
        skipped_foreign=tuple({blob.digest: blob for part in moved for blob in part.skipped_foreign}.values()),
    )


def _told(choice: Choice) -> BroughtImage:
    root = choice.assembly.root.digest
    return BroughtImage(choice.name, root, choice.restored, choice.locked, choice.problem, choice.missing)


def _copy(
    choices: Sequence[Choice],
    referrers: Sequence[Manifest],
    survey: Survey,
    content: Content,
    store: Store,
    move: Callable[[list[CopyItem]], CopyResult],
    progress: Progress,
) -> _Moved:
    """Blobs, then image manifests (by the engine), then indexes, then all names at once."""
    items: dict[Digest, CopyItem] = {}
    for choice in choices:
        repository = Reference.parse(choice.name).repository
        wanted = [*choice.assembly.leaves, *_referrers(choice, referrers, content)]
        for manifest in wanted:
            items.setdefault(
                manifest.digest, CopyItem(choice.name, content, repository, repository, manifest.digest)
            )
    blobs = {blob.digest: blob for digest in items for blob in content.manifest("", digest).blobs}
    unpacked = _unpack(survey, store, blobs, progress) if survey.is_packed else _Moved()
    result = move(list(items.values()))
    for choice in choices:
        repository = Reference.parse(choice.name).repository
        for index in choice.assembly.indexes:
            store.put_manifest(repository, index)
    store.set_references(StoredReference(choice.name, choice.assembly.root.descriptor()) for choice in choices)
    return _Moved(
        blobs=unpacked.blobs + result.blobs,
        bytes=unpacked.bytes + result.bytes,
        reused=result.skipped - unpacked.blobs,
        skipped_foreign=result.skipped_foreign,
    )


def _referrers(choice: Choice, found: Sequence[Manifest], content: Content) -> list[Manifest]:
    """What the lock or the archive attaches to a choice, and what is attached to that."""
    known = {manifest.digest for manifest in (*choice.assembly.leaves, *choice.assembly.indexes)}
    wanted = {digest: content.manifest("", digest) for digest in choice.referrers}
    for _ in found:
        known |= wanted.keys()
        more = [m for m in found if m.subject and m.subject.digest in known and m.digest not in known]
        if not more:
            break
        wanted.update({manifest.digest: manifest for manifest in more})
    return [manifest for manifest in wanted.values() if content.is_whole(manifest) and not manifest.is_index]


def _unpack(survey: Survey, store: Store, blobs: dict[Digest, Descriptor], progress: Progress) -> _Moved:
    """A compressed archive can only be read from front to back, so its blobs go into the store in that order."""
    lacking = {digest for digest, blob in blobs.items() if not store.has_blob("", blob)}
    meter = Meter(sum(blobs[digest].size for digest in lacking), progress)
    count = total = 0
    buffer = new_buffer()
    for digest, stream in survey.in_order(lacking) if lacking else ():
        total += _write(stream, store, blobs[digest], buffer, meter)
        count += 1
    return _Moved(count, total)


def _write(stream: Stream, store: Store, blob: Descriptor, buffer: memoryview, meter: Meter) -> int:
    with store.write_blob("", blob) as writer:
        stream.skip(writer.offset)  # what an interrupted run left is there, and was hashed again
        left = moved = blob.size - writer.offset
        meter.add(writer.offset, "")
        while left:
            got = stream.readinto(buffer[: min(left, len(buffer))])
            if not got:
                break
            writer.write(buffer[:got])
            left -= got
            meter.add(got, str(blob.digest))
        writer.commit()
    return moved
