"""`images:FILE`: a reference a line, with `#` comments; `-` for standard input. Certain.

Not here: lists of any other form.
"""

from collections.abc import Iterator

from isthmus.inventory.model import Finding, Item, Ref
from isthmus.scan.input import read_text
from isthmus.scan.source import SourceSpec
from isthmus.scan.view import reference

RULE = "image-list"


def read(spec: SourceSpec) -> Iterator[Ref | Item]:
    """Every reference of the list; a line that is none comes out as an item.

    Raises UsageError (`file-not-found`, `invalid-input`) or UnreachableError (`io-failed`).
    """
    spec.allow()
    label = f"images:{spec.value}"
    for number, line in enumerate(read_text(spec.value).splitlines(), 1):
        text = line.partition("#")[0].strip()
        if text:
            yield reference(text, Finding(source=label, path=f"line {number}", rule=RULE))
