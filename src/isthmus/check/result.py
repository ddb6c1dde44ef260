"""What a check found. Only values."""

from collections.abc import Iterable

import msgspec

from isthmus.oci import Digest


class Finding(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """A reference that is not as the lock says, which part of it (nothing means the whole), and why."""

    name: str
    why: str
    digest: str = ""
    inside: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


class CheckResult(msgspec.Struct, frozen=True):
    """`present` counts references that are whole; every other one has findings, sorted by name.

    `missing`: something is not there, or not as it should be. `stale`: the name stands for something else.
    """

    present: int
    missing: tuple[Finding, ...] = ()
    stale: tuple[Finding, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether there are no findings."""
        return not self.missing and not self.stale


class Verdict(msgspec.Struct, frozen=True):
    """What was found of one reference."""

    missing: tuple[Finding, ...] = ()
    stale: tuple[Finding, ...] = ()


def sum_up(verdicts: Iterable[Verdict]) -> CheckResult:
    """All verdicts together."""
    verdicts = tuple(verdicts)
    return CheckResult(
        present=sum(not verdict.missing and not verdict.stale for verdict in verdicts),
        missing=tuple(sorted(finding for verdict in verdicts for finding in verdict.missing)),
        stale=tuple(sorted(finding for verdict in verdicts for finding in verdict.stale)),
    )


def points_elsewhere(found: Digest, wanted: Digest) -> str:
    """Why a name is stale."""
    return f"it points to {found} instead of {wanted}"
