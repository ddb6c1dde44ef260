"""Lists of what is held: what a viewer may see of a snapshot, searched, narrowed, grouped and cut into pages."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import urlencode

from isthmus.serve.console.gate import Viewer
from isthmus.serve.console.holdings import Row, Snapshot
from isthmus.serve.facts import KINDS

PAGE = 50
"""Rows of a page."""

MAX_QUERY = 200
_T = TypeVar("_T")


@dataclass(frozen=True)
class Page(Generic[_T]):
    """One page of a list. `number` counts from 1; `link` makes the address of another one."""

    items: tuple[_T, ...]
    number: int
    pages: int
    total: int
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """The number of the first item, from 1; 0 where there is none."""
        return (self.number - 1) * PAGE + 1 if self.items else 0

    @property
    def last(self) -> int:
        """The number of the last item."""
        return (self.number - 1) * PAGE + len(self.items)

    def link(self, number: int) -> str:
        """The address of a page."""
        query = {key: value for key, value in self.query.items() if value}
        if number > 1:
            query["page"] = str(number)
        return f"{self.path}?{urlencode(query)}" if query else self.path


def page_of(items: Sequence[_T], number: str, path: str, query: Mapping[str, str] | None = None) -> Page[_T]:
    """The page that is asked for, or the nearest there is."""
    pages = max(1, -(-len(items) // PAGE))
    wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 9 else 1
    current = min(max(wanted, 1), pages)
    start = (current - 1) * PAGE
    return Page(tuple(items[start : start + PAGE]), current, pages, len(items), path, query or {})


@dataclass(frozen=True)
class Group:
    """An upstream host or a component; `size` in bytes, each blob once in it, None while it is counted."""

    name: str
    count: int
    size: int | None
    share: float = 0.0


@dataclass(frozen=True)
class Filter:
    """What a list is narrowed to; empty means everything."""

    text: str = ""
    kind: str = ""
    host: str = ""
    component: str = ""

    @property
    def query(self) -> dict[str, str]:
        """As the fields of an address."""
        return {"q": self.text, "kind": self.kind, "host": self.host, "component": self.component}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left out."""
        return not any(self.query.values())


def parse_filter(query: Mapping[str, str]) -> Filter:
    """From an address. An unknown kind is none."""
    text = " ".join(query.get("q", "")[:MAX_QUERY].split())
    kind = query.get("kind", "")
    return Filter(
        text, kind if kind in KINDS else "", query.get("host", "")[:260], query.get("component", "")[:MAX_QUERY]
    )


def visible(snapshot: Snapshot, viewer: Viewer) -> tuple[Row, ...]:
    """The rows that a viewer may see."""
    if viewer.sees_all:
        return snapshot.rows
    return tuple(row for row in snapshot.rows if viewer.may_see(row.repository))


def narrowed(rows: Iterable[Row], wanted: Filter) -> list[Row]:
    """The rows that hold every word of the text, whole names that begin with it first."""
    words = wanted.text.lower().split()
    found = [
        row
        for row in rows
        if all(word in row.text for word in words)
        and (not wanted.kind or row.kind == wanted.kind)
        and (not wanted.host or row.host == wanted.host)
        and (not wanted.component or wanted.component in row.components)
    ]
    if words:
        found.sort(key=lambda row: (_rank(row, words[0]), row.shown))
    return found


def _rank(row: Row, word: str) -> int:
    """An image that is called so counts more than one whose path or evidence has the word somewhere."""
    last = row.repository.rpartition("/")[2]
    return 0 if last == word else 1 if last.startswith(word) else 2 if word in row.name.lower() else 3


def by_host(snapshot: Snapshot, rows: Sequence[Row], viewer: Viewer) -> list[Group]:
    """Upstream hosts, the largest first."""
    known = snapshot.by_host if viewer.sees_all else {}
    return _groups(rows, lambda row: (row.host,), known)


def by_component(snapshot: Snapshot, rows: Sequence[Row], viewer: Viewer) -> list[Group]:
    """Components of the platform as the lock's evidence has them, the largest first."""
    known = snapshot.by_component if viewer.sees_all else {}
    return _groups(rows, lambda row: row.components, known)


def by_kind(rows: Sequence[Row]) -> list[Group]:
    """Kinds, in their own order; the sizes add up references, whatever they share."""
    found = {group.name: group for group in _groups(rows, lambda row: (row.kind,), {})}
    return [found[kind] for kind in KINDS if kind in found]


def _groups(rows: Sequence[Row], names: Callable[[Row], tuple[str, ...]], known: Mapping[str, int]) -> list[Group]:
    counts: dict[str, int] = {}
    sums: dict[str, int | None] = {}
    for row in rows:
        for name in names(row):
            counts[name] = counts.get(name, 0) + 1
            before = sums.get(name, 0)
            sums[name] = None if before is None or row.size is None else before + row.size
    groups = [Group(name, count, known.get(name, sums[name])) for name, count in counts.items()]
    largest = max((group.size or 0 for group in groups), default=0) or 1
    shared = [Group(one.name, one.count, one.size, round((one.size or 0) / largest * 100, 1)) for one in groups]
    return sorted(shared, key=lambda group: (-(group.size or 0), group.name))
