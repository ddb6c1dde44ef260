"""The shapes of a platform's report, as its JSON has them. Keys are only ever added."""

from typing import Final, Literal

import msgspec

FORMAT: Final = "isthmus-report"
VERSION: Final = 1

State = Literal["present", "missing", "stale", "unknown"]
Change = Literal["", "new", "changed", "same"]


class Evidence(msgspec.Struct, frozen=True, order=True):
    """Where something was found: the source as the scan names it, the object in it, and the JSON path in that."""

    source: str
    object: str = ""
    path: str = ""

    @property
    def file(self) -> str:
        """The source's place without its kind and its query: a path, where it is one."""
        place = self.source.partition(":")[2] or self.source
        return place.partition("?")[0]


class Needed(msgspec.Struct, frozen=True):
    """One thing of the lock. `size` in bytes with all that it needs; `fresh_until` of what becomes stale.

    `reference` is its full name in a store.
    """

    kind: str
    name: str
    digest: str
    media_type: str
    size: int
    host: str
    platforms: tuple[str, ...]
    components: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    state: State = "unknown"
    why: tuple[str, ...] = ()
    change: Change = ""
    was: str = ""
    fresh_until: str = ""
    attached: int = 0
    files: int = 0
    serve: str = ""
    verified_by: tuple[str, ...] = ()
    reference: str = ""


class Group(msgspec.Struct, frozen=True):
    """A sum: how many things, their bytes (`carried`: of those that are there)."""

    name: str
    items: int
    size: int
    carried: int


class ApprovalSeen(msgspec.Struct, frozen=True):
    """Who approved a crossing; `result` is verified, unchecked, or why it does not count."""

    name: str
    time: str
    comment: str
    key: str
    result: str


class Crossing(msgspec.Struct, frozen=True):
    """One bundle: what it carried in bytes, when it was made and came in, by whom it was signed and approved.

    `new` and `changed` count things, as its release.json says.
    """

    bundle: str
    name: str
    sequence: int | None = None
    created: str = ""
    received: str = ""
    bytes: int = 0
    total: int = 0
    references: int = 0
    new: int = 0
    changed: int = 0
    removed: int = 0
    signed_by: tuple[str, ...] = ()
    approvals: tuple[ApprovalSeen, ...] = ()

    @property
    def moment(self) -> str:
        """What crossings are ordered by."""
        return self.created or self.received


class Perishable(msgspec.Struct, frozen=True):
    """What becomes stale: when it was made, and until when it is good (RFC 3339; empty where not known)."""

    name: str
    kind: str
    created: str
    until: str
    stale: bool
    present: bool
    purpose: str = ""
    breaks: str = ""


class Egress(msgspec.Struct, frozen=True):
    """An attempt to leave, as the rehearsal recorded it."""

    to: str
    port: int
    proto: str
    by: str
    count: int
    decision: str = ""


class Failed(msgspec.Struct, frozen=True):
    """What did not come in the rehearsal, and why."""

    name: str
    why: str


class Rehearsed(msgspec.Struct, frozen=True):
    """The result of a rehearsal."""

    pulled: int
    fetched: int = 0
    started: int = 0
    failed: tuple[Failed, ...] = ()
    egress: tuple[Egress, ...] = ()
    notes: tuple[str, ...] = ()


class Open(msgspec.Struct, frozen=True, order=True):
    """Something that is not as it has to be, or waits for a decision; `rule` is a stable kebab-case word."""

    rule: str
    what: str
    why: str
    hint: str = ""
    evidence: tuple[Evidence, ...] = ()


class Settled(msgspec.Struct, frozen=True, order=True):
    """What somebody decided or waived, and the reason."""

    what: str
    decision: str
    reason: str = ""


class Gone(msgspec.Struct, frozen=True, order=True):
    """What the earlier lock had, and this one has not."""

    kind: str
    name: str
    digest: str
    size: int


class Compared(msgspec.Struct, frozen=True):
    """The earlier lock: its sizes, and what is gone since."""

    references: int
    size: int
    gone: tuple[Gone, ...]


class PlatformReport(msgspec.Struct, frozen=True):
    """Everything. `made` is SOURCE_DATE_EPOCH's time, or nothing: the same input gives the same bytes.

    `size` counts every blob once where it is `exact`; else what several share counts for each of them.
    """

    format: str
    version: int
    tool: str
    name: str
    made: str
    site: str
    platforms: tuple[str, ...]
    checked: str
    needed: tuple[Needed, ...]
    by_kind: tuple[Group, ...]
    by_host: tuple[Group, ...]
    by_component: tuple[Group, ...]
    size: int
    exact: bool
    crossings: tuple[Crossing, ...]
    perishables: tuple[Perishable, ...]
    rehearsal: Rehearsed | None
    open: tuple[Open, ...]
    settled: tuple[Settled, ...]
    previous: Compared | None

    @property
    def present(self) -> int:
        """How many things are there."""
        return sum(item.state == "present" for item in self.needed)
