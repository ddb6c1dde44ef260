"""The page of a platform's report: one file, nothing loaded, no script. Not here: its template."""

import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from isthmus.report.page import render
from isthmus.report.platform.model import Crossing, Needed, Open, PlatformReport
from isthmus.report.platform.opened import RULES

_SHOWN_CROSSINGS = 24
_DIGEST = re.compile(r"(sha(?:256|512):[0-9a-f]{12})[0-9a-f]{20,}", re.ASCII)


def platform_page(report: PlatformReport) -> str:
    """The page; the same for the same report."""
    changes = Counter(item.change for item in report.needed)
    return render(
        "platform.html.j2",
        report=report,
        things=[item for item in report.needed if not _is_attachment(item)],
        attached=[item for item in report.needed if _is_attachment(item)],
        wanting=[item for item in report.needed if item.state in ("missing", "stale")],
        changes=changes,
        changed=[item for item in report.needed if item.change in ("new", "changed")],
        open_by_rule=_by_rule(report.open),
        rules=RULES,
        brief=_brief,
        shown=_last(report.crossings),
        undecided=[row for row in report.rehearsal.egress if not row.decision] if report.rehearsal else [],
        stale=[row for row in report.perishables if row.stale],
        share=100 * report.present / len(report.needed) if report.needed else 0,
    )


def _brief(text: str) -> str:
    """With digests as people compare them; the other forms have them whole."""
    return _DIGEST.sub(lambda match: f"{match[1]}…", text)


def _is_attachment(item: Needed) -> bool:
    return bool(item.components) and set(item.components) == {"signatures and SBOMs"}


def _by_rule(found: Sequence[Open]) -> list[tuple[str, list[Open]]]:
    groups: dict[str, list[Open]] = {}
    for each in found:
        groups.setdefault(each.rule, []).append(each)
    return list(groups.items())


def _last(crossings: Sequence[Crossing]) -> list[Crossing]:
    """The latest; those without a size of their own know only what they brought."""
    return [
        msgspec.structs.replace(crossing, total=crossing.total or crossing.bytes)
        for crossing in crossings[-_SHOWN_CROSSINGS:]
    ]
