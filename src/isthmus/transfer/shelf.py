"""Manifests that a run has fetched: each is fetched once, and they do not fill the memory.

The raw bytes are in memory up to a bound and in a temporary file without a name beyond it. Not here: which
manifests are wanted (`tree`).
"""

import io
import threading
from collections.abc import Callable
from typing import BinaryIO

from isthmus.errors import IncompleteError, UnreachableError
from isthmus.oci import Digest, Manifest, parse_manifest

IN_MEMORY = 32 * 1024 * 1024
"""Bytes of manifests that are kept in memory."""

Known = Callable[[Digest], Manifest | None]


class Shelf:
    """Keeps manifests by digest; safe for threads. Close it to give the memory or the file back."""

    def __init__(self) -> None:
        self._file: BinaryIO = io.BytesIO()
        self._places: dict[Digest, tuple[int, int, str]] = {}
        self._end = 0
        self._lock = threading.Lock()

    def put(self, manifest: Manifest) -> None:
        """Keep a manifest; raises UnreachableError (`io-failed`) where the temporary file cannot grow."""
        with self._lock:
            if manifest.digest in self._places:
                return
            try:
                if isinstance(self._file, io.BytesIO) and self._end + len(manifest.raw) > IN_MEMORY:
                    self._file = _on_disk(self._file)
                self._file.seek(self._end)
                self._file.write(manifest.raw)
            except OSError as error:
                raise _failed(error) from error
            self._places[manifest.digest] = (self._end, len(manifest.raw), manifest.media_type)
            self._end += len(manifest.raw)

    def find(self, digest: Digest) -> Manifest | None:
        """The manifest, parsed again from its bytes, or None."""
        with self._lock:
            place = self._places.get(digest)
            if place is None:
                return None
            try:
                self._file.seek(place[0])
                raw = self._file.read(place[1])
            except OSError as error:
                raise _failed(error) from error
        return parse_manifest(raw, place[2], algorithm=digest.algorithm)

    def get(self, digest: Digest) -> Manifest:
        """As `find`, for one that must be there; raises IncompleteError (`not-found`)."""
        found = self.find(digest)
        if found is None:
            raise IncompleteError("not-found", f"{digest} was not fetched in this run")
        return found

    def close(self) -> None:
        """Forget everything."""
        self._file.close()


def _on_disk(held: io.BytesIO) -> BinaryIO:
    """A file without a name that has the same bytes."""
    import tempfile  # few runs have so many manifests, and it is slow to load

    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `Shelf.close`
    try:
        file.write(held.getbuffer())
    except BaseException:
        file.close()
        raise
    return file


def _failed(error: OSError) -> UnreachableError:
    return UnreachableError("io-failed", f"manifests cannot be kept in a temporary file: {error.strerror}")
