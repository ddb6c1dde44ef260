"""A Debian suite's Release file: what it lists, since when and until when it holds. Pure (repository format).

Not here: fetching and verifying it (`debian`).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from isthmus.content.naming import checked_path
from isthmus.errors import UsageError
from isthmus.oci import Digest

MAX_RELEASE = 16 << 20
ENDINGS = (".xz", ".gz", "")
"""Of the indexes that are carried, the first that is listed."""

_LISTED = re.compile(r" ([0-9a-f]{64})\s+([0-9]{1,15})\s+(\S{1,500})", re.ASCII)


class Listed(msgspec.Struct, frozen=True):
    """A file below `dists/SUITE/`."""

    path: str
    digest: Digest
    size: int


class Release(msgspec.Struct, frozen=True):
    """The fields that matter, and the files with their SHA-256."""

    fields: Mapping[str, str]
    files: Mapping[str, Listed]

    @property
    def date(self) -> datetime | None:
        """When it was made."""
        return _moment(self.fields.get("date", ""))

    @property
    def valid_until(self) -> datetime | None:
        """When apt no longer takes it; None for never."""
        return _moment(self.fields.get("valid-until", ""))

    @property
    def by_hash(self) -> bool:
        """Whether indexes are at names that never change as well."""
        return self.fields.get("acquire-by-hash", "").lower() == "yes"

    def index(self, component: str, architecture: str) -> Listed | None:
        """The list of packages in the form that is carried."""
        base = f"{component}/binary-{architecture}/Packages"
        return next((self.files[base + ending] for ending in ENDINGS if base + ending in self.files), None)

    def indexes(self, component: str, architecture: str) -> Iterator[Listed]:
        """Those that apt needs for an architecture: its own, and that of `all` where it is apart."""
        found = self.index(component, architecture)
        if found is not None:
            yield found
        apart = self.index(component, "all")
        if apart is not None and "packages" not in self.fields.get("no-support-for-architecture-all", "").lower():
            yield apart


def parse_release(data: bytes, where: str) -> Release:
    """Raises UsageError (`invalid-input`) for what is no Release file, or one without SHA-256."""
    fields: dict[str, str] = {}
    files: dict[str, Listed] = {}
    section = ""
    for line in data[:MAX_RELEASE].decode("utf-8", "replace").splitlines():
        if line.startswith(" "):
            match = _LISTED.fullmatch(line) if section == "sha256" else None
            if match:
                try:
                    files[match[3]] = Listed(checked_path(match[3]), Digest(f"sha256:{match[1]}"), int(match[2]))
                except UsageError:
                    continue  # a path that leads elsewhere is not asked for
            continue
        name, colon, value = line.partition(":")
        if colon:
            section = name.strip().lower()
            fields[section] = value.strip()
    if not files:
        raise UsageError("invalid-input", "it is not a Release file with SHA-256 checksums", where=where)
    return Release(fields, files)


def _moment(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
