"""The Link header of pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.registry.link import next_link


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('</v2/a/tags/list?last=z&n=1>; rel="next"', "/v2/a/tags/list?last=z&n=1"),
        ("</x>; rel=next", "/x"),
        ('</x>;REL="prev NEXT"', "/x"),
        ('</a>; rel="prev", </b>; title="a, b; c"; rel="next"', "/b"),
        ('</a>; rel="first"; rel="next"', None),
        ("</a>", None),
        ("", None),
        ("</a; rel=next", None),
        ('<>; rel="next"', ""),
    ],
)
def test_forms(header: str, expected: str | None) -> None:
    assert next_link(header) == expected


@given(st.text() | st.text(alphabet='<>;=", relnxt\\'))
def test_anything_is_parsed_or_left(header: str) -> None:
    found = next_link(header)
    assert found is None or "<" not in found


@given(st.text(st.characters(blacklist_characters="<>")), st.text(alphabet="ab ,;c", max_size=9))
def test_what_is_written_is_read(target: str, title: str) -> None:
    assert next_link(f'</first>; rel="prev", <{target}>; title="{title}"; rel="next"') == target


def test_hostile_headers_take_no_time() -> None:
    for header in ("<a>" + " " * 60_000, "<a>" + ";a" * 30_000, '<a>;b="' + "\\" * 60_000, "<" * 60_000):
        next_link(header)
