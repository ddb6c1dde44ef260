"""Reads blobs again and hashes them, not again for each thing that needs one. Not here: what to hash."""

import hashlib
import threading

from isthmus.errors import UnreachableError
from isthmus.oci import Descriptor, Digest
from isthmus.oci.content import Source, new_buffer


class Hashed:
    """What was hashed so far, of one registry or store; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Digest, str] = {}

    def complaint(self, source: Source, repository: str, blob: Descriptor) -> str:
        """What is wrong with the blob's bytes, or nothing. Raises what the source raises, but for `not-found`."""
        with self._lock:
            known = self._known.get(blob.digest)
        if known is None:
            known = _complaint(source, repository, blob)
            with self._lock:
                self._known[blob.digest] = known
        return known


def _complaint(source: Source, repository: str, blob: Descriptor) -> str:
    hasher, count = hashlib.new(blob.digest.algorithm), 0
    buffer = new_buffer()
    try:
        with source.open_blob(repository, blob) as body:
            while read := body.readinto(buffer):
                hasher.update(buffer[:read])
                count += read
                if count > blob.size:
                    return f"has more than its {blob.size} bytes"
    except UnreachableError as error:
        if error.code == "not-found":
            return "is not there"
        raise
    if count != blob.size:
        return f"has {count} bytes instead of {blob.size}"
    found = f"{blob.digest.algorithm}:{hasher.hexdigest()}"
    return "" if found == blob.digest else f"is damaged: its bytes have the digest {found}"
