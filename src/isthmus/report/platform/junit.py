"""JUnit XML of a platform's report: a test case for each thing that is needed, and each that is open."""

from xml.sax.saxutils import quoteattr

from isthmus.report.platform.model import PlatformReport
from isthmus.report.platform.opened import RULES


def report_junit(report: PlatformReport) -> bytes:
    """The document; things that were not looked for are skipped. Same input, same bytes: no times."""
    suites = [_needed(report)]
    for rule in RULES:
        found = [each for each in report.open if each.rule == rule]
        if found and rule not in ("missing-reference", "stale-reference"):
            cases = [_case(rule, each.what, failure=each.why) for each in found]
            suites.append((rule, cases, len(cases), 0))
    tests = sum(len(cases) for _, cases, _, _ in suites)
    failures = sum(failed for _, _, failed, _ in suites)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines.append(f'<testsuites name="isthmus report" tests="{tests}" failures="{failures}" errors="0">')
    for name, cases, failed, skipped in suites:
        counts = f'tests="{len(cases)}" failures="{failed}" errors="0" skipped="{skipped}"'
        lines += [f"  <testsuite name={_quoted(name)} {counts}>", *cases, "  </testsuite>"]
    lines.append("</testsuites>")
    return ("\n".join(lines) + "\n").encode()


def _needed(report: PlatformReport) -> tuple[str, list[str], int, int]:
    cases = [
        _case(
            "references",
            f"{item.kind} {item.name}",
            failure="; ".join(item.why) if item.state in ("missing", "stale") else "",
            skipped=item.state == "unknown",
        )
        for item in report.needed
    ]
    states = [item.state for item in report.needed]
    return "references", cases, states.count("missing") + states.count("stale"), states.count("unknown")


def _case(suite: str, name: str, *, failure: str = "", skipped: bool = False) -> str:
    head = f"    <testcase classname={_quoted(f'isthmus.{suite}')} name={_quoted(name)}"
    if failure:
        return f"{head}><failure type={_quoted(suite)} message={_quoted(failure)}/></testcase>"
    return f"{head}><skipped/></testcase>" if skipped else f"{head}/>"


def _quoted(text: str) -> str:
    """An attribute's value; what XML 1.0 cannot hold is left out."""
    legal = "".join(each for each in text if each in "\t\n\r" or (each >= " " and each not in "\ufffe\uffff"))
    return quoteattr(legal.encode("utf-8", "replace").decode())
