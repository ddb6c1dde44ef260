"""Makes the release document of a bundle, and its files: for people, for machines, for spreadsheets, as an SBOM.

The same plan, store, lock and options give the same bytes. Not here: writing files, and the page's looks (`page`).
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from isthmus import __version__
from isthmus.bundle import BundlePlan, SignedBy
from isthmus.bundle.shelf import BundleShelf
from isthmus.oci import Digest
from isthmus.progress import Progress
from isthmus.report.changes import Earlier, changed
from isthmus.report.contents import Mode, look_inside, summary
from isthmus.report.cyclonedx import cyclonedx
from isthmus.report.items import Evidence, describe
from isthmus.report.model import FORMAT, VERSION, Contents, File, Release
from isthmus.report.tables import release_csv
from isthmus.report.totals import totals
from isthmus.store import Store

PAGE: Final = "release.html"
DOCUMENT: Final = "release.json"
TABLE: Final = "release.csv"
SBOM: Final = "sbom.cdx.json"
SIGNATURE: Final = "release.sig"


class Asked(msgspec.Struct, frozen=True):
    """What is known beside the bundle. `cache` is where facts about layers are remembered, None for nowhere."""

    evidence: Evidence = {}
    signers: tuple[SignedBy, ...] = ()
    before: Earlier | None = None
    mode: Mode = "full"
    cache: Path | None = None
    keys: tuple[str, ...] = ()


def make_release(
    plan: BundlePlan, store: Store, asked: Asked, progress: Progress | None = None
) -> tuple[Release, dict[str, bytes]]:
    """The release document and all of its files by name. Progress counts bytes of layers that are read.

    What cannot be read is said in the document: a release is made of what there is. Raises UsageError.
    """
    manifest = plan.manifest
    shelf = BundleShelf(manifest, lambda number: _path(store, manifest.blobs[number].digest))
    described = [describe(shelf, reference, asked.evidence, asked.signers) for reference in manifest.references]
    inside = look_inside(shelf, described, asked.mode, asked.cache, progress)
    items, removed = changed((each.item for each in inside), asked.before)
    release = Release(
        format=FORMAT,
        version=VERSION,
        bundle=plan.bundle,
        name=manifest.name,
        tool=f"isthmus {__version__}",
        created=manifest.created,
        sequence=manifest.sequence,
        expires=manifest.expires,
        signers=asked.keys,
        volumes=len(manifest.volumes),
        update=manifest.baseline is not None,
        previous=asked.before.previous if asked.before else None,
        totals=totals(manifest, items),
        contents=summary(inside, asked.mode) if asked.mode != "none" else Contents("none"),
        items=items,
        removed=removed,
        files=(),
    )
    files = {TABLE: release_csv(release)}
    if asked.mode != "none":
        files[SBOM] = cyclonedx(plan.bundle, manifest.name, manifest.created, inside)
    release = msgspec.structs.replace(release, files=_listed(files))
    return release, files | written(release)


def written(release: Release) -> dict[str, bytes]:
    """The document and its page; the page names the document by its digest."""
    from isthmus.report.page import release_page

    raw = msgspec.json.format(msgspec.json.encode(release, order="sorted"), indent=1) + b"\n"
    return {DOCUMENT: raw, PAGE: release_page(release, hashlib.sha256(raw).hexdigest()).encode()}


def _listed(files: Mapping[str, bytes]) -> tuple[File, ...]:
    return tuple(File(name, len(files[name]), hashlib.sha256(files[name]).hexdigest()) for name in sorted(files))


def _path(store: Store, digest: Digest) -> Path | None:
    return store.blob_path(digest) if store.blob_size(digest) is not None else None
