import random

from hypothesis import given
from hypothesis import strategies as st

from isthmus.inventory.merge import difference, merge, merge_inventories, things
from isthmus.inventory.model import Endpoint, Finding, Inventory, Item, Ref

FINDINGS = st.builds(
    Finding,
    source=st.sampled_from("ab"),
    path=st.sampled_from("xy"),
    confidence=st.sampled_from(["certain", "likely", "possible"]),
    when=st.sampled_from(["always", "conditional", "test"]),
)
THINGS = st.one_of(
    st.builds(
        Ref,
        kind=st.sampled_from(["image", "artifact"]),
        name=st.sampled_from("pqr"),
        as_written=st.tuples(st.sampled_from("pqr")),
        findings=st.tuples(FINDINGS),
    ),
    st.builds(
        Endpoint,
        url=st.sampled_from("pq"),
        purpose=st.sampled_from("mn"),
        findings=st.tuples(FINDINGS),
        decision=st.sampled_from([None, "internal", "allow"]),
        advice=st.sampled_from(["", "do", "no"]),
    ),
    st.builds(Item, what=st.sampled_from("pq"), why=st.sampled_from("mn"), finding=st.one_of(st.none(), FINDINGS)),
)


@given(st.lists(THINGS, max_size=12), st.randoms())
def test_the_order_and_repetition_do_not_matter(found: list[Ref | Endpoint | Item], chance: random.Random) -> None:
    once = merge(found)
    mixed = found * 2
    chance.shuffle(mixed)
    assert merge(mixed) == once
    assert merge(things(once)) == once
    assert merge_inventories([once, once]) == once


@given(st.lists(THINGS, max_size=12))
def test_nothing_is_lost_and_all_is_sorted(found: list[Ref | Endpoint | Item]) -> None:
    inventory = merge(found)
    assert {ref.key for ref in inventory.references} == {thing.key for thing in found if isinstance(thing, Ref)}
    assert [ref.key for ref in inventory.references] == sorted(ref.key for ref in inventory.references)
    given_findings = {(f, t.key) for t in found if isinstance(t, Ref) for f in t.findings}
    assert {(f, ref.key) for ref in inventory.references for f in ref.findings} == given_findings
    assert set(inventory.unresolved) == {thing for thing in found if isinstance(thing, Item)}


def test_the_surest_finding_counts() -> None:
    possible = Ref("image", "a", findings=(Finding("s", confidence="possible", when="test"),))
    certain = Ref("image", "a", findings=(Finding("s", confidence="certain", when="always"),))
    (ref,) = merge([possible, certain]).references
    assert (ref.confidence, ref.when, ref.is_locked) == ("certain", "always", True)
    assert not merge([possible]).references[0].is_locked


def test_statistics_add_up() -> None:
    one = Inventory(statistics={"documents": 2, "name": "x"})
    assert merge_inventories([one, one]).statistics == {"documents": 4, "name": "x"}


def test_differences() -> None:
    old = merge([Ref("image", "a"), Ref("image", "b")])
    new = merge([Ref("image", "b"), Ref("image", "c")])
    added, removed = difference(old, new)
    assert [ref.name for ref in added] == ["c"]
    assert [ref.name for ref in removed] == ["a"]
