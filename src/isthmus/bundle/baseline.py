"""What the site holds already and an update leaves out: from receipts when packing, from the store when unpacking.

Not here: receipts themselves (`receipt`), and how the manifest writes it down (`manifest`).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.bundle.manifest import Baseline, Blob, BundleManifest, Run
from isthmus.errors import IsthmusError, VerificationError
from isthmus.store import Staging, Store


@dataclass(frozen=True, slots=True)
class Held:
    """The blobs that every site has, with their sizes."""

    blobs: frozenset[Blob]

    def baseline(self, wanted: Sequence[Blob]) -> Baseline:
        """How the manifest names what is left out of the wanted blobs."""
        lines = "".join(f"{digest}\n" for digest in sorted(blob.digest for blob in self.blobs))
        return Baseline(hashlib.sha256(lines.encode()).hexdigest(), runs_of(self._found(wanted)))

    def _found(self, wanted: Sequence[Blob]) -> Iterable[int]:
        return (number for number, blob in enumerate(wanted) if blob in self.blobs)


def held_by_all(receipts: Iterable[Iterable[Blob]]) -> Held:
    """What the sites whose receipts' `blobs` these are have in common."""
    sets = [frozenset(blobs) for blobs in receipts]
    return Held(sets[0].intersection(*sets[1:]) if sets else frozenset())


def runs_of(numbers: Iterable[int]) -> tuple[Run, ...]:
    """Ascending numbers as runs."""
    runs: list[Run] = []
    for number in numbers:
        if runs and number == runs[-1].first + runs[-1].length:
            runs[-1] = Run(runs[-1].first, runs[-1].length + 1)
        else:
            runs.append(Run(number, 1))
    return tuple(runs)


def require_held(manifest: BundleManifest, store: Store | None, where: Path, *, hashed: bool = False) -> None:
    """See that the store has the baseline, with `hashed` byte for byte.

    Raises VerificationError `baseline-missing`, whose items are a document for each blob that does not hold.
    """
    lacking = {
        number: why for number in sorted(manifest.held()) if (why := _wrong(manifest.blobs[number], store, hashed))
    }
    if not lacking:
        return
    items = [
        {
            "digest": str(manifest.blobs[number].digest),
            "size": manifest.blobs[number].size,
            "why": why,
            "references": list(manifest.affected([number])),
        }
        for number, why in lacking.items()
    ]
    listed = ", ".join(f"{item['digest']} ({item['why']})" for item in items[:5])
    names = manifest.affected(lacking)
    raise VerificationError(
        "baseline-missing",
        f"this bundle is an update, and the store does not have {len(lacking)} blobs that it leaves out: {listed}"
        f"{' …' if len(lacking) > 5 else ''}; needed by {', '.join(names[:5])}{' …' if len(names) > 5 else ''}",
        where=str(where),
        hint="carry a fresh receipt of this store out (`isthmus receipt`) and pack again with `--since` it",
        items=items,
    )


def verify_reused(manifest: BundleManifest, store: Store | None, staging: Staging, where: Path) -> None:
    """Hash what the bundle carries, the store had before, and was therefore not staged.

    Raises VerificationError `damaged-store`, whose items are the digests that are damaged.
    """
    if store is None:
        return
    held = manifest.held()
    reused = [blob for number, blob in enumerate(manifest.blobs) if number not in held and not staging.have(*blob)]
    damaged = [str(blob.digest) for blob in reused if store.blob_size(blob.digest) and _wrong(blob, store, True)]
    if damaged:
        raise VerificationError(
            "damaged-store",
            f"{len(damaged)} blobs that the store had before are damaged there: {', '.join(damaged[:5])}",
            where=str(where),
            hint="remove them from the store and unpack again: the bundle carries them",
            items=damaged,
        )


def _wrong(blob: Blob, store: Store | None, hashed: bool) -> str:
    if store is None or (size := store.blob_size(blob.digest)) is None:
        return "missing"
    if size != blob.size:
        return f"has {size} bytes instead of {blob.size}"
    if hashed:
        try:
            store.verify_blob(blob.digest)
        except IsthmusError as error:
            if error.code == "io-failed":
                raise
            return "damaged"
    return ""
