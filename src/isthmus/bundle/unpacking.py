"""`unpack`: volumes → store, in any order, a few now and the rest later.

Verified blobs are kept beside the store, in `STORE.incoming/BUNDLE/`, until the whole bundle is there; then
they are moved into the store, and all references appear in one step. Until then the store is not touched at
all, whatever the volumes hold. Not here: reading one volume's records (`stage`).
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from isthmus.bundle.baseline import require_held, verify_reused
from isthmus.bundle.carried_lock import is_lock, locks_alone, take_lock
from isthmus.bundle.demands import NOTHING, Demands, check_approval, check_images
from isthmus.bundle.documents import keep_lock, publish_lock
from isthmus.bundle.history import ReceivedBundle, now, record_bundle
from isthmus.bundle.keys import PublicKey
from isthmus.bundle.layout import Kind
from isthmus.bundle.locking import exclusive
from isthmus.bundle.manifest import Blob, BundleManifest, bundle_id
from isthmus.bundle.medium import failed
from isthmus.bundle.mending import keep_parity, mend
from isthmus.bundle.overlap import Ring
from isthmus.bundle.planning import TOOL_PREFIX
from isthmus.bundle.policy import Gate, Policy, gate
from isthmus.bundle.problems import MissingVolume, Problem, error_for
from isthmus.bundle.stage import Stage, payload_bytes, stage_volumes
from isthmus.bundle.verifying import LANES
from isthmus.bundle.volume import Contents
from isthmus.bundle.volumeset import VolumeSet, gather
from isthmus.bundle.waiting import NotedProgress
from isthmus.errors import IncompleteError, UsageError
from isthmus.progress import Meter, Progress
from isthmus.store import Staging, Store, StoredReference
from isthmus.store.index import named_entry

_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class UnpackResult:
    """What is in the store now: the bundle's blobs and bytes, of which `reused` blobs were there before.

    `rebuilt` blobs were made whole by parity. `signed_by` is the given key that verified; `claimed_by` whose
    signatures are there, verified or not.
    `missing` is empty: an incomplete bundle is an error.
    """

    bundle: str
    blobs: int
    bytes: int
    reused: int
    rebuilt: int
    missing: tuple[str, ...]
    references: int
    signed_by: str | None
    claimed_by: tuple[str, ...]


def unpack(
    paths: Iterable[str | os.PathLike[str]],
    store_dir: str | os.PathLike[str],
    public_keys: Sequence[PublicKey] = (),
    progress: Progress | None = None,
    *,
    durable: bool = False,
    policy: Policy | None = None,
    allow_older: bool = False,
    demands: Demands = NOTHING,
) -> UnpackResult:
    """Unpack volumes, or directories of volumes, of one bundle. Progress counts payload bytes.

    What the bundle does not carry is hashed in the store; what is not there, or damaged, is listed by
    VerificationError `baseline-missing`, before anything is staged where it is not there at all.

    With `public_keys`, every volume must be signed by one of them; with a `policy`, or one that was pinned by an
    earlier run, by as many as it asks for. `allow_older` lets an older sequence number pass. `demands` are
    approvals and signatures of images, without which nothing is taken. With
    `durable`, bytes reach the medium before they count.

    Raises VerificationError (`damaged-volume`, `foreign-volume`, `bad-signature`, `unsigned`, `older-bundle`,
    `expired-bundle`, `baseline-missing`, `not-approved`, `image-unsigned`) and IncompleteError
    (`missing-volume`), which name the volumes and references affected, UsageError (`file-not-found`,
    `invalid-input`, `store-busy`), UnreachableError `io-failed`. After any of them the store is as it was, and
    what was verified is not read again.
    """
    guard = gate(Path(store_dir), public_keys, policy, allow_older=allow_older)
    given = gather(paths, guard.keys)
    mendable = given.contents is not None and given.contents.manifest.parity is not None
    fatal = [problem for problem in given.problems if not mendable or problem.code != "damaged-volume"]
    error = error_for(fatal, ())
    if error is not None or given.contents is None:
        raise error or UsageError("file-not-found", "there is no volume in what was given")
    guard.admit(given.contents, (slot for volume in given.in_order for slot in volume.header.signatures))
    check_approval(demands, guard.policy, given.contents.raw, (volume.path for volume in given.in_order))
    with _staged(
        given.contents, Path(store_dir), progress, payload_bytes(given.in_order), durable=durable
    ) as stage:
        keep_lock((volume.path for volume in given.in_order), stage.manifest, stage.staging.path)
        damaged = [*given.problems, *stage_volumes(given.in_order, stage)]
        rebuilt = mend(given.contents, given.in_order, damaged, stage)
        if mendable and stage.lacking():
            keep_parity(given.in_order, stage)
        return _finish(given, damaged, stage, guard, demands, Path(store_dir), rebuilt, durable=durable)


def unpack_stream(
    source: BinaryIO,
    store_dir: str | os.PathLike[str],
    public_keys: Sequence[PublicKey] = (),
    progress: Progress | None = None,
    *,
    durable: bool = False,
    policy: Policy | None = None,
    allow_older: bool = False,
    demands: Demands = NOTHING,
) -> UnpackResult:
    """Unpack volumes that come one after the other from a pipe or a tape, as `unpack` does.

    Raises VerificationError also where the stream cannot be followed any more.
    """
    from isthmus.bundle.streaming import read_stream, start_stream

    guard = gate(Path(store_dir), public_keys, policy, allow_older=allow_older)
    file, first, known = start_stream(source, "-", guard.keys)
    guard.admit(first.contents, first.header.signatures)
    check_approval(demands, guard.policy, first.contents.raw)
    total = first.manifest.total_bytes()
    with _staged(first.contents, Path(store_dir), progress, total, durable=durable) as stage:
        given, damaged = read_stream(file, first, guard.keys, known, stage.take_from_stream)
        rebuilt = mend(first.contents, (), (), stage)
        return _finish(given, damaged, stage, guard, demands, Path(store_dir), rebuilt, durable=durable)


@contextmanager
def _staged(
    contents: Contents, store_path: Path, progress: Progress | None, total: int, *, durable: bool
) -> Iterator[Stage]:
    """A locked staging directory for a bundle that the store would take."""
    manifest = contents.manifest
    for reference in names_in(manifest):
        named_entry(reference)  # whatever the store would refuse must be refused before it is touched
    place = staging_directory(store_path, bundle_id(contents.raw).hex())
    with _held(store_path) as held:
        require_held(manifest, held, store_path)
        with exclusive(place, "another process unpacks this bundle into this store", _LOCK), Ring(LANES) as ring:
            noted = NotedProgress(place, manifest.name, manifest.total_bytes(), progress)
            yield Stage(Staging(place, durable=durable), held, manifest, Meter(total, noted), ring)
    if not place.exists():
        with suppress(OSError):
            place.parent.rmdir()


def _finish(
    given: VolumeSet,
    damaged: Sequence[Problem],
    stage: Stage,
    guard: Gate,
    demands: Demands,
    store_path: Path,
    rebuilt: int,
    *,
    durable: bool,
) -> UnpackResult:
    """Publish what is staged, if that is everything."""
    manifest, place = stage.manifest, stage.staging.path
    lacking = stage.lacking()
    if manifest.parity is not None and not lacking:
        damaged = [problem for problem in damaged if problem.code != "damaged-volume"]  # that has been rebuilt
    elif manifest.parity is not None:
        damaged = [_narrowed(problem, manifest.affected(lacking)) for problem in damaged]
    error = error_for(damaged, _still_needed(given, manifest, lacking))
    if error is not None:
        raise error
    if lacking:
        raise _read_again(manifest, lacking, place)
    with _held(store_path) as store:
        require_held(manifest, store, store_path, hashed=True)
        verify_reused(manifest, store, stage.staging, store_path)
    check_images(demands, stage, guard.policy)
    take_lock(stage)
    assert given.contents is not None
    guard.record(given.contents, verified=given.signed_by is not None)
    moved, kept = _publish(store_path, manifest, stage.staging, durable=durable)
    result = UnpackResult(
        bundle=place.name,
        blobs=len(kept),
        bytes=sum(blob.size for blob in kept),
        reused=len(kept) - moved,
        rebuilt=rebuilt,
        missing=(),
        references=len(names_in(manifest)),
        signed_by=given.signed_by,
        claimed_by=given.claimed_by,
    )
    publish_lock(place, store_path, place.name)
    record_bundle(store_path, _received(result, manifest))
    shutil.rmtree(place, ignore_errors=True)
    return result


def _narrowed(problem: Problem, lost: Sequence[str]) -> Problem:
    """The problem with the references alone that parity does not make whole."""
    return replace(problem, references=tuple(name for name in problem.references if name in lost))


def _received(result: UnpackResult, manifest: BundleManifest) -> ReceivedBundle:
    return ReceivedBundle(
        bundle=result.bundle,
        name=manifest.name,
        at=now(),
        blobs=result.blobs,
        bytes=result.bytes,
        references=result.references,
        volumes=len(manifest.volumes),
        reused=result.reused,
        rebuilt=result.rebuilt,
        sequence=manifest.sequence,
        created=manifest.created,
        expires=manifest.expires,
        signed_by=result.signed_by,
        claimed_by=result.claimed_by,
    )


def staging_directory(store: Path, bundle: str) -> Path:
    """Where a bundle waits for its last volume: beside the store if that is on the same file system.

    Inside the store, in `incoming/`, where the store is the root of its file system or its parent cannot be
    written to.
    """
    place = Path(os.path.abspath(store))
    beside = place.with_name(f"{place.name}.incoming")
    try:
        outside = not place.exists() or place.stat().st_dev == place.parent.stat().st_dev
    except OSError as error:
        raise failed(error, store) from error
    writable = beside.exists() or not place.parent.exists() or os.access(place.parent, os.W_OK | os.X_OK)
    return (beside if outside and writable else place / "incoming") / bundle


def names_in(manifest: BundleManifest) -> list[StoredReference]:
    """The manifest's references as the store keeps them; the lock is none of them."""
    return [
        StoredReference(reference.name, reference.descriptor)
        for reference in manifest.references
        if not is_lock(reference)
    ]


