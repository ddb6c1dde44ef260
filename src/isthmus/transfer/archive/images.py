"""The images that an archive names: through `index.json` (an OCI layout) and `manifest.json` (docker save).

Modern `docker save`, nerdctl and `ctr images export` write both; then the layout counts, since it has the
original manifests, and `manifest.json` only adds names. Where there is no manifest, one is made around the
layers as they are. Not here: what is done with the images (`choosing`, `reading`).
"""

from collections.abc import Iterable, Mapping

import msgspec

from isthmus.errors import IncompleteError, IsthmusError, UsageError
from isthmus.oci import Descriptor, Digest, Manifest, Reference, parse_manifest
from isthmus.oci.descriptor import OCI_INDEX, OCI_MANIFEST, decode_custom
from isthmus.store import Store
from isthmus.store.index import CONTAINERD_NAME, REF_NAME
from isthmus.transfer.archive.content import Content
from isthmus.transfer.archive.survey import File, Survey

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPES = {
    packing: f"application/vnd.oci.image.layer.v1.tar{suffix}"
    for packing, suffix in (("", ""), ("gzip", "+gzip"), ("zstd", "+zstd"))
}


class ArchiveImage(msgspec.Struct, frozen=True):
    """An image and its full names; `made` where its manifest was made here, since the archive has none."""

    root: Manifest
    names: tuple[str, ...]
    made: bool = False


class Images(msgspec.Struct, frozen=True):
    """The images of an archive, and what refers to them (signatures, SBOMs)."""

    images: tuple[ArchiveImage, ...]
    referrers: tuple[Manifest, ...]


class _Saved(msgspec.Struct, frozen=True, rename="pascal"):
    """An entry of `manifest.json`."""

    config: str
    repo_tags: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None


class _RootFs(msgspec.Struct, frozen=True):
    diff_ids: tuple[Digest, ...] | None = None


class _Config(msgspec.Struct, frozen=True):
    rootfs: _RootFs


_saved = msgspec.json.Decoder(list[_Saved] | None)
_config = msgspec.json.Decoder(_Config, dec_hook=decode_custom)


def read_images(survey: Survey, content: Content, store: Store) -> Images:
    """All images that the archive names, in its order.

    Raises UsageError (`invalid-input`, `invalid-manifest`, `invalid-reference`, `schema1-manifest`),
    VerificationError (`digest-mismatch`), IncompleteError (`missing-content`).
    """
    index, saved = survey.files.get("index.json"), survey.files.get("manifest.json")
    if index is None and saved is None:
        raise UsageError(
            "invalid-input",
            "it holds neither manifest.json nor index.json",
            where=survey.where,
            hint="make it with 'docker save', 'podman save' or 'nerdctl save'",
        )
    roots, names, referrers = _layout(survey, content, index)
    entries = _entries(survey, saved)
    configs = _configs(content, roots.values())
    made: list[ArchiveImage] = []
    rest = []
    for entry, config in entries:
        root = configs.get(config)
        if root is None:
            rest.append((entry, config))
        else:
            names[root].update(dict.fromkeys(_full(tag, survey.where) for tag in entry.repo_tags or ()))
    layers = [_diff_ids(survey, entry) for entry, _ in rest]
    for (entry, config), diff_ids in zip(rest, layers, strict=True):
        manifest = _make(survey, store, entry, config, diff_ids)
        content.add(manifest)
        tags = dict.fromkeys(_full(tag, survey.where) for tag in entry.repo_tags or ())
        made.append(ArchiveImage(manifest, tuple(tags), made=True))
    images = tuple(ArchiveImage(root, tuple(names[digest])) for digest, root in roots.items())
    _refuse_twins((*images, *made), survey.where)
    return Images((*images, *made), referrers)


def _layout(
    survey: Survey, content: Content, index: File | None
) -> tuple[dict[Digest, Manifest], dict[Digest, dict[str, None]], tuple[Manifest, ...]]:
    """Roots and their names, and those manifests which are there for a subject's sake."""
    roots: dict[Digest, Manifest] = {}
    names: dict[Digest, dict[str, None]] = {}
    referrers: dict[Digest, Manifest] = {}
    entries: tuple[Descriptor, ...] = ()
    if index is not None:
        entries = parse_manifest(survey.document(index), OCI_INDEX, f"{survey.where}: index.json").manifests
    for entry in entries:
        manifest = content.find(entry.digest, entry.media_type)
        if manifest is None:
            raise _missing(survey, f"index.json names {entry.digest}, which is not in the archive")
        name = _annotated_name(entry.annotations or {})
        if manifest.subject and not name:
            referrers[manifest.digest] = manifest
            continue
        roots[manifest.digest] = manifest
        names.setdefault(manifest.digest, {}).update({name: None} if name else {})
    return roots, names, tuple(referrers.values())


