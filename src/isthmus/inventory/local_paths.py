"""Paths as people write them in files: relative to the file, or with a tilde.

Not here: checking that anything is there.
"""

import os


def under(directory: str, path: str) -> str:
    """`path` as seen from the working directory, where it was written in a file of `directory`."""
    if not path or path == "-":
        return path
    return os.path.join(directory, os.path.expanduser(path))