@contextmanager
def _held(path: Path) -> Iterator[Store | None]:
    """The store, if there is one already; opening it writes nothing."""
    try:
        store = Store.open(path)
    except UsageError as error:
        if error.code != "store-not-found":
            raise
        yield None
    else:
        with store:
            yield store


def _still_needed(given: VolumeSet, manifest: BundleManifest, lacking: set[int]) -> list[MissingVolume]:
    """The volumes that were not given and hold something that is not here yet."""
    result = []
    for missing in given.missing:
        records = manifest.volumes[missing.volume - 1].records
        needed = lacking & {record.blob for record in records if record.kind == Kind.BLOB}
        if needed:
            result.append(MissingVolume(missing.volume, missing.file, missing.size, manifest.affected(needed)))
    return result


def _read_again(manifest: BundleManifest, lost: set[int], place: Path) -> IncompleteError:
    return IncompleteError(
        "missing-content",
        f"{len(lost)} blobs that were staged earlier are no longer what they were",
        where=str(place),
        hint="run it again with all volumes",
        items=manifest.affected(lost),
    )


def _publish(
    store_path: Path, manifest: BundleManifest, staging: Staging, *, durable: bool
) -> tuple[int, list[Blob]]:
    """Move everything into the store and name it; how many blobs moved, of which. A crash is made good."""
    alone = locks_alone(manifest)
    kept = [blob for number, blob in enumerate(manifest.blobs) if number not in alone]
    with Store.create(store_path, durable=durable) as store:
        moved = store.adopt(staging, [blob.digest for blob in kept])
        for blob in kept:
            if store.blob_size(blob.digest) != blob.size:
                raise IncompleteError(
                    "missing-content",
                    f"{blob.digest} went from the store meanwhile; run it again",
                    where=str(store_path),
                )
        names = names_in(manifest)
        store.set_references(names, remove=_older_tools(store, names))
    return moved, kept


def _older_tools(store: Store, names: Sequence[StoredReference]) -> list[str]:
    """The versions of Isthmus that the store has by name, where the bundle brings another."""
    carried = {reference.name for reference in names if reference.name.startswith(TOOL_PREFIX)}
    held = (reference.name for reference in store.references() if reference.name.startswith(TOOL_PREFIX))
    return [name for name in held if carried and name not in carried]
