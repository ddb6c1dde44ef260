"""What can be wrong with a set of volumes, and how it is said: which volume, what, which references suffer.

Not here: finding it (`volumeset`, `verifying`, `unpacking`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from isthmus.errors import IncompleteError, IsthmusError, VerificationError

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """A volume that cannot be used. `volume` is its number where known, `code` one of `errors.CODES`."""

    volume: int | None
    file: str
    code: str
    message: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MissingVolume:
    """A volume that was not given: its number, file name, size in bytes, and who needs it."""

    volume: int
    file: str
    size: int
    references: tuple[str, ...]


def error_for(problems: Sequence[Problem], missing: Sequence[MissingVolume]) -> IsthmusError | None:
    """What to raise: VerificationError for damage, IncompleteError where volumes are only missing, or None."""
    if problems:
        return VerificationError(
            problems[0].code,
            "; ".join(f"{p.file}: {p.message}{_affected(p.references)}" for p in problems[:_NAMED])
            + _more(len(problems), "volume"),
            hint="copy the volume again from where it was packed; what is intact need not be read again",
            items=[asdict(problem) for problem in problems],
        )
    if missing:
        return IncompleteError(
            "missing-volume",
            "; ".join(f"{m.file} is missing{_affected(m.references)}" for m in missing[:_NAMED])
            + _more(len(missing), "volume"),
            hint="give the missing volumes, in any order; what was read already need not be given again",
            items=[asdict(volume) for volume in missing],
        )
    return None


def _affected(references: Sequence[str]) -> str:
    if not references:
        return ""
    return f" (needed by {', '.join(references[:_NAMED])}{_more(len(references), 'reference')})"


def _more(count: int, what: str) -> str:
    rest = count - _NAMED
    return "" if rest <= 0 else f" and {rest} more {what}{'s' if rest > 1 else ''}"
