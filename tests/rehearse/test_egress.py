"""Attempts summed up: by target, image and process; a name with nothing after it is a row of its own."""

from typing import Any

from isthmus.inventory.config import Decided
from isthmus.rehearse.egress import UNKNOWN, sum_up
from isthmus.rehearse.result import Egress, Failure, RehearsalResult


def attempt(to: str, port: int, proto: str, source: str = "a", process: str = "curl") -> dict[str, Any]:
    return {"source": source, "to": to, "port": port, "proto": proto, "process": process}


IMAGES = {"a": "quay.io/a:1"}


def test_a_name_that_was_reached_is_one_row() -> None:
    rows = sum_up(
        [attempt("x.com", 53, "dns"), attempt("x.com", 443, "tcp"), attempt("x.com", 443, "tcp")], IMAGES, []
    )
    assert rows == (Egress("x.com", 443, "tcp", "quay.io/a:1", "curl", 2),)


def test_a_name_that_was_only_asked_for_is_a_row() -> None:
    rows = sum_up([attempt("x.com", 53, "dns"), attempt("x.com", 443, "tcp", source="b")], IMAGES, [])
    assert [(row.proto, row.image) for row in rows] == [("dns", "quay.io/a:1"), ("tcp", UNKNOWN)]


def test_decisions_cover_a_host_and_what_is_below_it() -> None:
    decided = [Decided("https://x.com", "disable"), Decided("10.1.1.1:514", "allow")]
    rows = sum_up(
        [
            attempt("x.com", 443, "tcp"),
            attempt("api.x.com", 80, "tcp"),
            attempt("notx.com", 443, "tcp"),
            attempt("10.1.1.1", 514, "udp"),
            attempt("10.1.1.1", 515, "udp"),
        ],
        IMAGES,
        decided,
    )
    assert {(row.to, row.port): row.decision for row in rows} == {
        ("x.com", 443): "disable",
        ("api.x.com", 80): "disable",
        ("notx.com", 443): "",
        ("10.1.1.1", 514): "allow",
        ("10.1.1.1", 515): "",
    }


def test_complete_is_nothing_failed_and_nothing_undecided() -> None:
    row = Egress("x.com", 443, "tcp", "i", "p")
    assert RehearsalResult(pulled=3).is_complete
    assert not RehearsalResult(egress=(row,)).is_complete
    assert RehearsalResult(egress=(Egress("x.com", 443, "tcp", "i", "p", 1, "allow"),)).is_complete
    assert not RehearsalResult(failed=(Failure("n", "w"),)).is_complete
    assert RehearsalResult(egress=(row,)).document()["egress"][0]["by"] == "i (p)"


def test_a_rule_with_a_port_covers_the_name_that_was_only_asked_for() -> None:
    rules = [Decided(endpoint="x.com:443", decision="disable")]
    rows = sum_up([attempt("x.com", 53, "dns"), attempt("x.com", 80, "tcp", source="b")], IMAGES, rules)
    assert [(row.proto, row.decision) for row in rows] == [("dns", "disable"), ("tcp", "")]


def test_targets_for_people() -> None:
    shown = [Egress(to, port, "tcp", "a").target for to, port in (("x.com", 443), ("2001:db8::7", 80), ("::1", 0))]
    assert shown == ["x.com:443", "[2001:db8::7]:80", "::1"]
