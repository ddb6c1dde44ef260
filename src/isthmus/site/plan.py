"""What a part of the site's configuration is made from, and what it gives back. Only values.

A part is one module with a function `configure(site: Site) -> Part`; `parts` has the table of them. Not here:
reading isthmus.yaml and the lock (`cli`), and writing files (`output`).
"""

from dataclasses import dataclass
from functools import cached_property

from isthmus.inventory.config import Config
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.inventory.model import Endpoint
from isthmus.oci import Reference
from isthmus.site.output import OutputFile

OCI_KINDS = ("image", "artifact")


@dataclass(frozen=True, order=True)
class Decision:
    """Something that a person must decide or give: which key, where it is written, why, and what to write."""

    key: str
    why: str
    hint: str = ""
    file: str = "isthmus.yaml"
    part: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.why}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True)
class Part:
    """What one part gives: files, with paths below the output directory; open decisions; lines for people.

    A file whose path ends in `.sh` is made executable; one that is `secret` is readable by its owner only.
    """

    files: tuple[OutputFile, ...] = ()
    decisions: tuple[Decision, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """All that a part may look at.

    `registry` is the site's, as `https://host[:port]`; `ca_path` is where nodes have the site's CA and
    `ca` is that certificate (PEM) where it is known; `skip_verify` means that nodes do not verify.
    `base` is the directory that isthmus.yaml is in, which relative sources count from; `endpoints` are those of
    the platform with their decisions, where an inventory is known.
    """

    config: Config
    registry: str
    mapping: MirrorMap
    entries: tuple[LockEntry, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    ca_path: str = ""
    ca: bytes | None = None
    skip_verify: bool = False
    base: str = ""

    @property
    def registry_host(self) -> str:
        """The registry as references write it: host, with the port where there is one."""
        return self.registry.partition("://")[2]

    @property
    def is_plain(self) -> bool:
        """Whether the registry speaks HTTP without TLS."""
        return self.registry.startswith("http://")

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """Everything of the lock that lives in a registry."""
        return tuple(Reference.parse(entry.name) for entry in self.entries if entry.kind in OCI_KINDS)

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """Every upstream host that the platform pulls from, sorted; docker.io is always among them."""
        return tuple(sorted({reference.host for reference in self.references} | {"docker.io"}))

    @property
    def files_url(self) -> str:
        """The file server as `scheme://host:port`, or nothing where isthmus.yaml names none."""
        section = self.config.site.files
        if not section.host:
            return ""
        usual = {"http": 80, "https": 443}[section.scheme]
        port = "" if section.port == usual else f":{section.port}"
        return f"{section.scheme}://{section.host}{port}"

    def inside(self, reference: Reference) -> str:
        """The full name of a reference in the site's registry, tag and digest kept."""
        tag = f":{reference.tag}" if reference.tag else ""
        digest = f"@{reference.digest}" if reference.digest else ""
        return f"{self.registry_host}/{self.mapping.repository(reference)}{tag}{digest}"
