"""The reader against PyYAML's own: the same meaning, apart from what is documented to differ."""

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.inventory.yaml_builder import MAX_ALIASED_NODES, MAX_DEPTH, build

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "ck8s" / "rendered"
SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")


def known(value: Any) -> Any:
    """PyYAML's value as ours would be."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [known(item) for item in value]
    return value


def has_dates(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_dates(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return any(has_dates(item) for item in value)
    return isinstance(value, dt.date | bytes | set | tuple)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(allow_nan=False), st.text(max_size=20)
)
OBJECTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
)


@given(OBJECTS, st.booleans(), st.booleans())
def test_what_pyyaml_writes(value: Any, is_flow: bool, is_unicode: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=is_flow, allow_unicode=is_unicode)
    assert build(text, "x") == [known(item) for item in [yaml.load(text, yaml.CSafeLoader)] if item is not None]


WORDS = "true True yes NO on Off ~ null Null .inf -.inf .NaN 0o17 017 089 0x1F 1_000 1.5e+3 1e3 .5 5. = <<"
PLAIN = st.one_of(
    st.text(alphabet="0123456789+-._xobeE:", min_size=1, max_size=8),
    st.sampled_from(WORDS.split()),
)


@given(PLAIN)
def test_plain_scalars(text: str) -> None:
    assume(not SEXAGESIMAL.fullmatch(text))
    assume(not re.search("[eE][0-9]", text))  # without a sign it is a number in YAML 1.2 and for Kubernetes
    try:
        expected = yaml.load(f"a: [{text}]", yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError):
        return
    assume(not has_dates(expected))
    (found,) = build(f"a: [{text}]", "x")
    if text.startswith(("0o", "+0o", "-0o")) or expected["a"] != expected["a"] or text == "=":
        return  # 0o17 is YAML 1.2, which Kubernetes' library reads; NaN equals nothing
    assert repr(found) == repr(known(expected))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-01-01", "2020-01-01"),
        ("2020-99-99", "2020-99-99"),
        ("1:30", "1:30"),
        ("0o17", 15),
        ("!!str 1", "1"),
        ("!!int '1'", 1),
        ("!custom 1", "1"),
        ("!!binary aGk=", "aGk="),
        ("'1'", "1"),
    ],
)
def test_what_differs_on_purpose(text: str, value: object) -> None:
    assert build(f"a: {text}", "x") == [{"a": value}]


def test_anchors_and_merge_keys() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 9}\nd: {x: 9, <<: *a}\ne: *a\n"
    quoted = "'f': {'<<': 1}\n"
    expected = yaml.load(text, yaml.CSafeLoader)
    assert build(text + quoted, "x") == [{**expected, "f": {"<<": 1}}]
    assert build("&k a: 1\nb: *k\n*k : 2\n", "x") == [{"a": 2, "b": "a"}]
    assert build("a: 1\na: 2\n", "x") == [{"a": 2}]


def test_limits() -> None:
    assert build("[" * MAX_DEPTH + "]" * MAX_DEPTH, "x")
    for text in (
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "a: &a [" + "x," * 1000 + "]\nb: [" + "*a," * (MAX_ALIASED_NODES // 1000 + 1) + "]",
        "a: *b",
        "a: &a {b: *a}",
        "<<: 7",
        "? [a]\n: b",
        "*a : b",
    ):
        with pytest.raises(UsageError) as caught:
            build(text, "f.yaml", 10)
        assert caught.value.code == "invalid-input"
        assert caught.value.where.startswith("f.yaml:1")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")
def test_a_whole_platform_means_the_same() -> None:
    for file in sorted(SHARED.glob("*.yaml")):
        for text in re.split(r"(?m)^---[ \t]*", file.read_text()):
            expected = yaml.load(text, yaml.CSafeLoader)
            assert build(text, "x") == [known(value) for value in [expected] if value is not None]
