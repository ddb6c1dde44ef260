"""How old things in a store are, of what becomes stale, and as numbers for Prometheus. Reads only.

Not here: what may become how old (`inventory.perishables`), and bringing newer ones (`isthmus refresh`).
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from isthmus.content.artifact import CREATED
from isthmus.content.derived import LIST_NAME
from isthmus.content.naming import stored_name
from isthmus.content.things import Thing, thing_of, things
from isthmus.content.times import seconds_since
from isthmus.errors import IsthmusError
from isthmus.oci import Digest
from isthmus.store import Store, StoredReference

MAX_LIST = 16 << 20
_Text = Annotated[str, msgspec.Meta(max_length=4096)]


class Age(msgspec.Struct, frozen=True):
    """One thing: its age and the greatest it may have, in seconds; an `age` of None is not known.

    `created` is when the publisher made it, `checked` when it was last known to be the newest.
    """

    kind: str
    name: str
    reference: str
    created: str
    checked: str
    age: int | None
    max_age: int
    stale: bool
    present: bool
    purpose: str = ""
    breaks: str = ""


class _Listed(msgspec.Struct, frozen=True):
    kind: _Text
    name: _Text
    reference: _Text
    digest: _Text
    max_age: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    created: _Text = ""
    checked: _Text = ""
    counts: _Text = "created"
    purpose: _Text = ""
    breaks: _Text = ""


class _List(msgspec.Struct, frozen=True):
    version: int
    things: tuple[_Listed, ...]


def ages(store: Store, now: datetime | None = None) -> tuple[Age, ...]:
    """Everything in the store that becomes stale, the stalest first.

    What the carried list names and the store does not have is stale as well.
    """
    moment = now or datetime.now(UTC)
    held = {stored.name: stored for stored in store.references()}
    found = [_listed(store, held, listed, moment) for listed in _read_list(store, held)]
    known = {age.reference for age in found}
    found += [_own(thing, moment) for thing in things(store) if thing.max_age and thing.reference not in known]
    return tuple(sorted(found, key=lambda age: (not age.stale, age.kind, age.name)))


def metrics(found: Iterable[Age]) -> Iterator[str]:
    """Lines of Prometheus' text format."""
    held = list(found)
    for name, help_text, value in (
        ("isthmus_perishable_age_seconds", "Age of carried data that becomes stale", lambda age: age.age),
        ("isthmus_perishable_max_age_seconds", "Greatest age of it that is accepted", lambda age: age.max_age),
        ("isthmus_perishable_stale", "Whether it is missing, or older than that", lambda age: int(age.stale)),
    ):
        lines = [
            f'{name}{{name="{_label(age.name)}",kind="{_label(age.kind)}"}} {value(age)}'
            for age in held
            if value(age) is not None
        ]
        if lines:
            yield f"# HELP {name} {help_text}."
            yield f"# TYPE {name} gauge"
            yield from lines


def _read_list(store: Store, held: dict[str, StoredReference]) -> tuple[_Listed, ...]:
    stored = held.get(stored_name("file", LIST_NAME))
    thing = thing_of(store, stored) if stored else None
    if thing is None or len(thing.layers) != 1 or thing.layers[0].size > MAX_LIST:
        return ()
    try:
        data = store.blobs.read(thing.layers[0].digest, MAX_LIST)
        return msgspec.json.decode(data, type=_List).things
    except (IsthmusError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()


def _listed(store: Store, held: dict[str, StoredReference], listed: _Listed, now: datetime) -> Age:
    stored = held.get(listed.reference)
    created, checked = listed.created, listed.checked
    if stored is not None and stored.descriptor.digest != listed.digest:
        created, checked = _told(store, stored.descriptor.digest), ""  # somebody brought another one meanwhile
    since = (checked or created) if listed.counts == "checked" else (created or checked)
    return _age(
        Thing(listed.kind, listed.name, listed.reference, Digest.of(b""), "", listed.max_age, created),  # type: ignore[arg-type]
        now,
        since=since,
        checked=checked,
        present=stored is not None,
        purpose=listed.purpose,
        breaks=listed.breaks,
    )


def _own(thing: Thing, now: datetime) -> Age:
    return _age(thing, now, since=thing.created, checked="", present=True)


def _age(
    thing: Thing, now: datetime, *, since: str, checked: str, present: bool, purpose: str = "", breaks: str = ""
) -> Age:
    age = seconds_since(since, now) if present else None
    return Age(
        kind=thing.kind,
        name=thing.name,
        reference=thing.reference,
        created=thing.created if present else "",
        checked=checked if present else "",
        age=age,
        max_age=thing.max_age,
        stale=not present or age is None or age > thing.max_age,
        present=present,
        purpose=purpose,
        breaks=breaks,
    )


def _told(store: Store, digest: Digest) -> str:
    try:
        return store.manifest_by_digest(digest).annotations.get(CREATED, "")
    except IsthmusError:
        return ""


def _label(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
