"""The fast reader of locks gives what the YAML parser gives, or leaves the text to it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.inventory import lock, lock_text
from isthmus.inventory.lock import Lock, LockedContent, LockedReferrer, LockEntry, format_lock
from isthmus.inventory.yaml_builder import build
from isthmus.oci import Digest

HEADER = lock._HEADER  # the form is between these two modules
DIGESTS = st.integers(0, 2**64).map(lambda number: Digest(f"sha256:{number:064x}"))
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.from_regex(r"[A-Za-z0-9/:._ #'\"-]{0,12}", fullmatch=True),
    st.sampled_from(["yes", "Null", "~", "1", "0x1", "1e3", "a: b", "- a", "[]", "registry.k8s.io/pause:3.10"]),
)
WORDS = st.lists(TEXTS, max_size=2).map(tuple)
NUMBERS = st.integers(0, 2**63 - 1)
ENTRIES = st.builds(
    LockEntry,
    kind=st.sampled_from(["image", "file", "chart"]),
    name=TEXTS,
    digest=DIGESTS,
    media_type=TEXTS,
    size=NUMBERS,
    platforms=WORDS,
    referrers=st.lists(st.builds(LockedReferrer, DIGESTS, TEXTS, TEXTS, NUMBERS), max_size=2).map(tuple),
    evidence=WORDS,
    reference=TEXTS,
    max_age=NUMBERS,
    verified_by=WORDS,
    contents=st.lists(st.builds(LockedContent, TEXTS, DIGESTS, NUMBERS, TEXTS), max_size=2).map(tuple),
    children=st.lists(DIGESTS, max_size=2).map(tuple),
)
LOCKS = st.builds(Lock, platforms=WORDS, references=st.lists(ENTRIES, max_size=3).map(tuple))


@given(LOCKS)
def test_what_is_written_is_read_as_yaml_is(given_lock: Lock) -> None:
    text = format_lock(given_lock)
    found = lock_text.read(text, HEADER)
    if "\\u0000" not in text and "\\ud" not in text:
        assert found is not None
    assert found is None or found == build(text, "")[0]


@st.composite
def nearly_locks(draw: st.DrawFn) -> str:
    lines = format_lock(draw(LOCKS)).removeprefix(HEADER).split("\n")
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["drop", "repeat", "move", "indent", "cut", "put", "other"]))
        line = lines[place]
        if change == "drop":
            del lines[place]
        elif change in ("repeat", "move"):
            lines.insert(draw(st.integers(0, len(lines))), line)
            if change == "move":
                lines.remove(line)
        elif change == "indent":
            lines[place] = draw(st.sampled_from(["  " + line, line[2:], "- " + line, line[1:], " " + line]))
        elif change == "cut":
            lines[place] = line[: draw(st.integers(0, len(line)))]
        elif change == "put":
            at = draw(st.integers(0, len(line)))
            lines[place] = (
                line[:at] + draw(st.text(" :-#'\"[]{}&*!|>%@,\t\\y0~\r\x85é\x00", max_size=2)) + line[at:]
            )
        else:
            lines[place] = draw(st.sampled_from(["  ", "[]"])) + draw(TEXTS)
        lines = lines or [""]
    return HEADER + "\n".join(lines)


@settings(max_examples=400)
@given(nearly_locks())
def test_what_was_changed_is_read_as_yaml_is_or_left_to_it(text: str) -> None:
    found = lock_text.read(text, HEADER)
    if found is not None:
        assert found == build(text, "")[0]


@pytest.mark.parametrize(
    "body",
    [
        "", "version: 1", "version: 1\nreferences:\n", "version: 1\nversion: 1\n", "  version: 1\n",
        "- kind: image\n",
        "references:\n- kind: image\n- text\n", "platforms:\n- a\n- kind: b\n",
        "version: 1\nother: 2\n", "size: 01\n",
        "references:\n- kind: image\n  evidence:\n  name: x\n  - y\n", "name: yes\n", 'name: "\\ud83d\\ude00"\n',
        "version: 1\n\n", "version: 1 \n", "version:  1\n", "version: 1\n...\n", "version: 1\n# said\n",
    ],
)  # fmt: skip
def test_any_other_form_is_left_to_the_yaml_parser(body: str) -> None:
    assert body == "" or lock_text.read(HEADER + body, HEADER) is None


def test_the_errors_are_the_same() -> None:
    for body in ("version: 2\n", "version: 1\nname: x\n", "version: 1\nreferences:\n- kind: other\n"):
        said = []
        for text in (HEADER + body, "# by hand\n" + body):
            with pytest.raises(UsageError) as caught:
                lock.parse_lock(text.encode())
            said.append((caught.value.code, caught.value.message))
        assert said[0] == said[1]
