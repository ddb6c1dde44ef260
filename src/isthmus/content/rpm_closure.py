"""Which packages of an RPM repository are needed: the named ones, and what provides what they require. Pure.

The newest version of a package is taken. Not here: what a node has besides (`installed` is given).
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cmp_to_key

import msgspec

from isthmus.content.rpm_metadata import Entry, Rpm

_SEGMENT = re.compile(r"[0-9]+|[A-Za-z]+|~|\^", re.ASCII)


class Closure(msgspec.Struct, frozen=True):
    """What is carried; names that are not in the repository; requirements that nothing in it fulfils."""

    packages: tuple[Rpm, ...]
    unknown: tuple[str, ...]
    elsewhere: tuple[str, ...]


def closure(
    packages: Iterable[Rpm], names: Sequence[str], arches: Collection[str], installed: Collection[str] = ()
) -> Closure:
    """The packages of these names (NAME, or NAME-VERSION[-RELEASE]) and all that they need.

    `installed` are capabilities that are there already, as `rpm -qa --provides` tells them, without versions.
    """
    by_name, offers = _tables(
        package for package in packages if package.arch in arches or package.arch == "noarch"
    )
    todo: list[Rpm] = []
    for name in names:
        found = by_name.get(name, ())
        todo += [max((one for one in found if one.arch == arch), key=_KEY) for arch in {one.arch for one in found}]
    chosen: dict[str, Rpm] = {}
    elsewhere: set[str] = set()
    while todo:
        package = todo.pop()
        if package.path in chosen:
            continue
        chosen[package.path] = package
        for entry in package.requires:
            if entry.name.startswith("rpmlib(") or entry.name in installed:
                continue
            provider = _provider(entry, offers.get(entry.name, ()), chosen)
            if provider is None:
                elsewhere.add(entry.name)
            else:
                todo.append(provider)
    return Closure(
        packages=tuple(sorted(chosen.values(), key=lambda one: one.path)),
        unknown=tuple(name for name in names if name not in by_name),
        elsewhere=tuple(sorted(elsewhere)),
    )


def _tables(packages: Iterable[Rpm]) -> tuple[dict[str, list[Rpm]], dict[str, list[tuple[Rpm, Entry]]]]:
    """Packages by what they may be called, and by what they provide."""
    by_name: dict[str, list[Rpm]] = defaultdict(list)
    offers: dict[str, list[tuple[Rpm, Entry]]] = defaultdict(list)
    for package in packages:
        for title in {package.name, f"{package.name}-{package.version[1]}", package.title.rpartition(".")[0]}:
            by_name[title].append(package)
        for entry in package.provides:
            offers[entry.name].append((package, entry))
        for path in package.files:
            offers[path].append((package, Entry(path)))
    return dict(by_name), dict(offers)


def _provider(wanted: Entry, offered: Iterable[tuple[Rpm, Entry]], chosen: Collection[str]) -> Rpm | None:
    fitting = [package for package, entry in offered if _fulfils(entry, wanted)]
    if not fitting:
        return None
    there = next((package for package in fitting if package.path in chosen), None)
    if there is not None:
        return there
    # What is called as it is required, then the shortest name, is what people mean; then the newest.
    first = min(fitting, key=lambda one: (one.name != wanted.name, len(one.name), one.name))
    return max((one for one in fitting if one.name == first.name), key=_KEY)


def _fulfils(offered: Entry, wanted: Entry) -> bool:
    if not wanted.flags or not offered.flags:
        return True
    order = compare(offered.version, wanted.version)
    return {
        "EQ": order == 0,
        "LT": order < 0,
        "LE": order <= 0,
        "GT": order > 0,
        "GE": order >= 0,
    }.get(wanted.flags, False)


def compare(one: tuple[str, str, str], other: tuple[str, str, str]) -> int:
    """-1, 0 or 1 for epoch, version and release, as rpm compares; a release that one lacks does not matter."""
    for index, (mine, yours) in enumerate(zip(one, other, strict=True)):
        if index == 0:
            mine, yours = mine or "0", yours or "0"
        elif index == 2 and (not mine or not yours):
            return 0
        order = _compare_text(mine, yours)
        if order:
            return order
    return 0


_KEY = cmp_to_key(lambda one, other: compare(one.version, other.version))  # type: ignore[attr-defined]


def _compare_text(one: str, other: str) -> int:
    """rpmvercmp: segments of digits or letters; `~` is before the end, `^` behind it."""
    mine, yours = _SEGMENT.findall(one[:200]), _SEGMENT.findall(other[:200])
    for left, right in zip(mine, yours, strict=False):
        if left == right:
            continue
        if "~" in (left, right):
            return -1 if left == "~" else 1
        if "^" in (left, right):
            return -1 if left == "^" else 1
        if left[0].isdigit() != right[0].isdigit():
            return 1 if left[0].isdigit() else -1
        if left[0].isdigit():
            numbers = (int(left), int(right))
            if numbers[0] != numbers[1]:
                return 1 if numbers[0] > numbers[1] else -1
            continue
        return 1 if left > right else -1
    if len(mine) == len(yours):
        return 0
    longer, sign = (mine, 1) if len(mine) > len(yours) else (yours, -1)
    return -sign if longer[min(len(mine), len(yours))] == "~" else sign
