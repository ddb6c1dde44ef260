"""SARIF 2.1.0 of what is open, for CI systems that show findings beside the lines that cause them.

Not here: what is open (`opened`).
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from isthmus.report.platform.model import Evidence, Open, PlatformReport
from isthmus.report.platform.opened import RULES

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_WARNINGS: Final = frozenset({"stale-data", "stale-reference", "site-decision"})
_MOST_PLACES: Final = 100

Locate = Callable[[Evidence, str], int]
"""The line of a file, from 1, that a name stands in; 0 where it is not known."""


def sarif(report: PlatformReport, locate: Locate = lambda _, __: 0) -> bytes:
    """The log, the same bytes for the same report and the same files."""
    rules = sorted({each.rule for each in report.open}, key=list(RULES).index)
    driver = {
        "name": "isthmus",
        "version": report.tool.partition(" ")[2],
        "informationUri": "https://isthmus.dev/",
        "rules": [
            {
                "id": rule,
                "name": "".join(word.capitalize() for word in rule.split("-")),
                "shortDescription": {"text": RULES[rule]},
                "defaultConfiguration": {"level": _level(rule)},
            }
            for rule in rules
        ],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, rules.index(each.rule), locate) for each in report.open],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(log), indent=1) + b"\n"


def _level(rule: str) -> str:
    return "warning" if rule in _WARNINGS else "error"


def _result(each: Open, index: int, locate: Locate) -> dict[str, Any]:
    message = f"{each.what}: {each.why}" + (f". {each.hint[:1].upper()}{each.hint[1:]}." if each.hint else "")
    result: dict[str, Any] = {
        "ruleId": each.rule,
        "ruleIndex": index,
        "level": _level(each.rule),
        "message": {"text": message},
        "partialFingerprints": {"isthmus/v1": _fingerprint(each)},
    }
    places = [_place(evidence, each.what, locate) for evidence in each.evidence[:_MOST_PLACES]]
    # What belongs to no file is about the platform file, so that every system has somewhere to show it.
    result["locations"] = places[:1] or [_physical("isthmus.yaml", 1)]
    if places[1:]:
        result["relatedLocations"] = [{"id": number, **place} for number, place in enumerate(places[1:], 1)]
    return result


def _place(evidence: Evidence, name: str, locate: Locate) -> dict[str, Any]:
    place = _physical(evidence.file, locate(evidence, name))
    full = " ".join(part for part in (evidence.object, evidence.path) if part)
    if full:
        place["logicalLocations"] = [{"fullyQualifiedName": full, "kind": "value"}]
    return place


def _physical(path: str, line: int) -> dict[str, Any]:
    artifact = {"uri": quote(path, safe="/:@+,;=~!$&'()*") if "://" not in path else path}
    place: dict[str, Any] = {"artifactLocation": artifact, "region": {"startLine": max(1, line)}}
    return {"physicalLocation": place}


def _fingerprint(each: Open) -> str:
    return hashlib.sha256(f"{each.rule}\n{each.what}".encode()).hexdigest()[:32]
