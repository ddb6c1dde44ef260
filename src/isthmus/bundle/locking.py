"""Keeping a second process out of a directory while one works in it. Not here: the store's own locks."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus.bundle.medium import failed
from isthmus.errors import UsageError


@contextmanager
def exclusive(place: Path, busy: str, lock_file: str = "") -> Iterator[None]:
    """Make the directory and hold it, or a file in it, against other processes for as long as the context lasts.

    Raises UsageError `store-busy`, saying `busy`, where another has it; UnreachableError `io-failed`.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        if lock_file:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(place / lock_file, flags, 0o644)
        else:
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise failed(error, place) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError("store-busy", busy, where=str(place)) from error
        yield
    finally:
        os.close(descriptor)
