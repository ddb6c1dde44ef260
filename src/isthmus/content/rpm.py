"""Packages of RPM repositories: not carried yet; said clearly instead of half done."""

from isthmus.content.web import Web
from isthmus.errors import UsageError
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.model import Ref
from isthmus.inventory.thing_config import PackagesSection
from isthmus.store import Store


def lock_rpm(
    ref: Ref, packages: PackagesSection, serve: str, store: Store, web: Web, max_age: int = 0
) -> LockEntry:
    """Raises UsageError (`wrong-usage`)."""
    del packages, serve, store, web, max_age
    raise UsageError(
        "wrong-usage", "RPM repositories cannot be carried yet", where=ref.name,
        hint="add the packages as files (platform.add, file:) and run createrepo_c inside",
    )  # fmt: skip
