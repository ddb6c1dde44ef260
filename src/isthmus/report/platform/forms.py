"""The forms that a platform's report is written in, by the ending of the file. Not here: what is in them."""

from pathlib import Path
from typing import Any, Final

import msgspec

from isthmus.errors import UsageError
from isthmus.report.platform.model import Evidence, PlatformReport

FORMATS: Final = {
    "html": ".html",
    "json": ".json",
    "csv": ".csv",
    "cyclonedx": ".cdx.json",
    "openvex": ".vex.json",
    "sarif": ".sarif",
    "junit": ".xml",
}
_MAX_SOURCE: Final = 8 << 20


def format_of(name: str) -> str:
    """The form that a file's ending stands for, the longest first. Raises UsageError `wrong-usage`."""
    lower = name.lower()
    if lower.endswith(".sarif.json"):
        return "sarif"
    for form, ending in sorted(FORMATS.items(), key=lambda pair: -len(pair[1])):
        if lower.endswith(ending):
            return form
    raise UsageError(
        "wrong-usage",
        f"{name[:100]} has none of the known endings",
        hint=f"end it with {', '.join(FORMATS.values())}, or give --format",
    )


def write(report: PlatformReport, form: str, documents: list[dict[str, Any]] | None = None) -> bytes:
    """The report in one of the `FORMATS`; `documents` are for openvex. Same report, same bytes."""
    if form == "html":
        from isthmus.report.platform.page import platform_page

        return platform_page(report).encode()
    if form == "csv":
        from isthmus.report.platform.tables import report_csv

        return report_csv(report)
    if form == "cyclonedx":
        from isthmus.report.platform.bill import report_cyclonedx

        return report_cyclonedx(report)
    if form == "openvex":
        from isthmus.report.platform.vex import collect

        return collect(report, documents or [])
    if form == "sarif":
        from isthmus.report.platform.sarif import sarif

        return sarif(report, line_of)
    if form == "junit":
        from isthmus.report.platform.junit import report_junit

        return report_junit(report)
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def line_of(evidence: Evidence, name: str) -> int:
    """The first line of the source's file that has the name, or its last part; 0 where there is none."""
    path = Path(evidence.file)
    try:
        if not path.is_file() or path.stat().st_size > _MAX_SOURCE:
            return 0
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        return 0
    short = name.removeprefix("docker.io/").removeprefix("library/")
    for wanted in (name, short, short.removesuffix(":latest"), short.rpartition("/")[2]):
        for number, line in enumerate(lines, 1):
            if wanted and wanted in line:
                return number
    return 0
