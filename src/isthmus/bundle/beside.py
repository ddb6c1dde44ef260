"""What lies beside the volumes: the manifest for people, its signature, and checksums for `sha256sum -c`.

Also whether a directory may be packed into at all. Nothing here is needed to unpack.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from isthmus.bundle.fitting import BundlePlan
from isthmus.bundle.keys import SigningKey
from isthmus.bundle.layout import HEADER_SIZE, parse_header
from isthmus.bundle.manifest import MANIFEST_FILE, MAX_MANIFEST, SIGNATURE_FILE, bundle_id
from isthmus.bundle.medium import io_errors, open_regular
from isthmus.bundle.shape import Shape
from isthmus.errors import IsthmusError, UsageError, VerificationError
from isthmus.store.files import sync_directory

if TYPE_CHECKING:
    from isthmus.bundle.volume import Contents

MANIFEST: Final = MANIFEST_FILE
SIGNATURE: Final = SIGNATURE_FILE
CHECKSUMS: Final = "SHA256SUMS"
SUFFIX: Final = ".isv"


def check_directory(place: Path, shapes: Sequence[Shape], leave_out: str = "") -> None:
    """Raise UsageError (`file-exists`) where the directory holds volumes that are not of this very bundle.

    The file to `leave_out` may be anything: it will be written anew.
    """
    expected = {shape.file_name: shape for shape in shapes}
    raw = shapes[0].plan.raw
    with io_errors(place):
        there = sorted(place.glob(f"*{SUFFIX}"))
    for path in there:
        if path.name == leave_out:
            continue
        with open_regular(path) as file:
            head = file.at(0, HEADER_SIZE)
        shape = expected.get(path.name)
        if shape is None or head != shape.header:
            raise _occupied(path, _what_is_wrong(head, bundle_id(raw)))
    manifest = place / MANIFEST
    if manifest.exists():
        with open_regular(manifest) as file:
            if file.at(0, MAX_MANIFEST + 1) != raw:
                raise _occupied(manifest, "it is that of another bundle")


def _what_is_wrong(head: bytes, bundle: bytes) -> str:
    try:
        header = parse_header(head)
    except VerificationError:
        return "it is not an intact volume of this bundle"
    return "it belongs to another bundle" if header.bundle != bundle else "it is signed otherwise, or not at all"


def _occupied(path: Path, why: str) -> UsageError:
    return UsageError(
        "file-exists", why, where=str(path), hint="pack into an empty directory, or remove what is not wanted"
    )


def write_companions(
    place: Path, plan: BundlePlan, keys: Sequence[SigningKey], volumes: Mapping[str, str], *, durable: bool
) -> None:
    """Write the files beside the volumes, `SHA256SUMS` last; `volumes` gives each file's SHA-256."""
    files = {**plan.files, MANIFEST: plan.raw}
    if keys:
        files[SIGNATURE] = keys[0].sign(plan.raw).value
    sums = {**volumes, **{name: hashlib.sha256(data).hexdigest() for name, data in files.items()}}
    files[CHECKSUMS] = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    for name, data in files.items():
        replace(place / name, data, durable=durable)
    with io_errors(place):
        for path in place.glob(f"{plan.manifest.name}-*{SUFFIX}.partial"):
            path.unlink(missing_ok=True)  # of an earlier plan that had more volumes
    if durable:
        sync_directory(place)


def write_beside(place: Path, files: Mapping[str, bytes]) -> None:
    """Write more files beside the volumes, and their checksums into `SHA256SUMS`; nothing else of it changes."""
    for name, data in files.items():
        replace(place / name, data)
    sums = place / CHECKSUMS
    if sums.exists():
        with io_errors(sums):
            lines = sums.read_text("utf-8").splitlines()
        kept = {line[66:]: line for line in lines if len(line) > 66}
        kept.update({name: f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in files.items()})
        replace(sums, "".join(f"{kept[name]}\n" for name in sorted(kept)).encode())


def replace(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Put a small file in place in one step, if `durable` on the medium as well; raises `io-failed`."""
    temporary = path.with_name(f".{path.name}.partial")
    with io_errors(path):
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.rename(temporary, path)


def manifest_beside(volume: Path) -> "Contents | None":
    """The `manifest.json` beside a volume, not verified: it may only help to name what is damaged."""
    from isthmus.bundle.volume import KnownContents  # not for `pack`, which only writes

    try:
        with open_regular(volume.parent / MANIFEST) as file:
            return KnownContents().decode(file.at(0, MAX_MANIFEST + 1))
    except IsthmusError:
        return None
