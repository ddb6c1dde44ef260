"""Ranges of versions as the catalogue writes them: `>=1.36.0 <1.38`, all of the parts must hold.

Tags are compared by the numbers in them, `v` before and a suffix behind do not matter. Not here: the full
rules of semantic versions, which tags of images do not follow.
"""

import re

from isthmus.errors import UsageError

_TAG = re.compile(r"(?:.*?[^0-9.])?v?([0-9]+(?:\.[0-9]+){1,3})(?![0-9.])")
_PART = re.compile(r"(>=|<=|>|<|=)([0-9]+(?:\.[0-9]+){0,3})")


def version_of(tag: str) -> str:
    """The version in a tag: `1.27.0` of `v1.27.0-debian`, nothing where there is none."""
    match = _TAG.match(tag)
    return match.group(1) if match else ""


def holds(versions: str, tag: str) -> bool:
    """Whether a tag is in the range; an empty range holds every tag, any other none without a version.

    Raises UsageError (`invalid-config`) for a range that is not of the form.
    """
    if not versions:
        return True
    version = _numbers(version_of(tag))
    answers: list[bool] = []
    for part in versions.split():
        match = _PART.fullmatch(part)
        if match is None:
            raise UsageError("invalid-config", f"not a range of versions: {versions!r}", hint="write >=1.2 <1.4")
        bound = _numbers(match.group(2))
        answers.append(
            {
                ">=": version >= bound,
                "<=": version <= bound,
                ">": version > bound,
                "<": version < bound,
                "=": version == bound,
            }[match.group(1)]
        )
    return bool(version) and all(answers)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")] if version else []
    return tuple(numbers + [0] * (4 - len(numbers))) if numbers else ()
