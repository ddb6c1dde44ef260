"""Which of the given files are volumes of one bundle, which are damaged or foreign, and which are missing.

Everything but the payloads is checked here, for all files, before anybody writes anything. Not here: the
payloads (`verifying`, `unpacking`).
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.bundle.beside import SUFFIX, manifest_beside
from isthmus.bundle.keys import PublicKey, short_id, verified_by
from isthmus.bundle.manifest import BundleManifest, bundle_id
from isthmus.bundle.medium import read_failed
from isthmus.bundle.problems import MissingVolume, Problem
from isthmus.bundle.trust import refused
from isthmus.bundle.volume import Contents, Inspection, KnownContents, Volume, inspect
from isthmus.errors import UsageError


@dataclass(slots=True)
class VolumeSet:
    """What was given. `contents` is None where not one manifest could be read."""

    contents: Contents | None
    volumes: dict[int, Volume] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    missing: list[MissingVolume] = field(default_factory=list)
    signed_by: str | None = None
    claimed_by: tuple[str, ...] = ()

    @property
    def in_order(self) -> list[Volume]:
        """The intact volumes by number."""
        return [self.volumes[number] for number in sorted(self.volumes)]


def gather(paths: Iterable[str | os.PathLike[str]], public_keys: Sequence[PublicKey]) -> VolumeSet:
    """Look at every file; directories stand for the volumes in them.

    Raises UsageError (`file-not-found`, `invalid-input`) for what is no volume at all or of a later version,
    UnreachableError `io-failed`. Damaged and foreign volumes, and bad signatures, become problems.
    """
    known = KnownContents()
    inspections = [inspect(path, known) for path in list_volumes(paths)]
    for inspection in inspections:
        if isinstance(inspection.error, UsageError):
            raise inspection.error
    chosen = _choose(inspections)
    result = VolumeSet(chosen)
    hint = chosen or manifest_beside(inspections[0].path)
    manifest = hint.manifest if hint else None
    bad: list[tuple[Inspection, Problem]] = []
    for inspection in inspections:
        problem = _problem(inspection, chosen, manifest, public_keys)
        if problem is not None:
            bad.append((inspection, problem))
        elif inspection.volume is not None:
            result.volumes.setdefault(inspection.volume.number, inspection.volume)
    # A damaged copy of a volume that was also given intact does no harm.
    result.problems = [p for _, p in bad if p.code == "foreign-volume" or p.volume not in result.volumes]
    if chosen:
        complete_set(result, chosen, public_keys)
    return result


def complete_set(result: VolumeSet, chosen: Contents, public_keys: Sequence[PublicKey]) -> None:
    """Note what is missing, and whose signatures there are, once all volumes are known."""
    _note_missing(result, chosen.manifest)
    _note_signatures(result, chosen, public_keys)


def list_volumes(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The volume files that paths mean, each once. Raises UsageError `file-not-found` where there is none."""
    found: dict[str, Path] = {}
    given = [Path(path) for path in paths]
    for path in given:
        try:
            inside = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        except OSError as error:
            raise read_failed(error, path) from error
        for file in inside:
            found.setdefault(os.path.realpath(file), file)
    if not found:
        places = ", ".join(str(path) for path in given[:5])
        raise UsageError(
            "file-not-found", f"there is no volume (NAME-0001{SUFFIX}) in what was given", where=places
        )
    return list(found.values())


def _choose(inspections: Sequence[Inspection]) -> Contents | None:
    """The bundle that most of the files belong to; `manifest.json` beside them decides between equals."""
    votes = Counter(
        inspection.header.bundle for inspection in inspections if inspection.header and inspection.contents
    )
    if not votes:
        return None
    by_id = {bundle_id(i.contents.raw): i.contents for i in inspections if i.contents}
    most = max(votes.values())
    equals = [bundle for bundle in votes if votes[bundle] == most]
    if len(equals) > 1:
        beside = (manifest_beside(inspection.path) for inspection in inspections)
        named = next((bundle_id(contents.raw) for contents in beside if contents), equals[0])
        return by_id[named if named in equals else equals[0]]
    return by_id[equals[0]]


def _problem(
    inspection: Inspection,
    chosen: Contents | None,
    manifest: BundleManifest | None,
    public_keys: Sequence[PublicKey],
) -> Problem | None:
    number = _number(inspection, manifest)
    affected: tuple[str, ...] = ()
    if manifest and number and number <= len(manifest.volumes):
        affected = manifest.affected_by_volume(number)
    file = str(inspection.path)
    header = inspection.header
    if header and chosen and header.bundle != bundle_id(chosen.raw):
        why = f"it belongs to another bundle ({header.bundle.hex()[:16]})"
        return Problem(number, file, "foreign-volume", why, affected)
    if inspection.volume is None:
        assert inspection.error is not None
        return Problem(number, file, inspection.error.code, inspection.error.message, affected)
    why_not = refused(inspection.volume, public_keys)
    return Problem(number, file, *why_not, affected) if why_not else None


def _number(inspection: Inspection, manifest: BundleManifest | None) -> int | None:
    if inspection.header:
        return inspection.header.volume
    if manifest:
        for number in range(1, len(manifest.volumes) + 1):
            if manifest.file_name(number) == inspection.path.name:
                return number
    return None


def _note_missing(result: VolumeSet, manifest: BundleManifest) -> None:
    here = set(result.volumes) | {p.volume for p in result.problems if p.code != "foreign-volume"}
    for number, table in enumerate(manifest.volumes, 1):
        if number not in here:
            name, affected = manifest.file_name(number), manifest.affected_by_volume(number)
            result.missing.append(MissingVolume(number, name, table.size, affected))


def _note_signatures(result: VolumeSet, chosen: Contents, public_keys: Sequence[PublicKey]) -> None:
    signatures = [signature for volume in result.in_order for signature in volume.header.signatures]
    result.claimed_by = tuple(dict.fromkeys(short_id(signature.key_id) for signature in signatures))
    key = verified_by(dict.fromkeys(signatures), chosen.raw, public_keys)
    result.signed_by = str(key) if key else None
