"""Plain files of a medium that nobody trusts, and the way to say no. Not here: what is in them."""

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

MAX_SMALL = 4 * 1024 * 1024


class Refused(Exception):  # noqa: N818  # it is what it says, and no fault
    """Why it ends, with the exit status of Isthmus: 2 usage, 3 incomplete, 4 verification, 5 outside."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def say(text: str) -> None:
    """A line for whoever started this."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def open_plain(path: Path) -> BinaryIO:
    """A plain file; nothing that would block, such as a pipe or a device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(2, f"{path}: not a plain file")
    return os.fdopen(descriptor, "rb")


def read_small(path: Path) -> bytes:
    """A small file, cut off where it is not."""
    with open_plain(path) as file:
        return file.read(MAX_SMALL)
