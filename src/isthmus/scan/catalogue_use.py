"""The catalogue that a scan uses: the package's, and what its caller added for the length of the scan.

Not here: the form of the files (`catalogue_file`).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from isthmus.scan.catalogue_file import Catalogue, load_catalogue

_current: ContextVar[Catalogue | None] = ContextVar("catalogue", default=None)


def catalogue() -> Catalogue:
    """The catalogue in use."""
    held = _current.get()
    if held is None:
        held = load_catalogue()
        _current.set(held)
    return held


@contextmanager
def using(paths: Iterable[str]) -> Iterator[Catalogue]:
    """Use the files at `paths` as well; raises UsageError (`invalid-config`, `file-not-found`)."""
    token = _current.set(load_catalogue(paths))
    try:
        yield catalogue()
    finally:
        _current.reset(token)
