"""Runs a program with limits on memory, processor time and files: `limited.py BYTES SECONDS PROGRAM ARGUMENT…`.

A file that a child interpreter runs by its path, so it needs nothing but the standard library. It exists
because limits cannot be set between fork and exec safely where other threads run.
"""

import os
import resource
import sys

FILE_LIMIT = 256 << 20
"""Bytes of a file that the program may write."""


def main(arguments: list[str]) -> None:
    """Limit this process, then become the program."""
    memory, seconds = int(arguments[0]), int(arguments[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execvp(arguments[2], arguments[2:])  # noqa: S606 - a shell is not wanted


if __name__ == "__main__":
    main(sys.argv[1:])
