"""Reads the table of what kubeadm's versions choose: etcd, CoreDNS and pause, by version of Kubernetes.

The table says where it is from and how far it reaches; nothing is guessed beyond. Not here: references.
"""

import re
from importlib.resources import files

import msgspec

from isthmus.errors import UsageError
from isthmus.scan.yaml_reader import parse_all

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})\Z", re.ASCII)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The choices of the patch versions `first` to `last` of one minor version, both included."""

    minor: str
    first: int
    last: int
    etcd: str
    coredns: str
    pause: str


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rows, the file of Kubernetes' sources that they are from, and the versions that it was read at."""

    source: str
    checked: str
    rows: tuple[Row, ...]

    def find(self, version: str) -> tuple[str, Row]:
        """The version without its `v`, and its row; raises UsageError (`invalid-source`) beyond the table."""
        match = _VERSION.match(version)
        if match is None:
            raise UsageError("invalid-source", f"{version[:40]!r} is not a version of Kubernetes such as 1.33.6")
        major, minor, patch = match.groups()
        name = f"{major}.{minor}"
        for row in self.rows:
            if row.minor == name and row.first <= int(patch) <= row.last:
                return f"{name}.{patch}", row
        known = ", ".join(
            f"{row.minor}.{row.first}-{row.minor}.{row.last}" for row in self.rows if row.minor == name
        )
        reach = f"of {name} it knows {known}" if known else f"it reaches from {self._ends}"
        raise UsageError(
            "invalid-source",
            f"the table of kubeadm's images does not know {version[:40]}: {reach}",
            hint="run `kubeadm config images list` with that version and give what it prints as images:FILE",
        )

    @property
    def _ends(self) -> str:
        first, last = self.rows[0], self.rows[-1]
        return f"{first.minor}.{first.first} to {last.minor}.{last.last}"


def load() -> Table:
    """The table of the package."""
    text = files(__package__).joinpath("versions.yaml").read_text(encoding="utf-8")
    (document,) = parse_all(text, "versions.yaml")
    return msgspec.convert(document, Table)
