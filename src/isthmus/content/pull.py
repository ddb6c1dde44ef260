"""`pull_things`: the bytes that lock entries name, into the store, each verified while it is read.

Not here: which entries (the lock), and images (`transfer`).
"""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import msgspec

from isthmus.content import artifact
from isthmus.content.fetch import fetch_known
from isthmus.content.web import Web
from isthmus.errors import IncompleteError
from isthmus.inventory.lock import LockedContent, LockEntry
from isthmus.oci import Descriptor
from isthmus.oci.content import new_buffer
from isthmus.progress import Meter, Progress, silent
from isthmus.store import Store


class Pulled(msgspec.Struct, frozen=True):
    """Files that came and their bytes, files that were there, and the time that it took."""

    blobs: int = 0
    bytes: int = 0
    reused: int = 0
    seconds: float = 0.0


def pull_things(
    entries: Sequence[LockEntry],
    store: Store,
    web: Web,
    jobs: int = 4,
    progress: Progress = silent,
    other: Store | None = None,
) -> Pulled:
    """Bring everything that is not in a registry, and name it; from `other`, where that has it.

    Raises UnreachableError, VerificationError, and IncompleteError (`missing-content`) for what only the
    machine that made the lock has; what came before stays.
    """
    started = time.monotonic()
    wanted = [entry for entry in entries if not entry.in_registry]
    parts = {part.digest: (entry, part) for entry in wanted for part in entry.contents}
    absent = [pair for pair in parts.values() if store.blob_size(pair[1].digest) != pair[1].size]
    if other is not None:
        for _, part in absent:
            _copy(other, store, part)
        absent = [pair for pair in absent if store.blob_size(pair[1].digest) != pair[1].size]
    _refuse_lost(absent, store)
    meter = Meter(sum(part.size for _, part in absent), progress)

    def bring(pair: tuple[LockEntry, LockedContent]) -> bool:
        entry, part = pair
        return fetch_known(store, web, part.url, part.digest, part.size, meter, f"{entry.name} {part.path}")

    absent.sort(key=lambda pair: -pair[1].size)
    with ThreadPoolExecutor(max(1, jobs), thread_name_prefix="isthmus-pull") as pool:
        futures = [pool.submit(bring, pair) for pair in absent]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    artifact.name_all(store, [artifact.put(store, entry) for entry in wanted])
    return Pulled(
        blobs=len(absent),
        bytes=sum(part.size for _, part in absent),
        reused=len(parts) - len(absent),
        seconds=time.monotonic() - started,
    )


def _copy(other: Store, store: Store, part: LockedContent) -> None:
    blob = Descriptor(artifact.ANY_LAYER, part.digest, part.size)
    if other.blob_size(part.digest) != part.size:
        return
    with store.write_blob("", blob) as writer, other.open_blob("", blob, writer.offset) as reader:
        buffer = new_buffer()
        while count := reader.readinto(buffer):
            writer.write(buffer[:count])
        writer.commit()


def _refuse_lost(absent: Sequence[tuple[LockEntry, LockedContent]], store: Store) -> None:
    lost = sorted({entry.name for entry, part in absent if not part.url})
    if lost:
        raise IncompleteError(
            "missing-content",
            f"the store lacks parts of {len(lost)} things that were made when the lock was",
            where=str(store.path),
            items=lost,
            hint="run `isthmus lock` with this store: what git and indexes make is not the same bytes twice",
        )
