"""What layers hold, remembered by their digest, so that each is read once in the life of a workspace.

A damaged or older entry is made again. Not here: reading a layer (`layer`).
"""

import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from isthmus.oci import Digest
from isthmus.progress import Progress
from isthmus.report.packages.layer import LayerFacts, read_layer

_VERSION: Final = "packages-2"
_WORKERS: Final = 2
"""Decompression releases Python's lock; more would take cores from whatever else runs."""


class LayerCache:
    """A directory of facts; None remembers nothing."""

    def __init__(self, place: Path | None) -> None:
        self._place = place / _VERSION if place else None

    def facts(self, layers: Mapping[Digest, Path], progress: Progress | None = None) -> dict[Digest, LayerFacts]:
        """The facts of all these layers, read where they are not remembered. Progress counts bytes."""
        result = {digest: known for digest in layers if (known := self._remembered(digest)) is not None}
        todo = {digest: path for digest, path in layers.items() if digest not in result}
        total, done = sum(_size(path) for path in todo.values()), 0
        with ThreadPoolExecutor(_WORKERS, "isthmus-packages") as pool:
            largest_first = sorted(todo, key=lambda digest: (-_size(todo[digest]), digest))
            running = {digest: pool.submit(read_layer, todo[digest]) for digest in largest_first}
            for digest, future in running.items():
                result[digest] = future.result()
                self._remember(digest, result[digest])
                done += _size(todo[digest])
                if progress:
                    progress(done, total, str(digest))
        return result

    def _remembered(self, digest: Digest) -> LayerFacts | None:
        if self._place is None:
            return None
        try:
            return msgspec.json.decode((self._place / f"{digest.hex}.json").read_bytes(), type=LayerFacts)
        except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
            return None

    def _remember(self, digest: Digest, facts: LayerFacts) -> None:
        """A cache that cannot be written costs time, nothing else."""
        if self._place is None:
            return
        with suppress(OSError):
            self._place.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._place, prefix=".new-")
            with open(descriptor, "wb") as file:
                file.write(msgspec.json.encode(facts))
            os.rename(name, self._place / f"{digest.hex}.json")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
