"""`release.json`: what crosses with a bundle, in the words of a security officer. Shapes alone.

Keys are only ever added. Not here: how they are filled (`release`), and how they are shown (`page`, `tables`).
"""

from typing import Final

import msgspec

FORMAT: Final = "isthmus-release"
VERSION: Final = 1


class Signed(msgspec.Struct, frozen=True):
    """A signature or attestation that crosses with an image. `result` is verified, failed, or unchecked.

    `key` is the given key that verified; `about` the digest that it names.
    """

    kind: str
    form: str
    about: str
    predicate: str = ""
    result: str = "unchecked"
    key: str = ""


class CarriedSbom(msgspec.Struct, frozen=True):
    """An SBOM that somebody attached: its format, the digest of its blob, and how many packages it names."""

    format: str
    digest: str
    packages: int


class Item(msgspec.Struct, frozen=True):
    """One thing that crosses. In bytes: `size` with everything it needs, `carried` what this bundle has of that.

    `needed_by` is the lock's evidence, `components` the sources in it. `change` is new, changed, renamed, same, or
    empty where there was nothing to compare with; `was` is the earlier digest, `was_name` the name if another.
    """

    kind: str
    name: str
    digest: str
    media_type: str
    size: int
    carried: int
    host: str
    platforms: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    title: str = ""
    source: str = ""
    components: tuple[str, ...] = ()
    needed_by: tuple[str, ...] = ()
    change: str = ""
    was: str = ""
    was_name: str = ""
    distribution: str = ""
    packages: int = 0
    sboms: tuple[CarriedSbom, ...] = ()
    signatures: tuple[Signed, ...] = ()
    notes: tuple[str, ...] = ()


class Removed(msgspec.Struct, frozen=True):
    """What crossed with the release before, and does not any more."""

    kind: str
    name: str
    digest: str


class Total(msgspec.Struct, frozen=True):
    """A sum; every blob counts once in `size` and `carried`, though several items may need it."""

    name: str
    items: int
    size: int
    carried: int


class Totals(msgspec.Struct, frozen=True):
    """Of everything, and by kind, by upstream host, and by component of the platform."""

    all: Total
    by_kind: tuple[Total, ...]
    by_host: tuple[Total, ...]
    by_component: tuple[Total, ...]


class Previous(msgspec.Struct, frozen=True):
    """What this release is compared with: an earlier one (its bundle, and the SHA-256 of its release.json).

    Or, with `kind` receipt, what the sites hold: `sha256` is over their common names and digests, a line each.
    """

    bundle: str
    sha256: str
    created: str | None = None
    kind: str = "release"


class File(msgspec.Struct, frozen=True):
    """A file that belongs to the release document: its size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str


class Licence(msgspec.Struct, frozen=True):
    """How many packages say that they are under a licence."""

    name: str
    packages: int


class Contents(msgspec.Struct, frozen=True):
    """What is inside of images. `mode` is none, carried or full; see docs/release-report.md."""

    mode: str
    packages: int = 0
    by_type: tuple[tuple[str, int], ...] = ()
    licences: tuple[Licence, ...] = ()
    without_licence: int = 0


class ApprovalField(msgspec.Struct, frozen=True):
    """Where the approval is: a file of its own, since it names this document by its digest."""

    file: str = "approval.json"
    how: str = "isthmus approve BUNDLE --sign KEY"


class Release(msgspec.Struct, frozen=True):
    """The whole document. `signers` are the ids of the keys that signed the bundle's manifest."""

    format: str
    version: int
    bundle: str
    name: str
    tool: str
    created: str | None
    sequence: int | None
    expires: str | None
    signers: tuple[str, ...]
    volumes: int
    update: bool
    previous: Previous | None
    totals: Totals
    contents: Contents
    items: tuple[Item, ...]
    removed: tuple[Removed, ...]
    files: tuple[File, ...]
    approval: ApprovalField = ApprovalField()
