"""The lock that crosses beside the first volume, and its way into the site's store.

Its digest is in the signed manifest, so that it is as good as the rest. It is kept where the bundle waits for its
other volumes, and published with them: as `isthmus.lock` in the store, and among the reports under the bundle's
id, so that those of earlier bundles stay. Not here: release documents, which speak of a packed bundle.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from isthmus.bundle.beside import replace
from isthmus.bundle.fitting import Companions
from isthmus.bundle.manifest import BundleManifest
from isthmus.bundle.medium import io_errors, open_regular
from isthmus.errors import IsthmusError
from isthmus.oci import Digest

LOCK: Final = "isthmus.lock"
REPORTS: Final = "reports"
MAX_LOCK: Final = 64 * 1024 * 1024
"""Bytes of a lock that are read into memory."""


def with_lock(companions: Companions, raw: bytes, fits: Callable[[BundleManifest], bool]) -> Companions:
    """The companions, and the lock with them where it fits what the manifest carries."""

    def files(manifest: BundleManifest) -> Mapping[str, bytes]:
        found = companions(manifest)
        return {**found, LOCK: raw} if fits(manifest) else found

    return files


def keep_lock(volumes: Iterable[Path], manifest: BundleManifest, place: Path) -> None:
    """Copy the lock that lies beside one of these volumes; not one that is other than what was packed."""
    listed = next((file for file in manifest.beside if file.name == LOCK), None)
    if listed is None or listed.size > MAX_LOCK or (place / LOCK).exists():
        return
    for directory in dict.fromkeys(volume.parent for volume in volumes):
        try:
            with open_regular(directory / LOCK) as file:
                data = file.at(0, listed.size + 1)
        except IsthmusError:
            continue
        if Digest.of(data, listed.digest.algorithm) == listed.digest:
            replace(place / LOCK, data)
            return


def publish_lock(place: Path, store: Path, bundle: str) -> None:
    """Put the lock that was kept into the store, if one was. Raises `io-failed`."""
    if not (place / LOCK).exists():
        return
    with open_regular(place / LOCK) as file:
        data = file.at(0, MAX_LOCK)
    put_report(store, bundle, LOCK, data)
    replace(store / LOCK, data)


def put_report(store: Path, bundle: str, name: str, data: bytes) -> Path:
    """Keep a file of a bundle among the store's reports; where it is then. Raises `io-failed`."""
    path = report_path(store, bundle, name)
    with io_errors(path):
        path.parent.mkdir(exist_ok=True)
    replace(path, data)
    return path


def report_path(store: Path, bundle: str, name: str) -> Path:
    """Where a file of a bundle is among the store's reports, if it is there."""
    return store / REPORTS / f"{bundle[:16]}-{name}"
