"""Runs one command and writes what it cost to a file: python -I -S bench/launch.py RESULT COMMAND [ARGUMENT…].

Alone in a small process, because the kernel counts the memory of the process that starts a command as the
command's own until it begins. Not here: what to run, and what the numbers mean (`measure`).
"""

import os
import sys
import time


def main() -> int:
    """Exit with the command's status; 128 and its number for a signal."""
    result, command = sys.argv[1], sys.argv[2:]
    start = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    with open(result, "w", encoding="ascii") as stream:
        stream.write(f"{wall!r} {usage.ru_utime!r} {usage.ru_stime!r} {usage.ru_maxrss * 1024}\n")
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
