"""The `Range` header for one resource of a known size (RFC 9110, section 14). Values only, no responses."""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"(\d{0,19})[ \t]*-[ \t]*(\d{0,19})", re.ASCII)


class UnsatisfiableRangeError(Exception):
    """No byte of the resource is in the range, or the range is not one (416). Does not leave this room."""


@dataclass(frozen=True)
class Span:
    """`count` bytes from `offset` on; `is_part` says whether a range was asked for and is answered by 206."""

    offset: int
    count: int
    is_part: bool


def parse_range(header: str | None, size: int) -> Span:
    """What to send of `size` bytes. Raises UnsatisfiableRangeError.

    An unknown unit is ignored, as it must be, and so are several ranges at once, as they may be; a range in
    bytes that is malformed is refused rather than answered by more bytes than anybody expects.
    """
    whole = Span(0, size, False)
    if header is None:
        return whole
    unit, equals, ranges = header.partition("=")
    if unit.strip().lower() != "bytes":
        return whole
    if not equals:
        raise UnsatisfiableRangeError
    if "," in ranges:
        return whole
    match = _RANGE.fullmatch(ranges.strip())
    if match is None:
        raise UnsatisfiableRangeError
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
        if last and int(last) < start:
            raise UnsatisfiableRangeError
    elif last:
        start, end = max(size - int(last), 0), size - 1
    else:
        raise UnsatisfiableRangeError
    if start > end:
        raise UnsatisfiableRangeError
    return Span(start, end - start + 1, True)
