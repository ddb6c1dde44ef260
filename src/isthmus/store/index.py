"""`index.json`: what the layout calls by name (image-spec 1.1, image-layout.md, "index.json file").

An entry of ours carries the full name twice: in `org.opencontainers.image.ref.name`, for skopeo and its
like, and in `io.containerd.image.name`, for `ctr images import`. Entries of other tools are kept byte for
byte. Not here: when it is read and written (`store`).
"""

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import msgspec

from isthmus.errors import IsthmusError, UsageError, VerificationError
from isthmus.oci import Descriptor, Digest, Manifest, Reference
from isthmus.oci.descriptor import OCI_INDEX, decode_custom
from isthmus.store import files

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
REFERRER_OF = "dev.isthmus.referrer-of"
MAX_INDEX_SIZE = 128 * 1024 * 1024

Fingerprint: TypeAlias = str


_reference = lru_cache(maxsize=50_000)(Reference.parse)  # values that never change, asked for with every change


class StoredReference(msgspec.Struct, frozen=True, order=False):
    """A full name, `str(Reference)`, and the descriptor of what it stands for in this store."""

    name: str
    descriptor: Descriptor

    @property
    def reference(self) -> Reference:
        """The name, parsed."""
        return _reference(self.name)

    @property
    def repository(self) -> str:
        """`host/path`."""
        return self.reference.repository

    @property
    def tag(self) -> str:
        """The tag, or nothing where the name has a digest alone."""
        return self.reference.tag


class Entry(msgspec.Struct, frozen=True):
    """One entry as it stands in the file. `label` is its ref.name as written, `name` the full name it means."""

    descriptor: Descriptor
    label: str = ""
    name: str = ""
    raw: bytes = b""

    @property
    def is_labelled(self) -> bool:
        """Whether the ref.name itself gives the full name."""
        return bool(self.name) and _parsed(self.label) == self.name

    @property
    def referrer_of(self) -> str:
        """The subject for whose sake alone the entry is there, or nothing."""
        return (self.descriptor.annotations or {}).get(REFERRER_OF, "")


class Index(msgspec.Struct, frozen=True):
    """The file: its entries, and whatever else other tools wrote beside them."""

    entries: tuple[Entry, ...] = ()
    extra: dict[str, msgspec.Raw] = {}


_top = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw] | None)
_entry = msgspec.json.Decoder(Descriptor, dec_hook=decode_custom)
_encoder = msgspec.json.Encoder(order="deterministic", enc_hook=str)  # for Digest, a subclass of str


def fingerprint(path: Path) -> Fingerprint:
    """Something that changes whenever the file is replaced or written to; empty where there is none."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise files.io_failed(error, path) from error
    return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"


def read_index(path: Path, known: Mapping[bytes, Entry] | None = None) -> Index:
    """Read the file; a missing one is empty. Raises `damaged-store`, or `invalid-input` over the limit.

    `known` are entries by their bytes, of former times, which need not be parsed again.
    """
    known = known or {}
    data = files.read_limited(path, MAX_INDEX_SIZE)
    if data is None:
        return Index()
    try:
        top = _top.decode(data)
        raws = _list.decode(top.pop("manifests", msgspec.Raw(b"null"))) or []
        entries = tuple(known.get(raw) or _parse(raw) for raw in map(bytes, raws))
    except (msgspec.MsgspecError, IsthmusError, RecursionError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        raise VerificationError(
            "damaged-store", f"not an index of an image layout: {reason}", where=str(path)
        ) from error
    return Index(entries=entries, extra={key: msgspec.Raw(bytes(value)) for key, value in top.items()})


def _parse(raw: bytes) -> Entry:
    descriptor = _entry.decode(raw)
    annotations = descriptor.annotations or {}
    label = annotations.get(REF_NAME, "")
    return Entry(descriptor=descriptor, label=label, name=_full_name(annotations), raw=raw)


def _full_name(annotations: Mapping[str, str]) -> str:
    """The full name that annotations give, or nothing where there is only a tag, as many tools write."""
    return _parsed(annotations.get(CONTAINERD_NAME, "")) or _parsed(annotations.get(REF_NAME, ""))


def _parsed(text: str) -> str:
    if not any(mark in text for mark in "/:@"):
        return ""
    try:
        return str(Reference.parse(text))
    except UsageError:
        return ""


def encode_index(index: Index) -> bytes:
    """The file's bytes: named entries sorted by name, then the others as they came."""
    named = sorted((entry for entry in index.entries if entry.name), key=lambda entry: entry.name)
    others = [entry for entry in index.entries if not entry.name]
    entries = b",\n    ".join(entry.raw for entry in (*named, *others))
    extra = {**index.extra}
    extra.setdefault("schemaVersion", msgspec.Raw(b"2"))
    extra.setdefault("mediaType", msgspec.Raw(_encoder.encode(OCI_INDEX)))
    lines = [b"  " + _encoder.encode(key) + b": " + bytes(value) for key, value in sorted(extra.items())]
    lines.append(b'  "manifests": [\n    ' + entries + b"\n  ]" if entries else b'  "manifests": []')
    return b"{\n" + b",\n".join(lines) + b"\n}\n"


