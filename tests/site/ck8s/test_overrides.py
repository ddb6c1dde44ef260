"""Override files: comments stay, only differences are written, twice is once."""

from typing import Any

import pytest

pytest.importorskip("ruamel.yaml")

from isthmus.errors import UsageError
from isthmus.site.ck8s.overrides import override_text
from isthmus.site.ck8s.setting import Setting, common

BELOW: dict[str, Any] = {"a": {"same": 1, "other": "set-me"}, "flag": True}
FORMER = """\
# Ours, kept by hand.
a:
  other: mine # why
# before z
z:
  - 1 # one
"""


def test_comments_and_order_stay_and_only_what_differs_is_written() -> None:
    settings = [
        common("a.same", 1),
        common("a.other", "theirs"),
        common("a.new.deep", ["x"], "for this reason"),
        common("flag", True),
    ]
    text = override_text(FORMER, settings, BELOW, "f")
    assert text == (
        "# Ours, kept by hand.\na:\n  new:\n    # for this reason\n    deep:\n      - x\n  other: theirs # why\n"
        "# before z\nz:\n  - 1 # one\n"
    )
    assert override_text(text, settings, BELOW, "f") == text


def test_a_value_of_the_users_own_is_overwritten_even_by_the_default() -> None:
    """Otherwise what was written for a former isthmus.yaml would stay for ever."""
    assert override_text("a:\n  same: 2\n", [common("a.same", 1)], BELOW, "f") == "a:\n  same: 1\n"


def test_true_is_not_one() -> None:
    assert "flag: 1" in override_text("", [common("flag", 1)], BELOW, "f")


def test_text_of_several_lines_is_a_block() -> None:
    assert "c: |\n  a\n  b\n" in override_text("", [Setting("common", ("c",), "a\nb\n")], {}, "f")


@pytest.mark.parametrize("former", ["- a\n", "a: [\n", "just text\n"])
def test_what_is_no_override_file_is_refused(former: str) -> None:
    with pytest.raises(UsageError) as refused:
        override_text(former, [], {}, "sc-config.yaml")
    assert refused.value.code == "invalid-input"
    assert refused.value.where == "sc-config.yaml"
