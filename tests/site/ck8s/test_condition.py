"""The conditions of `set-me-if-(…)`, as yq decides them."""

from typing import Any

import pytest

from isthmus.site.ck8s.condition import is_needed
from isthmus.site.ck8s.placeholders import placeholders

CONFIGURATION: dict[str, Any] = {
    "on": {"enabled": True},
    "off": {"enabled": False},
    "name": "slack",
    "nothing": None,
    "empty": "",
    "sync": {"enabled": False, "buckets": []},
}


@pytest.mark.parametrize(
    ("expression", "needed"),
    [
        (".on.enabled", True),
        (".off.enabled", False),
        (".absent.enabled", False),
        (".on.enabled and .off.enabled", False),
        (".off.enabled or .on.enabled", True),
        (".off.enabled and .x or .on.enabled", True),
        (".on.enabled or .off.enabled and .off.enabled", True),
        ('.name == "slack"', True),
        ('.name == "email"', False),
        ('.name != "email"', True),
        (".nothing != null", False),
        ('.empty != null and .empty != ""', False),
        ("(.off.enabled or .on.enabled) and .on.enabled", True),
        # What yq's own functions decide is not guessed, unless it does not matter.
        ('.sync.enabled and (.sync.buckets | any_c(.type == "swift"))', False),
        ('.on.enabled and (.sync.buckets | any_c(.type == "swift"))', True),
        ('.on.enabled or (.sync.buckets | select(all_c(.a != "b")))', True),
        ("(.off.enabled", True),
        ("", True),
    ],
)
def test_conditions(expression: str, needed: bool) -> None:
    assert is_needed(expression, CONFIGURATION) is needed


def test_placeholders_are_found_wherever_they_are() -> None:
    document = {
        "a": {"b.c": ["x", "set-me"]},
        "d": "set-me-if-(.on)",
        "e": "set-me-if-(.missing)",
        "f": {"g": [{"h": "set-me-anything"}]},
        "on": True,
        "said": "please set-me",
    }
    assert [(found.key, found.text) for found in placeholders(document)] == [
        ('.a."b.c"[1]', "set-me"),
        (".d", "set-me-if-(.on)"),
        (".f.g[0].h", "set-me-anything"),
    ]
