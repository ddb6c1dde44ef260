"""`approval.json`: that somebody has looked at what crosses and lets it pass, signed apart from the bundle.

Each approval names one bundle by its id and, where there is one, one release document by its SHA-256. The
signature is over the canonical approval without `key` and `signature`. Not here: who must approve (`demands`).
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec

from isthmus.bundle.beside import SUFFIX, replace
from isthmus.bundle.keys import PublicKey, SigningKey
from isthmus.bundle.layout import Signature
from isthmus.bundle.manifest import MAX_MANIFEST, BundleManifest, bundle_id, canonical
from isthmus.bundle.medium import open_regular
from isthmus.bundle.planning import created_time
from isthmus.bundle.volume import Contents, KnownContents, open_volume
from isthmus.errors import IsthmusError, UsageError, VerificationError

FORMAT: Final = "isthmus-approval"
VERSION: Final = 1
FILE: Final = "approval.json"
MANIFEST: Final = "manifest.json"
RELEASE: Final = "release.json"
_MAX_FILE: Final = 1024 * 1024
_MAX_RELEASE: Final = 512 * 1024 * 1024
_MOST: Final = 64
_AT_ONCE: Final = 1024 * 1024

_Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Hex64 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{128}$")]
_Text = Annotated[str, msgspec.Meta(max_length=2000)]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is signed. `bundle` is the bundle's id, `release` the SHA-256 of release.json, `time` is UTC."""

    bundle: _Hex32
    release: _Hex32 | None
    time: Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
    name: _Text
    comment: _Text
    format: str
    version: int


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A statement with the id of the key that signed it, and the signature, both in hexadecimal."""

    statement: Statement
    key: _Hex32
    signature: _Hex64

    def made_by(self, key: PublicKey) -> bool:
        """Whether this key signed it as it is."""
        signature = Signature(bytes.fromhex(self.key), bytes.fromhex(self.signature))
        return key.verifies(signature, canonical(self.statement))


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    approvals: Annotated[tuple[Approval, ...], msgspec.Meta(max_length=_MOST)]
    format: str
    version: int


class Subject(msgspec.Struct, frozen=True):
    """What is to be approved: a bundle's id, the SHA-256 of its release document, and where they are.

    `manifest` is the bundle's, where the bundle itself is there.
    """

    bundle: str
    release: str | None
    place: Path
    document: Path
    manifest: BundleManifest | None = None


def subject_of(path: str | os.PathLike[str]) -> Subject:
    """What a directory with a bundle, one of its volumes, or its release.json stands for.

    Raises UsageError `file-not-found`, `invalid-input`, and VerificationError `foreign-volume` where release.json
    speaks of another bundle than the one beside it.
    """
    given = Path(path)
    place = given if given.is_dir() else given.parent
    document = given if given.suffix == ".json" and given.name != MANIFEST else place / RELEASE
    stated, digest = _release(document) if document.exists() or document == given else (None, None)
    contents = None if document == given and not any(place.glob(f"*{SUFFIX}")) else _bundle(given, place)
    carried = bundle_id(contents.raw).hex() if contents else None
    if carried and stated and carried != stated:
        why = f"it is about bundle {stated[:16]}…, and beside it is {carried[:16]}…"
        raise VerificationError("foreign-volume", why, where=str(document))
    bundle = carried or stated
    if bundle is None:
        raise UsageError("file-not-found", "there is neither a bundle nor its release.json", where=str(given))
    return Subject(bundle, digest, place, document, contents.manifest if contents else None)


def _bundle(given: Path, place: Path) -> Contents | None:
    """What the bundle whose volume or manifest is here holds."""
    volumes = [given] if given.suffix == SUFFIX else sorted(place.glob(f"*{SUFFIX}"))
    if volumes:
        return open_volume(volumes[0]).contents
    if (place / MANIFEST).exists():
        with open_regular(place / MANIFEST) as file:
            return KnownContents().decode(file.at(0, MAX_MANIFEST + 1))
    return None


class _Release(msgspec.Struct, frozen=True):
    bundle: _Hex32
    format: str


def _release(path: Path) -> tuple[str, str]:
    """The bundle that a release document is about, and the document's SHA-256."""
    with open_regular(path) as file:
        if file.size > _MAX_RELEASE:
            raise UsageError("invalid-input", f"it is larger than {_MAX_RELEASE} bytes", where=str(path))
        data = file.at(0, file.size)
    try:
        found = msgspec.json.decode(data, type=_Release)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(
            "invalid-input", f"not a release document: {str(error)[:200]}", where=str(path)
        ) from error
    if found.format != "isthmus-release":
        raise UsageError("invalid-input", "not a release document", where=str(path))
    return found.bundle, hashlib.sha256(data).hexdigest()