def named_entry(reference: StoredReference) -> Entry:
    """The entry for a reference. Raises `invalid-reference` where the name is not a full, normalised one."""
    parsed = Reference.parse(reference.name)
    if str(parsed) != reference.name:
        raise UsageError(
            "invalid-reference", f"{reference.name!r} is not a full name", hint=f"the full name is {parsed}"
        )
    if parsed.digest and parsed.digest != reference.descriptor.digest:
        raise VerificationError(
            "digest-mismatch", f"{reference.name} cannot stand for {reference.descriptor.digest}"
        )
    return _made(reference.descriptor, {REF_NAME: reference.name, CONTAINERD_NAME: reference.name}, reference.name)


def as_referrer(manifest: Manifest) -> Descriptor:
    """How the referrers API tells of a manifest (distribution-spec 1.1, "Listing Referrers")."""
    return msgspec.structs.replace(
        manifest.descriptor(),
        artifact_type=manifest.effective_artifact_type,
        annotations=dict(manifest.annotations) or None,
    )


def referrer_entry(referrer: Descriptor, subject: Digest) -> Entry:
    """An entry without a name that lets other tools find a referrer; it goes when its subject goes."""
    return _made(referrer, {REFERRER_OF: str(subject)}, "")


def _made(descriptor: Descriptor, own: dict[str, str], name: str) -> Entry:
    annotations = {**(descriptor.annotations or {}), **own}
    whole = msgspec.structs.replace(descriptor, annotations=annotations)
    return Entry(descriptor=whole, label=name, name=name, raw=_encoder.encode(whole))


def stored_references(
    index: Index, known: Mapping[bytes, StoredReference] | None = None
) -> dict[bytes, StoredReference]:
    """Every full name once, sorted, by the bytes of its entry; `known` are those of former times.

    Of several entries of one name the first counts, as for skopeo, and the ref.name more than containerd's
    name: a tool that moves a name takes it from the old entry, but leaves what it does not know there.
    """
    found: dict[str, Entry] = {}
    for entry in index.entries:
        if entry.name and (entry.name not in found or (entry.is_labelled and not found[entry.name].is_labelled)):
            found[entry.name] = entry
    known = known or {}
    made: dict[bytes, StoredReference] = {}
    for name in sorted(found):
        entry = found[name]
        made[entry.raw] = known.get(entry.raw) or StoredReference(name, _without_own(entry.descriptor))
    return made


def _without_own(descriptor: Descriptor) -> Descriptor:
    rest = {k: v for k, v in (descriptor.annotations or {}).items() if k not in (REF_NAME, CONTAINERD_NAME)}
    return msgspec.structs.replace(descriptor, annotations=rest or None)


def with_references(
    index: Index, references: Iterable[StoredReference], remove: Iterable[str], referrers: Iterable[Entry]
) -> Index:
    """The index with names set and removed and referrers made findable; other entries stay as they are."""
    new = {reference.name: named_entry(reference) for reference in references}
    gone = set(remove) | set(new)
    kept = [entry for entry in index.entries if entry.name not in gone or not entry.name]
    listed = {entry.descriptor.digest for entry in (*kept, *new.values())}
    extra = [entry for entry in referrers if entry.descriptor.digest not in listed]
    return Index(entries=(*kept, *new.values(), *extra), extra=index.extra)
