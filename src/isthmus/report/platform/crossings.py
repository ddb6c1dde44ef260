"""What crossed, when, and who approved it: from the site's history and the documents beside bundles. Reads only.

Not here: making any of these (`bundle`, `report.release`).
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from isthmus.bundle import PublicKey
from isthmus.bundle.approval import beside, judge
from isthmus.bundle.history import ReceivedBundle
from isthmus.errors import IsthmusError
from isthmus.report.changes import read_release
from isthmus.report.model import Release
from isthmus.report.platform.model import ApprovalSeen, Crossing

RELEASE = "release.json"


def crossings(
    received: Iterable[ReceivedBundle],
    places: Iterable[Path],
    keys: Sequence[PublicKey] = (),
    kept: Iterable[Path] = (),
) -> tuple[Crossing, ...]:
    """One for each bundle that came in, or has a release.json in a place or directly below; the oldest first.

    Approvals are verified with `keys`; without, they are said to be unchecked. `kept` are places that others fill:
    what cannot be read there is left out; of `places` it raises as `read_release`.
    """
    found: dict[str, Crossing] = {}
    for place in sorted(_with_release(kept)):
        with suppress(IsthmusError):
            release, _ = read_release(place / RELEASE)
            found[release.bundle] = _of_release(release, place, keys)
    for place in sorted(_with_release(places)):
        release, _ = read_release(place / RELEASE)
        crossing = _of_release(release, place, keys)
        found[crossing.bundle] = crossing
    for bundle in received:
        found[bundle.bundle] = _of_history(bundle, found.get(bundle.bundle))
    return tuple(
        sorted(found.values(), key=lambda crossing: (crossing.sequence or 0, crossing.moment, crossing.bundle))
    )


def _with_release(places: Iterable[Path]) -> set[Path]:
    found = set()
    for place in places:
        directory = place.parent if place.name == RELEASE else place
        below = sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
        found |= {path for path in (directory, *below) if (path / RELEASE).is_file()}
    return found


def _of_release(release: Release, place: Path, keys: Sequence[PublicKey]) -> Crossing:
    changes = [item.change for item in release.items]
    return Crossing(
        bundle=release.bundle,
        name=release.name,
        sequence=release.sequence,
        created=release.created or "",
        bytes=release.totals.all.carried,
        total=release.totals.all.size,
        references=len(release.items),
        new=changes.count("new"),
        changed=changes.count("changed") + changes.count("renamed"),
        removed=len(release.removed),
        signed_by=release.signers,
        approvals=_approvals(place, release.bundle, keys),
    )


def _of_history(bundle: ReceivedBundle, known: Crossing | None) -> Crossing:
    if known is not None:
        return msgspec.structs.replace(known, received=bundle.at)
    signers = (bundle.signed_by,) if bundle.signed_by else tuple(f"{key} (unchecked)" for key in bundle.claimed_by)
    return Crossing(
        bundle=bundle.bundle,
        name=bundle.name,
        sequence=bundle.sequence,
        created=bundle.created or "",
        received=bundle.at,
        bytes=bundle.bytes,
        total=bundle.bytes,
        references=bundle.references,
        signed_by=signers,
    )


def _approvals(place: Path, bundle: str, keys: Sequence[PublicKey]) -> tuple[ApprovalSeen, ...]:
    try:
        given = judge(beside([place]), bundle, keys)
    except IsthmusError as error:
        return (ApprovalSeen("", "", "", "", f"it cannot be read: {error.message}"),)
    return tuple(
        ApprovalSeen(
            name=each.approval.statement.name,
            time=each.approval.statement.time,
            comment=each.approval.statement.comment,
            key=each.approval.key[:16],
            result=each.fault or ("verified" if each.approver else "unchecked"),
        )
        for each in given
    )
