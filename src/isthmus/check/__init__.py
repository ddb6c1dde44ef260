"""Proof that everything in a lock is there: in a site's registry, or in a store. Reads only."""

from isthmus.check.registry import check
from isthmus.check.result import CheckResult, Finding
from isthmus.check.store import check_store

__all__ = ["CheckResult", "Finding", "check", "check_store"]
