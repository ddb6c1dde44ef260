"""What a scan finds: references, endpoints and items that could not be resolved, each with its evidence.

These are the shapes of the contract. Not here: how they are found (`scan`) or resolved to digests
(`transfer`).
"""

from typing import Any, Literal

import msgspec

Kind = Literal["image", "artifact", "file", "chart", "git", "packages"]
Confidence = Literal["certain", "likely", "possible"]
When = Literal["always", "conditional", "test"]
Decision = Literal["internal", "disable", "allow"]


def in_registry(kind: str, name: str) -> bool:
    """Whether a registry outside has what is named so: images, artifacts, and charts that are artifacts."""
    return kind in ("image", "artifact") or (kind == "chart" and (name.startswith("oci://") or "://" not in name))


class Finding(msgspec.Struct, frozen=True, order=True):
    """Where something was found, by which rule, and how sure the rule is."""

    source: str
    object: str = ""
    path: str = ""
    rule: str = ""
    confidence: Confidence = "certain"
    when: When = "always"
    note: str = ""


class Ref(msgspec.Struct, frozen=True):
    """One external thing that the platform will ask for, by its normalised, fully qualified name."""

    kind: Kind
    name: str
    as_written: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What makes two references the same."""
        return (self.kind, self.name)

    @property
    def in_registry(self) -> bool:
        """Whether it is fetched from a registry."""
        return in_registry(self.kind, self.name)

    @property
    def confidence(self) -> Confidence:
        """That of the surest finding."""
        found = {finding.confidence for finding in self.findings}
        if not found or "certain" in found:
            return "certain"
        return "likely" if "likely" in found else "possible"

    @property
    def when(self) -> When:
        """`always` if any finding says so; `test` only if all do."""
        found = {finding.when for finding in self.findings}
        if not found or "always" in found:
            return "always"
        return "conditional" if "conditional" in found else "test"

    @property
    def is_locked(self) -> bool:
        """Whether `lock` takes it without being asked: needed always, and more than a possibility."""
        return self.when == "always" and self.confidence != "possible"


class Endpoint(msgspec.Struct, frozen=True):
    """Something contacted at run time that cannot be carried: it needs a decision, not a copy."""

    url: str
    purpose: str
    findings: tuple[Finding, ...] = ()
    decision: Decision | None = None
    advice: str = ""


class Item(msgspec.Struct, frozen=True):
    """Something that could not be resolved; its presence makes a run incomplete."""

    what: str
    why: str
    finding: Finding | None = None
    hint: str = ""


class Inventory(msgspec.Struct, frozen=True):
    """All that was found, each list sorted and without repetition (see `inventory.merge`)."""

    references: tuple[Ref, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    unresolved: tuple[Item, ...] = ()
    statistics: dict[str, Any] = {}
