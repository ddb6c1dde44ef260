"""Whether a release document can be believed, as far as that shows without opening what is carried.

Asked before somebody approves: is it signed by the bundle's maker, does it list just what the manifest lists, and
does the page that people read say what the document says? Not here: making any of them (`release`).
"""

from collections.abc import Sequence
from pathlib import Path

from isthmus import __version__
from isthmus.bundle import BundleManifest, PublicKey
from isthmus.bundle.keys import short_id
from isthmus.bundle.layout import Signature
from isthmus.bundle.medium import open_regular
from isthmus.errors import VerificationError
from isthmus.report.changes import MAX_RELEASE, read_release
from isthmus.report.model import Release
from isthmus.report.page import release_page
from isthmus.report.release import PAGE, SIGNATURE

_SIGNATURE_SIZE = 64


def check_release(document: Path, manifest: BundleManifest | None, keys: Sequence[PublicKey] = ()) -> list[str]:
    """Check a release.json, the page and the signature beside it; what could not be checked, in words.

    Raises VerificationError `unsigned` or `bad-signature` (with keys), `digest-mismatch` where the document is
    not about the manifest's contents, or the page not that of the document; UsageError `invalid-input`.
    """
    release, digest = read_release(document)
    if keys:
        _check_signature(document, keys)
    notes = [] if keys else ["nobody vouches for release.json; --key PUB asks for the maker's signature"]
    if manifest is None:
        notes.append("the bundle is not here: release.json was not compared with it")
    elif wrong := differences(release, manifest):
        raise VerificationError(
            "digest-mismatch",
            f"it does not list what the bundle carries: {wrong[0]}",
            where=str(document),
            items=wrong,
        )
    return [*notes, *_check_page(release, digest, document.with_name(PAGE))]


def differences(release: Release, manifest: BundleManifest) -> list[str]:
    """What a release says of a bundle's references and sizes that the manifest does not say."""
    held, blobs = manifest.held(), manifest.blobs
    carried = {
        (reference.name, str(reference.digest)): (
            sum(blobs[number].size for number in reference.blobs),
            sum(blobs[number].size for number in reference.blobs if number not in held),
        )
        for reference in manifest.references
    }
    said = {(item.name, item.digest): (item.size, item.carried) for item in release.items}
    found = [f"{name}@{digest} crosses and is not listed" for name, digest in sorted(carried.keys() - said.keys())]
    found += [
        f"{name}@{digest} is listed and does not cross" for name, digest in sorted(said.keys() - carried.keys())
    ]
    common = sorted(carried.keys() & said.keys())
    return found + [f"the size of {name} is another" for name, at in common if carried[name, at] != said[name, at]]


def _check_signature(document: Path, keys: Sequence[PublicKey]) -> None:
    place = document.with_name(SIGNATURE)
    if not place.exists():
        raise VerificationError("unsigned", f"{SIGNATURE} is not beside it", where=str(document))
    with open_regular(place) as file:
        value = file.at(0, _SIGNATURE_SIZE + 1)
    with open_regular(document) as file:
        raw = file.at(0, MAX_RELEASE)
    if not any(key.verifies(Signature(key.key_id, value), raw) for key in keys):
        names = ", ".join(short_id(key.key_id) for key in keys)
        raise VerificationError("bad-signature", f"it is not signed by {names}", where=str(document))


def _check_page(release: Release, digest: str, page: Path) -> list[str]:
    """The page follows from the document, so that a changed page is found without a digest of its own."""
    if not page.exists():
        return []
    if release.tool != f"isthmus {__version__}":
        return [f"{page} was made by {release.tool} and was not compared with release.json"]
    wanted = release_page(release, digest).encode()
    with open_regular(page) as file:
        if file.at(0, len(wanted) + 1) != wanted:
            raise VerificationError("digest-mismatch", "it does not show what release.json says", where=str(page))
    return []
