"""CycloneDX of a platform's report: what the lock names, as components. Not here: the packages inside."""

import hashlib

from isthmus.report.contents import Inside
from isthmus.report.cyclonedx import cyclonedx
from isthmus.report.model import Item
from isthmus.report.platform.model import Needed, PlatformReport


def report_cyclonedx(report: PlatformReport) -> bytes:
    """The document, CycloneDX 1.6; the serial number follows from the digests."""
    lines = "".join(f"{item.kind} {item.name} {item.digest}\n" for item in report.needed)
    inside = [Inside(_item(item), {}) for item in report.needed]
    return cyclonedx(hashlib.sha256(lines.encode()).hexdigest(), report.name, report.made or None, inside)


def _item(item: Needed) -> Item:
    return Item(
        kind=item.kind,
        name=item.reference,
        title=item.name if item.reference != item.name else "",
        digest=item.digest,
        media_type=item.media_type,
        size=item.size,
        carried=item.size if item.state == "present" else 0,
        host=item.host,
        platforms=item.platforms,
        components=item.components,
        needed_by=tuple(" ".join(part for part in (e.source, e.object, e.path) if part) for e in item.evidence),
    )
