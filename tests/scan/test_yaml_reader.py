import pytest

from isthmus.errors import UsageError
from isthmus.scan.yaml_reader import parse_all, split


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("a: 1\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("---# Source: x\na: 1\n---#\nb: 2", [{"a": 1}, {"b": 2}]),
        ("--- # c\na: 1\n---\n---\n# nothing\n---\n", [{"a": 1}]),
        ("---\n  a: 1\n  b: 2\n", [{"a": 1, "b": 2}]),
        ("--- {a: 1}\n--- [1]", [{"a": 1}, [1]]),
        ("%YAML 1.2\n---\na: 1\n...\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("a: 1\n...\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("a: |\n  x\n  ---\n  y\nb: 2\n", [{"a": "x\n---\ny\n", "b": 2}]),
        ('{"a": "\\u00e9\\/"}', [{"a": "é/"}]),
        ("{a: 1, b: [x]}", [{"a": 1, "b": ["x"]}]),
        ('{"a": 1}\n---\n{"b": 2}', [{"a": 1}, {"b": 2}]),
        ("a: 1\r\n---\r\nb: 2\r\n", [{"a": 1}, {"b": 2}]),
        ("", []),
        ("null\n---\n~", []),
    ],
)
def test_streams(text: str, documents: list[object]) -> None:
    assert parse_all(text, "x") == documents


def test_lines_are_those_of_the_file() -> None:
    text = "a: 1\n---\n\n# c\nb: [\n---\nc: 1\n"
    assert [piece.line for piece in split(text)] == [1, 2, 6]
    with pytest.raises(UsageError) as caught:
        parse_all(text, "dir/f.yaml")
    assert caught.value.where in ("dir/f.yaml:5", "dir/f.yaml:6")
