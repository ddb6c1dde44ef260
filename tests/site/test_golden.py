"""Every generated file for the guide's example values, byte for byte.

After a change that is meant: ISTHMUS_GOLDEN=write pytest tests/site/test_golden.py, and read the difference.
"""

import os
from pathlib import Path

from isthmus.site.parts import PARTS, configure_parts
from isthmus.site.plan import Site

GOLDEN = Path(__file__).parent / "guide" / "expected"
SUFFIX = ".golden"  # so that no tool takes them for the project's own


def generated(site: Site) -> dict[str, bytes]:
    parts = configure_parts(site)
    return {file.path: file.content for part in parts.values() for file in part.files}


def test_the_guides_example_gives_exactly_these_files(guide: Site) -> None:
    files = generated(guide)
    if os.environ.get("ISTHMUS_GOLDEN") == "write":
        for path in GOLDEN.rglob("*"):
            if path.is_file():
                path.unlink()
        for name, content in files.items():
            path = GOLDEN / f"{name}{SUFFIX}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    expected = {
        str(path.relative_to(GOLDEN)).removesuffix(SUFFIX): path.read_bytes()
        for path in sorted(GOLDEN.rglob("*"))
        if path.is_file()
    }
    assert sorted(files) == sorted(expected)
    for name, content in files.items():
        assert content.decode() == expected[name].decode(), name


def test_same_input_same_bytes(guide: Site) -> None:
    assert generated(guide) == generated(guide)


def test_nothing_is_left_to_decide(guide: Site) -> None:
    parts = configure_parts(guide)
    assert [str(decision) for part in parts.values() for decision in part.decisions] == []
    assert set(parts) == set(PARTS)


def test_no_secret_and_no_placeholder_is_in_any_file(guide: Site) -> None:
    for name, content in generated(guide).items():
        text = content.decode()
        assert "PRIVATE KEY" not in text, name
        assert "set-me" not in text, name
