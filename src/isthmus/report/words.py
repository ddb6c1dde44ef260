"""How pages say amounts: sizes, counts, digests, shares. Text in, text out."""

from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes in powers of 1000, with three digits that count: `1.53 MB`, `312 kB`."""
    unit = 0
    while abs(count) >= 999.5 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    if not unit:
        return f"{count:.0f} B"
    return f"{count:.{2 if abs(count) < 9.995 else 1 if abs(count) < 99.95 else 0}f} {_UNITS[unit]}"


def number(count: int) -> str:
    """With thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u202f")


def plural(count: int, one: str, many: str = "") -> str:
    """`1 image`, `3 images`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def short(digest: str) -> str:
    """A digest as people compare it: the algorithm's name left out, the first 16 digits."""
    return digest.rpartition(":")[2][:16] + "…"


def place(evidence: str) -> str:
    """A line of evidence without the path inside of its object."""
    return " ".join(word for word in evidence.split(" ") if not word.startswith(".")) or evidence


def when(time: str | None) -> str:
    """A time of a manifest, for people: `2027-01-31 12:00 UTC`."""
    return f"{time[:10]} {time[11:16]} UTC" if time and len(time) == 20 else ""
