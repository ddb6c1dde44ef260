"""The parser of WWW-Authenticate, on what registries send and on anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.registry.challenge import covers, merge_scopes, parse_challenges, repository_scope

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'


def test_bearer_of_docker_hub() -> None:
    (found,) = parse_challenges(HUB)
    assert found.scheme == "bearer"
    assert dict(found.parameters) == {
        "realm": "https://auth.docker.io/token",
        "service": "registry.docker.io",
        "scope": "repository:a/b:pull,push",
    }


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a \\"b\\" c"', [("basic", {"realm": 'a "b" c'})]),
        ("BASIC Realm=plain", [("basic", {"realm": "plain"})]),
        ('Bearer realm = "r" , service=s', [("bearer", {"realm": "r", "service": "s"})]),
        ('Negotiate, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Negotiate dG9rZW4=, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Basic a="x", Bearer b="y",s="a:b"', [("basic", {"a": "x"}), ("bearer", {"b": "y", "s": "a:b"})]),
        ('Bearer realm="r",error="wrong_scope"', [("bearer", {"realm": "r", "error": "wrong_scope"})]),
        ('Bearer realm="unterminated', [("bearer", {"realm": ""})]),
        ('Bearer realm="a",realm="b"', [("bearer", {"realm": "a"})]),
        ("===", []),
    ],
)  # fmt: skip
def test_forms(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in parse_challenges(header)] == expected


@given(st.text() | st.text(alphabet='Bearlm="\\, ;:/\t\r\n\x00'))
def test_anything_is_parsed_or_left(header: str) -> None:
    for one in parse_challenges(header):
        assert one.scheme == one.scheme.lower()


NAMES = st.text(alphabet="abcdefghij", min_size=1, max_size=8)


@given(
    st.lists(
        st.tuples(NAMES, st.dictionaries(NAMES, st.text(st.characters(max_codepoint=255)), min_size=1)), max_size=4
    )
)
def test_what_is_written_is_read(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in values.items())
        for scheme, values in challenges
    )
    assert [(one.scheme, dict(one.parameters)) for one in parse_challenges(header)] == challenges


def test_hostile_headers_take_no_time() -> None:
    for header in ('Bearer realm="' + "\\" * 60_000, "a" * 60_000 + '"', ", " * 30_000, "Basic a=" * 8_000):
        parse_challenges(header)


def test_scopes_are_merged_by_what_they_are_for() -> None:
    assert merge_scopes(["repository:a:pull", "repository:a:push,pull", "registry:catalog:*", ""]) == (
        "registry:catalog:*",
        "repository:a:pull,push",
    )
    assert repository_scope("a/b", "push", "pull") == "repository:a/b:pull,push"


def test_a_wider_scope_covers_a_narrower() -> None:
    assert covers(["repository:a:pull,push"], ["repository:a:pull"])
    assert not covers(["repository:a:pull"], ["repository:a:pull,push"])
    assert not covers(["repository:a:pull"], ["repository:b:pull"])
    assert covers(["repository:host:5000/a:pull"], [])
