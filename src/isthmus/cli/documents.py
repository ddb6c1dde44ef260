"""What `unpack` takes of the documents beside a bundle into the store's reports, verified.

Not here: the lock, which the signed manifest lists (`bundle.documents`).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.bundle import PublicKey
from isthmus.bundle.approval import RELEASE, subject_of
from isthmus.bundle.documents import put_report
from isthmus.bundle.medium import open_regular
from isthmus.cli.command import Run
from isthmus.errors import IsthmusError, VerificationError

if TYPE_CHECKING:
    from isthmus.report.model import Release


def take_release(
    run: Run, given: Sequence[Path], store: Path, bundle: str, keys: Sequence[PublicKey]
) -> list[str]:
    """Take the release document beside what was given, and its files; their paths. What is wrong is only said.

    Raises UnreachableError `io-failed` where the store cannot be written to.
    """
    places = dict.fromkeys(path if path.is_dir() else path.parent for path in given)
    for place in (place for place in places if (place / RELEASE).exists()):
        try:
            files = _verified(place, bundle, keys)
        except (IsthmusError, OSError) as error:
            why = error.message if isinstance(error, IsthmusError) else error.strerror
            run.note(f"{place / RELEASE} is not taken: {why}")
            continue
        return [str(put_report(store, bundle, name, data)) for name, data in sorted(files.items())]
    return []


def _verified(place: Path, bundle: str, keys: Sequence[PublicKey]) -> dict[str, bytes]:
    from isthmus import __version__
    from isthmus.report.changes import MAX_RELEASE, read_release
    from isthmus.report.checking import check_release
    from isthmus.report.page import release_page
    from isthmus.report.release import DOCUMENT, PAGE, SIGNATURE

    subject = subject_of(place)
    if subject.bundle != bundle:
        raise VerificationError("foreign-volume", "it is about another bundle")
    check_release(subject.document, subject.manifest, keys)
    release, digest = read_release(subject.document)
    with open_regular(subject.document) as file:
        raw = file.at(0, MAX_RELEASE)
    if hashlib.sha256(raw).hexdigest() != digest or release.bundle != bundle:
        raise VerificationError("digest-mismatch", "it changed while it was read")
    found = {DOCUMENT: raw, **_listed(place, release)}
    if release.tool == f"isthmus {__version__}":
        found[PAGE] = release_page(release, digest).encode()  # what the document says, whatever lies there
    if (place / SIGNATURE).exists():
        with open_regular(place / SIGNATURE) as file:
            found[SIGNATURE] = file.at(0, 64)
    return found


def _listed(place: Path, release: "Release") -> dict[str, bytes]:
    """The table and the SBOM, as far as they are there and what the document says of them."""
    from isthmus.report.release import SBOM, TABLE

    found = {}
    for listed in release.files:
        if listed.name not in (SBOM, TABLE) or not (place / listed.name).exists():
            continue
        with open_regular(place / listed.name) as file:
            data = file.at(0, listed.size + 1) if file.size == listed.size else b""
        if hashlib.sha256(data).hexdigest() != listed.sha256:
            raise VerificationError("digest-mismatch", f"{listed.name} is not the file that it lists")
        found[listed.name] = data
    return found
