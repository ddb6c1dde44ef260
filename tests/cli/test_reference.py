"""The generated pages say what the code says, and every error code is used and listed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.cli import reference
from isthmus.errors import CODES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("page", "make"), [("commands.md", reference.commands), ("errors.md", reference.errors)])
def test_generated_pages_are_current(page: str, make: Callable[[], str], tmp_path: Path) -> None:
    reference.main(str(tmp_path))
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == (tmp_path / page).read_text(encoding="utf-8"), (
        "run 'make docs'"
    )


def test_every_error_code_in_the_table_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    unused = [code for code in CODES if len(re.findall(rf'"{code}"', text)) < 2]
    assert unused == []
