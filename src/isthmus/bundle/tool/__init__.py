"""Isthmus itself, carried with what it brings: its wheels as an artifact in the bundle, and a script beside it.

At the site, `python3 bootstrap.py --key PUB` verifies and installs it where there is nothing but Python. Not here:
what is carried for the platform.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from isthmus.bundle.tool.artifact import CarriedTool, store_tool, stored_tool
from isthmus.bundle.tool.own import own_wheel
from isthmus.bundle.tool.script import bootstrap_digest, bootstrap_script
from isthmus.bundle.tool.targets import Target
from isthmus.bundle.tool.wheels import cached_wheels, given_wheels
from isthmus.store import Store

__all__ = ["EXTRAS", "CarriedTool", "Target", "bootstrap_digest", "bootstrap_script", "carry_tool", "held_tool"]

EXTRAS: Final = ("age", "parity", "qr")
"""Of Isthmus, what a site needs: to decrypt, to rebuild quickly, and to write receipts on paper."""


def carry_tool(
    store: Store,
    targets: Iterable[Target],
    cache: Path,
    given: Path | None = None,
    extras: Sequence[str] = EXTRAS,
    *,
    fetch: bool = True,
) -> CarriedTool:
    """Have Isthmus in the store for these targets, ready to be carried; what is there already is not fetched.

    Wheels come from the directory that is `given`, else through pip into the cache; without `fetch`, from the
    cache alone. Raises UnreachableError `no-tool` where they cannot be had, and whatever the store raises.
    """
    own, wanted = own_wheel(), tuple(sorted(set(targets)))
    if given is None and (held := stored_tool(store, own, wanted)) is not None:
        return held
    if given is not None:
        return store_tool(store, own, given_wheels(own, extras, wanted, given))
    return store_tool(store, own, cached_wheels(own, extras, wanted, cache, fetch=fetch))


def held_tool(store: Store, targets: Iterable[Target]) -> CarriedTool | None:
    """The tool that `carry_tool` would give without fetching or writing anything, if there is one."""
    return stored_tool(store, own_wheel(), tuple(sorted(set(targets))))
