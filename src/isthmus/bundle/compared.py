"""Whether the plain files beside the volumes are those that were packed, by the digests in the manifest.

Not here: what is in them (`companions`).
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from isthmus.bundle.manifest import BundleManifest
from isthmus.bundle.medium import open_regular
from isthmus.bundle.problems import Problem
from isthmus.bundle.volume import KnownContents, inspect
from isthmus.bundle.volumeset import list_volumes
from isthmus.errors import IsthmusError
from isthmus.oci.content import new_buffer


def changed_beside(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The files beside intact volumes that are not what was packed, by path. Raises as `verify` does."""
    volumes = [inspected.volume for inspected in (inspect(path, KnownContents()) for path in list_volumes(paths))]
    return [
        problem.file
        for volume in volumes[:1]
        if volume
        for problem in check_beside([volume.path], volume.manifest)
    ]


def check_beside(volumes: Iterable[Path], manifest: BundleManifest) -> list[Problem]:
    """The files beside these volumes that are not what was packed; those that are not there are no problem."""
    found = []
    for place in dict.fromkeys(volume.parent for volume in volumes):
        for file in manifest.beside:
            path = place / file.name
            if path.exists() and (why := _differs(path, file.digest.algorithm, file.digest.hex, file.size)):
                found.append(Problem(None, str(path), "damaged-volume", why, ()))
    return found


def _differs(path: Path, algorithm: str, expected: str, size: int) -> str:
    try:
        with open_regular(path) as file:
            digest, buffer = hashlib.new(algorithm), new_buffer()
            for position in range(0, file.size if file.size == size else 0, len(buffer)):
                digest.update(buffer[: file.into(buffer, position)])
    except IsthmusError as error:
        return error.message
    return "" if digest.hexdigest() == expected else "it is not the file that was packed; do not run or trust it"
