"""A package as a database names it, and its package URL. Not here: any parsing."""

from typing import Final
from urllib.parse import quote

import msgspec

MAX_TEXT: Final = 500


class Package(msgspec.Struct, frozen=True, order=True):
    """`kind` is the type of package URLs: deb, apk, rpm, pypi, or another as an SBOM says it.

    `purl` is only set where an SBOM said it; `url` makes it otherwise.
    """

    kind: str
    name: str
    version: str
    arch: str = ""
    license: str = ""
    source: str = ""
    purl: str = ""

    def url(self, distribution: str = "") -> str:
        """The package URL (purl-spec); `distribution` is the ID of os-release, such as `debian`."""
        if self.purl:
            return self.purl
        namespace = f"{quote(distribution or _HOMES.get(self.kind, ''), safe='')}/" if self.kind in _HOMES else ""
        name = self.name.lower().replace("_", "-") if self.kind == "pypi" else self.name
        safe = ""
        if self.kind == "golang":
            name, safe = self.name.lower(), "/"
        arch = f"?arch={quote(self.arch, safe='')}" if self.arch else ""
        version = f"@{quote(self.version, safe='')}" if self.version else ""
        return f"pkg:{self.kind}/{namespace}{quote(name, safe=safe)}{version}{arch}"


_HOMES: Final = {"deb": "debian", "apk": "alpine", "rpm": "redhat"}


def text(value: str) -> str:
    """A field as it may be shown: one line, no control characters, not too long."""
    return "".join(c if c.isprintable() else " " for c in value).strip()[:MAX_TEXT]
