"""Leases: what a running pull needs, though nothing names it yet, is not collected.

A lease is a file in `leases/` that lists digests and is locked by its process; one whose lock is free is
dead and is removed. A digest is listed before anyone relies on its blob being there, and the collector reads
the leases and removes blobs under one lock (`sweep.lock`), so that no digest slips in between.
"""

import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from isthmus.errors import UnreachableError, UsageError
from isthmus.oci import Digest
from isthmus.store import files

_NAME = re.compile(r"[0-9a-f]{16}\.lease")


class Lease:
    """Digests that this process relies on, until `close`. Nothing is written before the first one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._listed: set[Digest] = set()
        self._descriptor = -1
        self._path = directory

    def protect(self, digest: Digest) -> None:
        """Keep a blob from being collected, whether it is there already or comes later."""
        with self._lock:
            if digest in self._listed:
                return
            try:
                self._append(digest)
            except UnreachableError as error:
                if not files.is_read_only(error):
                    raise
            self._listed.add(digest)  # where nothing can be written, nothing can be collected either

    def _append(self, digest: Digest) -> None:
        if self._descriptor < 0:
            files.make_directory(self._directory)
            self._descriptor, self._path = _new_lease(self._directory)
        with files.locked(sweep_lock(self._directory), shared=True):
            files.write_all(self._descriptor, f"{digest}\n".encode(), self._path)

    def keep_only(self, wanted: Callable[[], Iterable[Digest]]) -> None:
        """Give up everything but what `wanted` answers, for a process that lives long.

        It is asked while no other thread can protect anything. The new list is complete before the old one
        goes, so that nothing is unprotected in between.
        """
        with self._lock:
            kept = set(wanted())
            old_descriptor, old_path = self._descriptor, self._path
            if old_descriptor < 0:
                return
            self._descriptor, self._path = _new_lease(self._directory)
            with files.locked(sweep_lock(self._directory), shared=True):
                files.write_all(self._descriptor, "".join(f"{d}\n" for d in sorted(kept)).encode(), self._path)
            self._listed = kept
            files.remove_if_there(old_path)
            os.close(old_descriptor)

    def close(self) -> None:
        """Give everything up."""
        with self._lock:
            if self._descriptor >= 0:
                files.remove_if_there(self._path)
                os.close(self._descriptor)
                self._descriptor = -1
            self._listed.clear()


def sweep_lock(directory: Path) -> Path:
    """The lock file that orders listing a digest and removing a blob."""
    return directory / "sweep.lock"


def _new_lease(directory: Path) -> tuple[int, Path]:
    while True:
        path = directory / f"{os.urandom(8).hex()}.lease"
        descriptor = files.open_for_writing(path, os.O_APPEND)
        if files.try_lock(descriptor, path):
            return descriptor, path
        os.close(descriptor)


def protected(directory: Path) -> set[Digest]:
    """What living leases list; dead ones are removed. The caller holds the sweep lock."""
    found: set[Digest] = set()
    try:
        names = [name for name in os.listdir(directory) if _NAME.fullmatch(name)]
    except FileNotFoundError:
        return found
    except OSError as error:
        raise files.io_failed(error, directory) from error
    for name in names:
        found |= _read(directory / name)
    return found


def _read(path: Path) -> set[Digest]:
    descriptor = files.open_for_reading(path)
    if descriptor is None:
        return set()
    with files.io_errors(path), os.fdopen(descriptor, "rb") as file:
        if files.try_lock(descriptor, path):
            files.remove_if_there(path)
            return set()
        found: set[Digest] = set()
        for line in file:
            try:
                found.add(Digest(line.decode("ascii", "replace").strip()))
            except UsageError:
                continue  # nobody of ours wrote that
        return found