def approve(subject: Subject, key: SigningKey, name: str = "", comment: str = "") -> Approval:
    """Sign that this may cross, now (or at SOURCE_DATE_EPOCH). Raises UsageError `wrong-usage` for long texts."""
    for text in (name, comment):
        if len(text) > 2000:
            raise UsageError("wrong-usage", "a name or comment has at most 2000 characters")
    time = created_time() or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    statement = Statement(subject.bundle, subject.release, time, name, comment, FORMAT, VERSION)
    signature = key.sign(canonical(statement))
    return Approval(statement, signature.key_id.hex(), signature.value.hex())


def add_approval(path: Path, approval: Approval) -> int:
    """Put an approval into the file, in the place of an earlier one by the same key; how many there are then.

    Raises UsageError `file-exists` where the file is about another bundle, `invalid-input`, `io-failed`.
    """
    others = read_approvals(path) if path.exists() else ()
    if any(other.statement.bundle != approval.statement.bundle for other in others):
        raise UsageError("file-exists", "it approves another bundle", where=str(path), hint="give another --out")
    kept = (*(other for other in others if other.key != approval.key), approval)
    if len(kept) > _MOST:
        raise UsageError("wrong-usage", f"there are {_MOST} approvals already", where=str(path))
    raw = msgspec.json.encode(
        _File(tuple(sorted(kept, key=lambda each: each.key)), FORMAT, VERSION), order="sorted"
    )
    replace(path, msgspec.json.format(raw, indent=2) + b"\n", durable=True)
    return len(kept)


def read_approvals(path: Path) -> tuple[Approval, ...]:
    """The approvals in a file, not verified. Raises UsageError `file-not-found`, `invalid-input`."""
    with open_regular(path) as file:
        data = file.at(0, _MAX_FILE + 1)
    try:
        if len(data) > _MAX_FILE:
            raise ValueError(f"it is larger than {_MAX_FILE} bytes")
        found = msgspec.json.decode(data, type=_File)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise UsageError("invalid-input", f"not an approval: {str(error)[:200]}", where=str(path)) from error
    marks = {(found.format, found.version)} | {(a.statement.format, a.statement.version) for a in found.approvals}
    if marks != {(FORMAT, VERSION)}:
        raise UsageError("invalid-input", "it is an approval of another format or version", where=str(path))
    return found.approvals


def beside(paths: Iterable[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """The approvals that lie with these volumes or directories of volumes: `approval.json`, `approval-*.json`."""
    places = {(Path(path) if Path(path).is_dir() else Path(path).parent): None for path in paths}
    return tuple(
        file
        for place in places
        for file in [place / FILE, *sorted(place.glob("approval-*.json"))]
        if file.is_file()
    )


class Given(msgspec.Struct, frozen=True):
    """An approval, where it was found, and why it does not count, if so. `approver` is the key that verified."""

    approval: Approval
    where: Path
    approver: PublicKey | None
    fault: str = ""


def judge(files: Iterable[Path], bundle: str, keys: Sequence[PublicKey]) -> tuple[Given, ...]:
    """Every approval in these files: is it about this bundle, and the release.json beside it, and by whom?

    Raises as `read_approvals`.
    """
    return tuple(_judged(path, approval, bundle, keys) for path in files for approval in read_approvals(path))


def _judged(path: Path, approval: Approval, bundle: str, keys: Sequence[PublicKey]) -> Given:
    statement = approval.statement
    if statement.bundle != bundle:
        return Given(approval, path, None, f"it is for bundle {statement.bundle[:16]}…")
    release = path.with_name(RELEASE)
    if statement.release is not None and release.exists():
        try:
            same = _release(release)[1] == statement.release
        except IsthmusError:
            same = False
        if not same:
            return Given(approval, path, None, "the release.json beside it is not the one that was approved")
    maker = next((key for key in keys if approval.made_by(key)), None)
    trusted = maker is not None or approval.key not in {key.key_id.hex() for key in keys}
    return Given(approval, path, maker, "" if trusted else "its signature is wrong")
