"""Where a reference was found, as lines of a lock. Pure."""

from isthmus.inventory.model import Ref


def evidence_of(ref: Ref) -> tuple[str, ...]:
    """`source object path` of each finding, sorted."""
    lines = {" ".join(part for part in (f.source, f.object, f.path) if part) for f in ref.findings}
    return tuple(sorted(lines))
