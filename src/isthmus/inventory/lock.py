"""`isthmus.lock`: the references of a platform, resolved to digests, sizes and media types.

YAML that reads well in a review: one block an entry, sorted by kind and name, nothing that changes without
a reason, written by hand-made code so that the same lock is the same bytes with every library. Not here:
how references are resolved (`transfer`).
"""

import os
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import msgspec

from isthmus.errors import IsthmusError, UnreachableError, UsageError
from isthmus.inventory import lock_text
from isthmus.inventory.model import Kind, in_registry
from isthmus.oci.descriptor import MAX_SIZE, decode_custom
from isthmus.oci.digest import Digest

VERSION = 1
_MADE = "isthmus:"
MAX_LOCK = 256 << 20
_HEADER = """\
# What the platform asks for, resolved to digests. Written by `isthmus lock`; do not edit.
# Keep it under version control: a difference is what an upgrade brings.
"""

Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]


class LockedReferrer(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """The descriptor of something attached to an entry: a signature, an SBOM, an attestation."""

    digest: Digest
    media_type: str
    artifact_type: str = ""
    size: Size = 0


class LockedContent(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """The bytes of one file of an entry that is not an image: its path in the tree, and where it is fetched.

    Without a `url` it was made when the lock was, and only the store of that time has it.
    """

    path: str
    digest: Digest
    size: Size
    url: str = ""


class LockEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One reference: `digest`, `media_type` and `size` (bytes) describe what the name stood for.

    `children` are the images that are carried of an index of which others are not (sorted by digest).
    `evidence` says where it was found, as `source object path`. Of what is not in a registry outside (decision
    0005) `reference` is its name in the store, `contents` its bytes, `serve` its place on the file server,
    `resolved` what names in it stood for, `verified_by` what the publisher vouches with. `max_age` is in
    seconds, `created` (at the publisher's) and `checked` (when it was last the newest) RFC 3339: of whatever
    becomes stale.
    """

    kind: Kind
    name: str
    digest: Digest
    media_type: str = ""
    size: Size = 0
    platforms: tuple[str, ...] = ()
    referrers: tuple[LockedReferrer, ...] = ()
    evidence: tuple[str, ...] = ()
    reference: str = ""
    serve: str = ""
    max_age: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)] = 0
    created: str = ""
    checked: str = ""
    verified_by: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()
    contents: tuple[LockedContent, ...] = ()
    children: tuple[Digest, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What makes two entries the same."""
        return (self.kind, self.name)

    @property
    def in_registry(self) -> bool:
        """Whether a registry outside has it: an image, an artifact, or a chart that is one."""
        return in_registry(self.kind, self.name)

    @property
    def stand_in(self) -> Digest | None:
        """The image that may be under the name in place of its index (`--single-platform`), where one can be."""
        return self.children[0] if len(self.children) == 1 else None

    @property
    def stored_name(self) -> str:
        """Its full name in a store, and what the mapping maps, whatever kind it is of."""
        return self.reference or self.name.removeprefix("oci://")


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole lock; `platforms` are the ones that it was resolved for, such as `linux/amd64`."""

    version: int = VERSION
    platforms: tuple[str, ...] = ()
    references: tuple[LockEntry, ...] = ()


def read_lock(path: str | os.PathLike[str]) -> Lock:
    """Read a lock.

    Raises UsageError (`file-not-found`, `invalid-lock`) or UnreachableError (`io-failed`).
    """
    where = os.fspath(path)
    try:
        with open(where, "rb") as file:
            data = file.read(MAX_LOCK + 1)
    except FileNotFoundError as error:
        raise UsageError(
            "file-not-found", "there is no lock here", where=where, hint="make one with `isthmus lock`"
        ) from error
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=where) from error
    if len(data) > MAX_LOCK:
        raise UsageError("invalid-lock", f"it is larger than {MAX_LOCK >> 20} MiB", where=where)
    return parse_lock(data, where)


def parse_lock(data: bytes, where: str = "isthmus.lock") -> Lock:
    """The lock in these bytes; raises UsageError (`invalid-lock`)."""
    try:
        document = _document(data.decode(), where)
        if not isinstance(document, dict):
            raise UsageError("invalid-lock", "it is not one YAML mapping", where=where)
        if document.get("version") != VERSION:
            raise UsageError(
                "invalid-lock",
                f"it has version {document.get('version')!r:.40}, this program reads {VERSION}",
                where=where,
                hint="make it again with `isthmus lock`",
            )
        lock = msgspec.convert(document, Lock, dec_hook=decode_custom)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UsageError("invalid-lock", str(error)[:300], where=where) from error
    except IsthmusError as error:
        if error.code == "invalid-lock":
            raise
        raise UsageError("invalid-lock", error.message, where=error.where or where) from error
    if len({entry.key for entry in lock.references}) != len(lock.references):
        raise UsageError("invalid-lock", "it names the same reference twice", where=where)
    return lock


def _document(text: str, where: str) -> Any:
    """What the text says; the YAML parser reads it only where it is not in the form that `write_lock` writes."""
    found = lock_text.read(text, _HEADER)
    if found is not None:
        return found
    from isthmus.inventory.yaml_builder import build

    documents = build(text, where)
    return documents[0] if len(documents) == 1 else None


def write_lock(path: str | os.PathLike[str], lock: Lock) -> None:
    """Write a lock under its name at once or not at all; raises UnreachableError (`io-failed`)."""
    import tempfile

    target = os.path.abspath(os.fspath(path))
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            "wb", dir=os.path.dirname(target), prefix=".isthmus-lock-", delete=False
        ) as file:
            temporary = file.name
            file.write(format_lock(lock).encode())
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # a temporary file is private, a lock is to be committed
        os.replace(temporary, target)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise UnreachableError("io-failed", f"it cannot be written: {error.strerror}", where=target) from error


def format_lock(lock: Lock) -> str:
    """The text of a lock; the same for the same content whatever the order of its parts."""
    return _HEADER + "".join(line + "\n" for line in _lines(lock))


def changed(old: Lock, new: Lock) -> list[str]:
    """What differs, sorted by name: `added NAME`, `removed NAME` or `changed NAME OLD NEW` with digests.

    What is made of the rest of the lock, and says when that was looked at, is no difference of its own.
    """
    before = {entry.key: entry for entry in old.references if not entry.name.startswith(_MADE)}
    after = {entry.key: entry for entry in new.references if not entry.name.startswith(_MADE)}
    lines: list[str] = []
    for key in sorted(before.keys() | after.keys(), key=lambda key: (key[1], key[0])):
        was, now = before.get(key), after.get(key)
        if was is None:
            lines.append(f"added {key[1]}")
        elif now is None:
            lines.append(f"removed {key[1]}")
        elif was.digest != now.digest:
            lines.append(f"changed {key[1]} {was.digest} {now.digest}")
    return lines


def _lines(lock: Lock) -> Iterator[str]:
    yield f"version: {lock.version}"
    yield from _list("platforms", sorted(lock.platforms), "")
    if not lock.references:
        yield "references: []"
        return
    yield "references:"
    for entry in sorted(lock.references, key=lambda entry: entry.key):
        yield f"- kind: {entry.kind}"
        yield f"  name: {_scalar(entry.name)}"
        yield f"  digest: {entry.digest}"
        if entry.media_type:
            yield f"  media_type: {_scalar(entry.media_type)}"
        if entry.size:
            yield f"  size: {entry.size}"
        if entry.platforms:
            yield from _list("platforms", sorted(entry.platforms), "  ")
        if entry.children:
            yield from _list("children", sorted(entry.children), "  ")
        if entry.referrers:
            yield "  referrers:"
            for referrer in sorted(entry.referrers):
                yield from _referrer(referrer)
        yield from _carried(entry)
        if entry.evidence:
            yield from _list("evidence", sorted(set(entry.evidence)), "  ")


def _carried(entry: LockEntry) -> Iterator[str]:
    for key, value in (
        ("reference", entry.reference),
        ("serve", entry.serve),
        ("created", entry.created),
        ("checked", entry.checked),
    ):
        if value:
            yield f"  {key}: {_scalar(value)}"
    if entry.max_age:
        yield f"  max_age: {entry.max_age}"
    for key, values in (("verified_by", entry.verified_by), ("resolved", entry.resolved)):
        if values:
            yield from _list(key, values, "  ")
    if entry.contents:
        yield "  contents:"
    for content in sorted(entry.contents):
        yield f"  - path: {_scalar(content.path)}"
        yield f"    digest: {content.digest}"
        yield f"    size: {content.size}"
        if content.url:
            yield f"    url: {_scalar(content.url)}"


def _referrer(referrer: LockedReferrer) -> Iterator[str]:
    yield f"  - digest: {referrer.digest}"
    yield f"    media_type: {_scalar(referrer.media_type)}"
    if referrer.artifact_type:
        yield f"    artifact_type: {_scalar(referrer.artifact_type)}"
    if referrer.size:
        yield f"    size: {referrer.size}"


def _list(name: str, values: Iterable[str], indent: str) -> Iterator[str]:
    held = list(values)
    yield f"{indent}{name}:" if held else f"{indent}{name}: []"
    for value in held:
        yield f"{indent}- {_scalar(value)}"


# Text that every YAML parser reads as itself: no indicator at its start, no `: ` or ` #`, no number, and
# not one of the words that some parsers take for a boolean or null.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+-]*(?::[A-Za-z0-9_./@+-]+)*", re.ASCII)
_WORDS = frozenset(["y", "yes", "n", "no", "true", "false", "on", "off", "null"])


# What JSON leaves as it is inside quotes, but YAML takes for a line break or does not allow.
_UNSAFE = "[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]"


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    import json

    text = text.encode("utf-8", "replace").decode()  # file names may hold bytes that are not text
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub(_UNSAFE, lambda match: f"\\u{ord(match.group()):04x}", quoted)
