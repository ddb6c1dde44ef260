"""Sums over what crosses, in which every blob counts once. Not here: the items themselves."""

from collections.abc import Callable, Iterable, Sequence

from isthmus.bundle.manifest import BundleManifest, CarriedReference
from isthmus.report.model import Item, Total, Totals

_Pair = tuple[Item, CarriedReference]


def totals(manifest: BundleManifest, items: Sequence[Item]) -> Totals:
    """The sums; `items` are in the order of the manifest's references."""
    pairs = list(zip(items, manifest.references, strict=True))
    return Totals(
        all=_total("all", pairs, manifest),
        by_kind=_by(pairs, manifest, lambda item: [item.kind]),
        by_host=_by(pairs, manifest, lambda item: [item.host]),
        by_component=_by(pairs, manifest, lambda item: item.components),
    )


def _by(
    pairs: Iterable[_Pair], manifest: BundleManifest, names: Callable[[Item], Iterable[str]]
) -> tuple[Total, ...]:
    groups: dict[str, list[_Pair]] = {}
    for pair in pairs:
        for name in names(pair[0]):
            groups.setdefault(name, []).append(pair)
    found = [_total(name, group, manifest) for name, group in groups.items()]
    return tuple(sorted(found, key=lambda total: (-total.size, total.name)))


def _total(name: str, pairs: Sequence[_Pair], manifest: BundleManifest) -> Total:
    blobs, held = {number for _, reference in pairs for number in reference.blobs}, manifest.held()
    return Total(
        name=name,
        items=len(pairs),
        size=sum(manifest.blobs[number].size for number in blobs),
        carried=sum(manifest.blobs[number].size for number in blobs if number not in held),
    )
