"""HTML pages from templates: one file each, nothing loaded from anywhere, no script.

`render` is for any report; `release_page` is that of a release. Not here: the templates, which are in `templates`.
"""

from collections import Counter
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from isthmus.report import charts, words
from isthmus.report.model import Item, Release, Signed

_ATTACHMENTS: Final = ("signature", "attestation", "sbom")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("isthmus.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(bar=charts.bar, stack=charts.stack, columns=charts.columns)
    environment.filters.update(
        size=words.size,
        number=words.number,
        plural=words.plural,
        short=words.short,
        when=words.when,
        place=words.place,
    )
    return environment


def render(template: str, **values: Any) -> str:
    """A page from a template of this room, everything escaped."""
    return _environment().get_template(template).render(**values)


def release_page(release: Release, digest: str) -> str:
    """The page of a release; `digest` is the SHA-256 of its release.json."""
    things = [item for item in release.items if item.kind not in _ATTACHMENTS]
    images = [item for item in things if item.kind == "image"]
    return render(
        "release.html.j2",
        release=release,
        digest=digest,
        things=things,
        attached=[item for item in release.items if item.kind in _ATTACHMENTS],
        images=images,
        signed=[item for item in images if signing(item)[0] == "good"],
        carries=[item for item in images if any(each.kind == "signature" for each in item.signatures)],
        changes=Counter(item.change for item in things),
        changed=[item for item in things if item.change not in ("", "same")],
        removed=[gone for gone in release.removed if gone.kind not in _ATTACHMENTS],
        signing=signing,
        headline=headline,
        noted=[item for item in release.items if item.notes],
        attestations=[(item, each) for item in things for each in item.signatures if each.kind == "attestation"],
    )


def headline(item: Item) -> str:
    """What people call a thing: where it came from, for what a store keeps under a name of its own."""
    return item.title if item.kind in ("file", "git", "packages") and item.title else item.name


def signing(item: Item) -> tuple[str, tuple[str, str]]:
    """How an image is signed: a tone (good, bad, open), a word, and the key."""
    found: list[Signed] = [
        each for each in item.signatures if each.kind == "signature" and each.about == item.digest
    ]
    if good := [each for each in found if each.result == "verified"]:
        return "good", ("verified", good[0].key)
    if any(each.result == "failed" for each in found):
        return "bad", ("not verified", "by none of the given keys")
    if found:
        return "open", ("signed", "not checked")
    return "open", ("not signed", "")
