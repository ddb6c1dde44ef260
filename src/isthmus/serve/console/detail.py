"""Everything about one reference, or one manifest below it: parts, platforms, config, what is attached.

Reads the store, so it runs in a thread. What a config says is hostile until it is text of a bounded length.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from isthmus.errors import IsthmusError
from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.serve.console.holdings import Row
from isthmus.serve.facts import CREATED
from isthmus.serve.names import Names
from isthmus.serve.reach import find_reach
from isthmus.store import Store

MAX_CONFIG = 4 * 1024 * 1024
MAX_ITEMS = 500
"""Labels, layers and so on that one page shows."""

MAX_TEXT = 4000
TITLE = "org.opencontainers.image.title"
_ATTESTATION_FOR = "vnd.docker.reference.digest"


@dataclass(frozen=True)
class Part:
    """A layer, or a file of an artifact. `note` is what made it, as the config's history says."""

    digest: Digest
    media_type: str
    size: int
    is_held: bool
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Child:
    """A manifest that an index names."""

    digest: Digest
    what: str
    size: int
    is_held: bool


@dataclass(frozen=True)
class Attached:
    """A referrer: what it is in words, its artifact type, and when it was made as it says."""

    digest: Digest
    what: str
    artifact_type: str
    size: int
    created: str
    name: str = ""


@dataclass(frozen=True)
class Config:
    """How an image runs. Of the environment only names: values may be secrets that somebody baked in."""

    platform: str = ""
    created: str = ""
    user: str = ""
    directory: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    history: tuple[str, ...] = ()


@dataclass(frozen=True)
class Detail:
    """What a reference's page shows. `manifest` is the root's, or that of a manifest below it."""

    row: Row
    manifest: Manifest
    is_root: bool
    parts: tuple[Part, ...] = ()
    children: tuple[Child, ...] = ()
    attached: tuple[Attached, ...] = ()
    config: Config | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def layer_bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)


def find_detail(
    store: Store, row: Row, names: Names, digest: Digest | None = None, hidden: tuple[Digest, ...] = ()
) -> Detail | None:
    """None where the digest is not below the reference. Raises what the store raises."""
    reach = find_reach(store, row.repository, (row.descriptor,), names.homes, hidden)
    root = row.descriptor.digest
    if digest is not None and digest not in reach.manifests:
        return None
    manifest = store.manifest_by_digest(digest or root)
    config = _config(store, manifest)
    notes = config.history if config else ()
    parts = tuple(
        Part(
            layer.digest,
            layer.media_type[:MAX_TEXT],
            layer.size,
            _is_held(store, layer),
            _text((layer.annotations or {}).get(TITLE, "")),
            notes[at] if at < len(notes) else "",
        )
        for at, layer in enumerate(manifest.layers[:MAX_ITEMS])
    )
    return Detail(
        row=row,
        manifest=manifest,
        is_root=manifest.digest == root,
        parts=parts,
        children=tuple(_child(store, child) for child in manifest.manifests[:MAX_ITEMS]),
        attached=(
            *map(_attached, reach.referrers.get(manifest.digest, ())),
            *_by_tag(row, names, manifest.digest),
        ),
        config=config,
        annotations=_pairs(manifest.annotations),
    )


def _is_held(store: Store, part: Descriptor) -> bool:
    try:
        return store.blob_size(part.digest) == part.size
    except IsthmusError:
        return False


def _child(store: Store, child: Descriptor) -> Child:
    about = (child.annotations or {}).get(_ATTESTATION_FOR, "")
    what = f"attestation for {about[:19]}…" if about else str(child.platform or child.media_type)
    return Child(child.digest, what[:200], child.size, _is_held(store, child))


def _attached(found: Descriptor) -> Attached:
    kind = found.artifact_type
    created = _text((found.annotations or {}).get(CREATED, ""))[:40]
    return Attached(found.digest, kind_of_attachment(kind), kind[:200], found.size, created)


def _by_tag(row: Row, names: Names, digest: Digest) -> tuple[Attached, ...]:
    """What cosign kept under tags before there were referrers."""
    tags = names.tags.get(row.repository, {})
    stem = digest.replace(":", "-")
    kinds = ((".sig", "Signature"), (".att", "Attestation"), (".sbom", "SBOM"))
    return tuple(
        Attached(
            found.digest, what, f"tag {stem[:19]}…{suffix}", found.size, "", f"{row.repository}:{stem}{suffix}"
        )
        for suffix, what in kinds
        if (found := tags.get(f"{stem}{suffix}")) is not None
    )


def kind_of_attachment(artifact_type: str) -> str:
    """What an artifact type means, in a word."""
    kind = artifact_type.lower()
    if "spdx" in kind or "cyclonedx" in kind or "sbom" in kind:
        return "SBOM"
    if "in-toto" in kind or "slsa" in kind or "attest" in kind or "provenance" in kind:
        return "Attestation"
    if "sig" in kind or "notary" in kind or "cosign" in kind:
        return "Signature"
    return "Attached"


def _config(store: Store, manifest: Manifest) -> Config | None:
    blob = manifest.config
    if blob is None or "image" not in blob.media_type or blob.size > MAX_CONFIG:
        return None
    try:
        document = msgspec.json.decode(store.blobs.read(blob.digest, MAX_CONFIG))
    except (IsthmusError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return parse_config(document)


def parse_config(document: Any) -> Config | None:
    """The image's config (image-spec 1.1, config.md), whatever somebody put there; None where it is no object."""
    if not isinstance(document, dict):
        return None
    inner = document.get("config")
    run: dict[str, Any] = inner if isinstance(inner, dict) else {}
    platform = "/".join(_text(document.get(key)) for key in ("os", "architecture", "variant") if document.get(key))
    history = document.get("history")
    steps = [one for one in history if isinstance(one, dict)] if isinstance(history, list) else []
    return Config(
        platform=platform,
        created=_text(document.get("created"))[:40],
        user=_text(run.get("User")),
        directory=_text(run.get("WorkingDir")),
        entrypoint=_texts(run.get("Entrypoint")),
        command=_texts(run.get("Cmd")),
        environment=tuple(one.partition("=")[0] for one in _texts(run.get("Env"))),
        ports=_texts(run.get("ExposedPorts")),
        volumes=_texts(run.get("Volumes")),
        labels=_pairs(run.get("Labels")),
        history=tuple(_text(step.get("created_by")) for step in steps if not step.get("empty_layer"))[:MAX_ITEMS],
    )


def _text(value: object) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    """The strings of a list, or the keys of an object."""
    if not isinstance(value, (list, dict)):
        return ()
    return tuple(_text(one) for one in list(value)[:MAX_ITEMS] if isinstance(one, str))


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        return ()
    return tuple(sorted((_text(key), _text(one)) for key, one in list(value.items())[:MAX_ITEMS]))
