"""What isthmus.yaml adds, decides and waives, what is inside already, and what a lock takes."""

import pytest

from isthmus.errors import UsageError
from isthmus.inventory.config import Addition, Decided, PlatformSection, Waiver
from isthmus.inventory.model import Endpoint, Finding, Inventory, Item, Ref
from isthmus.inventory.settle import settle, to_lock
from isthmus.inventory.site_config import RegistrySection, SiteSection

SITE = SiteSection(domain="closed.internal", registry=RegistrySection(host="registry.other:5000"))


def refs(*names: str) -> Inventory:
    return Inventory(references=tuple(Ref(kind="image", name=name) for name in names))


def test_additions_are_normalised_and_say_where_they_come_from() -> None:
    platform = PlatformSection(add=(Addition(image="busybox:1.36", reason="debugging"),))
    (added,) = settle(Inventory(), platform).references
    assert added.name == "docker.io/library/busybox:1.36"
    assert added.findings[0].path == ".platform.add[0]"
    assert added.findings[0].note == "debugging"
    with pytest.raises(UsageError):
        settle(Inventory(), PlatformSection(add=(Addition(image="UPPER CASE"),)))


def test_the_longest_decision_wins() -> None:
    found = Inventory(endpoints=(Endpoint("https://a.example/x/y", "any"), Endpoint("https://b.example", "any")))
    decide = (Decided("https://a.example", "allow"), Decided("https://a.example/x", "disable"))
    endpoints = settle(found, PlatformSection(decide=decide)).endpoints
    assert [endpoint.decision for endpoint in endpoints] == ["disable", None]


def test_waived_items_are_listed_with_their_reason() -> None:
    found = Inventory(unresolved=(Item("chart x", "broken"), Item("chart y", "broken")))
    settled = settle(found, PlatformSection(waive=(Waiver("chart x*", "not used here"),)))
    assert [item.what for item in settled.unresolved] == ["chart y"]
    assert settled.statistics["waived"] == [{"what": "chart x", "reason": "not used here"}]


def test_what_is_inside_already_is_listed_apart_and_decided() -> None:
    names = (
        "registry.closed.internal/a/b:1",
        "registry.other:5000/c:1",
        "notclosed.internal/d:1",
        "quay.io/e/f:1",
    )
    found = refs(*names)
    endpoints = (Endpoint("https://acme.closed.internal/dir", "acme"), Endpoint("https://acme.example", "acme"))
    inventory = Inventory(references=found.references, endpoints=endpoints)
    settled = settle(inventory, PlatformSection(), site=SITE)
    assert [ref.name for ref in settled.references] == ["notclosed.internal/d:1", "quay.io/e/f:1"]
    assert settled.statistics["inside"] == sorted(names[:2])
    assert {endpoint.url: endpoint.decision for endpoint in settled.endpoints} == {
        "https://acme.closed.internal/dir": "internal",
        "https://acme.example": None,
    }


def test_a_lock_takes_what_is_needed_always_and_what_is_asked_for() -> None:
    def ref(name: str, confidence: str, when: str) -> Ref:
        finding = Finding("s", confidence=confidence, when=when)  # type: ignore[arg-type]
        return Ref(kind="image", name=name, findings=(finding,))

    inventory = Inventory(
        references=(
            ref("a", "certain", "always"),
            ref("b", "possible", "always"),
            ref("c", "likely", "conditional"),
            ref("d", "likely", "test"),
        )
    )
    assert [r.name for r in to_lock(inventory).references] == ["a"]
    assert [r.name for r in to_lock(inventory, ["conditional"]).references] == ["a", "c"]
    assert [r.name for r in to_lock(inventory, ["test", "possible"]).references] == ["a", "b", "d"]


def test_what_is_no_image_is_locked_unless_it_is_waived() -> None:
    inventory = Inventory(
        references=(Ref(kind="file", name="https://x.example/a.zip"), Ref(kind="image", name="a"))
    )
    selection = to_lock(inventory)
    assert [ref.name for ref in selection.references] == ["https://x.example/a.zip", "a"]
    left = to_lock(inventory, waivers=[Waiver("https://x.example/*", "on the file server")])
    assert [ref.name for ref in left.references] == ["a"]
