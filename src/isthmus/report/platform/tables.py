"""CSV of a platform's report: a line for each thing that is needed. Not here: the columns' contents (`model`)."""

import csv
import io
from typing import Final

from isthmus.report.platform.model import Needed, PlatformReport
from isthmus.report.tables import safe

COLUMNS: Final = (
    "kind", "name", "digest", "size", "host", "platforms", "components", "evidence", "state", "why", "change",
    "was", "fresh_until", "attached", "files", "serve", "verified_by",
)  # fmt: skip


def report_csv(report: PlatformReport) -> bytes:
    """RFC 4180, UTF-8; lists are joined by semicolons, and nothing begins as a formula of a spreadsheet does."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for item in report.needed:
        writer.writerow([safe(value) for value in _row(item)])
    return out.getvalue().encode()


def _row(item: Needed) -> list[str]:
    found = [" ".join(part for part in (e.source, e.object, e.path) if part) for e in item.evidence]
    return [
        item.kind, item.name, item.digest, str(item.size), item.host, "; ".join(item.platforms),
        "; ".join(item.components), "; ".join(found), item.state, "; ".join(item.why), item.change, item.was,
        item.fresh_until, str(item.attached), str(item.files), item.serve, "; ".join(item.verified_by),
    ]  # fmt: skip
