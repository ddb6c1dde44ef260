"""Lines of evidence, as a lock has them, taken apart: `SOURCE OBJECT PATH`. Pure."""

from isthmus.inventory.model import Finding
from isthmus.report.packages.model import text
from isthmus.report.platform.model import Evidence


def parse(line: str) -> Evidence:
    """The parts of a line; a word that begins as a JSON path does is the path."""
    words = text(line).split(" ")
    at = next((n for n, word in enumerate(words[1:], 1) if word.startswith((".", "["))), len(words))
    return Evidence(words[0], " ".join(words[1:at]), " ".join(words[at:]))


def of_findings(findings: "tuple[Finding, ...]") -> tuple[Evidence, ...]:
    """The same of an inventory's findings, sorted, each once."""
    return tuple(sorted({Evidence(text(f.source), text(f.object), text(f.path)) for f in findings}))
