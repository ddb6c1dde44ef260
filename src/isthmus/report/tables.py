"""`release.csv`: a line for each item, for spreadsheets. Not here: what is in the columns (`model`)."""

import csv
import io
from typing import Final

from isthmus.report.model import Item, Release

COLUMNS: Final = (
    "kind", "name", "digest", "size", "carried", "host", "platforms", "licences", "components", "needed_by",
    "change", "was", "packages", "signed_by", "signatures", "sboms", "notes",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def release_csv(release: Release) -> bytes:
    """RFC 4180, UTF-8; lists are joined by semicolons, and nothing begins as a formula of a spreadsheet does."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for item in release.items:
        writer.writerow([safe(value) for value in _row(item)])
    return out.getvalue().encode()


def _row(item: Item) -> list[str]:
    verified = sorted({signed.key for signed in item.signatures if signed.key})
    return [
        item.kind, item.name, item.digest, str(item.size), str(item.carried), item.host, "; ".join(item.platforms),
        "; ".join(item.licences), "; ".join(item.components), "; ".join(item.needed_by), item.change, item.was,
        str(item.packages), "; ".join(verified), str(len(item.signatures)), str(len(item.sboms)),
        "; ".join(item.notes),
    ]  # fmt: skip


def safe(value: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(_FORMULA) else value
