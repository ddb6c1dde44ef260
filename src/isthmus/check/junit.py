"""JUnit XML of a check, as CI systems show it: a test case for each reference, file server entry and certificate.

Same input, same bytes: no times. Not here: what was found (`result`).
"""

from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import quoteattr

from isthmus.check.result import Finding


def junit(suites: Mapping[str, tuple[Sequence[str], Iterable[Finding]]]) -> bytes:
    """A suite by its name, each with the names that were asked for and the findings about them."""
    lines, total, failed = [], 0, 0
    for name, (cases, findings) in suites.items():
        about: dict[str, list[Finding]] = {}
        for finding in findings:
            about.setdefault(finding.name, []).append(finding)
        names = list(dict.fromkeys([*cases, *about]))
        wrong = sum(case in about for case in names)
        total, failed = total + len(names), failed + wrong
        lines.append(f'  <testsuite name={_quoted(name)} tests="{len(names)}" failures="{wrong}" errors="0">')
        for case in names:
            lines += _case(name, case, about.get(case, ()))
        lines.append("  </testsuite>")
    head = f'<testsuites name="isthmus check" tests="{total}" failures="{failed}" errors="0">'
    text = ['<?xml version="1.0" encoding="UTF-8"?>', head, *lines, "</testsuites>"]
    return ("\n".join(text) + "\n").encode()


def _case(suite: str, name: str, findings: Sequence[Finding]) -> Iterable[str]:
    head = f"    <testcase classname={_quoted(f'isthmus.{suite}')} name={_quoted(name)}"
    if not findings:
        yield f"{head}/>"
        return
    yield f"{head}>"
    yield f'      <failure type="{suite}" message={_quoted("; ".join(finding.why for finding in findings))}/>'
    yield "    </testcase>"


def _quoted(text: str) -> str:
    """An attribute's value; what XML 1.0 cannot hold is left out."""
    legal = "".join(each for each in text if each in "\t\n\r" or (each >= " " and each not in "\ufffe\uffff"))
    return quoteattr(legal.encode("utf-8", "replace").decode())