def _annotated_name(annotations: Mapping[str, str]) -> str:
    """The full name, or nothing where there is only a tag, as docker and buildx write beside containerd's."""
    for key in (CONTAINERD_NAME, REF_NAME):
        text = annotations.get(key, "")
        if any(mark in text for mark in "/:@"):
            try:
                return str(Reference.parse(text))
            except UsageError:
                continue
    return ""


def _entries(survey: Survey, saved: File | None) -> list[tuple[_Saved, Digest]]:
    """The entries of `manifest.json`, each with the digest of its config."""
    if saved is None:
        return []
    where = f"{survey.where}: manifest.json"
    try:
        entries = _saved.decode(survey.document(saved)) or []
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError("invalid-input", str(error)[:300], where=where) from error
    found = []
    for entry in entries:
        file = survey.file(entry.config)
        if file is None:
            raise _missing(survey, f"manifest.json names the config {entry.config[:200]}, which is not there")
        digest = Digest.of(survey.document(file))
        survey.claim(digest, file)
        found.append((entry, digest))
    return found


def _configs(content: Content, roots: Iterable[Manifest]) -> dict[Digest, Digest]:
    """From a config to the root above it."""
    found: dict[Digest, Digest] = {}
    for root in roots:
        for leaf in content.assemble(root, ()).leaves:
            if leaf.config:
                found.setdefault(leaf.config.digest, root.digest)
    return found


def _diff_ids(survey: Survey, entry: _Saved) -> tuple[Digest, ...]:
    """The digests that the config gives its unpacked layers; layers that are not compressed have those."""
    file, layers = survey.file(entry.config), entry.layers or ()
    assert file is not None
    where = f"{survey.where}: {file.name}"
    try:
        diff_ids = _config.decode(survey.document(file)).rootfs.diff_ids or ()
    except (msgspec.MsgspecError, IsthmusError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError("invalid-input", f"not an image's config: {str(error)[:300]}", where=where) from error
    if len(diff_ids) != len(layers):
        raise UsageError(
            "invalid-input", f"{len(layers)} layers are listed, the config has {len(diff_ids)}", where=where
        )
    for path, diff_id in zip(layers, diff_ids, strict=True):
        layer = survey.file(path)
        if layer is not None and not layer.packing:
            survey.claim(diff_id, layer)
    return diff_ids


def _make(survey: Survey, store: Store, entry: _Saved, config: Digest, diff_ids: tuple[Digest, ...]) -> Manifest:
    """An OCI manifest around the layers as they are in the archive."""
    file = survey.located(config)
    assert file is not None
    layers = [
        _layer(survey, store, path, diff_id) for path, diff_id in zip(entry.layers or (), diff_ids, strict=True)
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor(CONFIG_TYPE, config, file.size),
        "layers": layers,
    }
    raw = msgspec.json.encode(document, enc_hook=str)
    return parse_manifest(raw, OCI_MANIFEST, f"{survey.where}: manifest.json")


def _layer(survey: Survey, store: Store, path: str, diff_id: Digest) -> Descriptor:
    file = survey.file(path)
    if file is not None and file.packing:
        media_type = _LAYER_TYPES.get(file.packing)
        if media_type is None or file.digest is None:
            raise UsageError(
                "invalid-input",
                f"the layer {file.name[:200]} is compressed with {file.packing}",
                where=survey.where,
            )
        return Descriptor(media_type, file.digest, file.size)
    # Older docker save writes a layer that is there already as a link. Links are not followed: the config
    # says which bytes the layer has, wherever they are.
    size = located.size if (located := survey.located(diff_id)) else store.blob_size(diff_id)
    if size is None:
        raise _missing(survey, f"manifest.json names the layer {path[:200]}, which is not there")
    return Descriptor(_LAYER_TYPES[""], diff_id, size)


def _refuse_twins(images: Iterable[ArchiveImage], where: str) -> None:
    seen: dict[str, Digest] = {}
    for image in images:
        for name in image.names:
            if seen.setdefault(name, image.root.digest) != image.root.digest:
                raise UsageError("invalid-input", f"it holds two images called {name}", where=where)


def _full(tag: str, where: str) -> str:
    try:
        return str(Reference.parse(tag))
    except UsageError as error:
        raise error.at(where) from error


def _missing(survey: Survey, what: str) -> IncompleteError:
    return IncompleteError("missing-content", what, where=survey.where, items=[what], hint="save it again, whole")
