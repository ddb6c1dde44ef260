"""Archives as other tools write them, built from the test images. Not a fixture file.

`old_docker` is docker save up to version 24, with a directory a layer and links for layers that are there
already; `skopeo` the form of skopeo and podman. Modern forms are an OCI layout, which `layout` packs.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from isthmus.demo.images import AMD64, filler
from isthmus.oci import Digest, Platform
from isthmus.store import Store

Files = dict[str, bytes | tuple[str, bytes]]
"""By name: bytes, or a link's target and its kind."""


def plain_layer(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed layer."""
    return pack(dict(files))


def pack(files: Mapping[str, bytes | tuple[str, bytes]]) -> bytes:
    """A tar of files and links, in the given order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                member.linkname, member.type = content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def config_of(layers: Sequence[bytes], platform: Platform = AMD64, seed: str = "") -> bytes:
    """An image's config for uncompressed layers."""
    diff_ids = [str(Digest.of(layer)) for layer in layers]
    document = {
        "architecture": platform.architecture,
        "os": platform.os,
        "author": seed,
        "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    return json.dumps(document).encode()


def old_docker(images: Mapping[str, Sequence[bytes]], compressed: bool = False) -> Files:
    """By name, layers from the bottom up; a layer that is there already becomes a link to it."""
    files: Files = {}
    entries = []
    seen: dict[bytes, str] = {}
    for number, (name, layers) in enumerate(images.items()):
        paths = []
        for position, layer in enumerate(layers):
            path = f"{number:032x}{position:032x}/layer.tar"
            files[f"{number:032x}{position:032x}/VERSION"] = b"1.0"
            if layer in seen:
                files[path] = (f"../{seen[layer]}", tarfile.SYMTYPE)
            else:
                files[path] = gzip.compress(layer, mtime=0) if compressed else layer
                seen[layer] = path
            paths.append(path)
        config = config_of(layers)
        files[f"{Digest.of(config).hex}.json"] = config
        entries.append({"Config": f"{Digest.of(config).hex}.json", "RepoTags": [name], "Layers": paths})
    files["manifest.json"] = json.dumps(entries).encode()
    files["repositories"] = b"{}"
    return files


def skopeo(name: str, layers: Sequence[bytes]) -> Files:
    """As skopeo and podman save: layers by their digest, and links of the older form beside them."""
    files: Files = {}
    for layer in layers:
        files[f"{Digest.of(layer).hex}.tar"] = layer
        files[f"{Digest.of(layer + b'.').hex}/layer.tar"] = (f"../{Digest.of(layer).hex}.tar", tarfile.SYMTYPE)
    config = config_of(layers)
    files[f"{Digest.of(config).hex}.json"] = config
    paths = [f"{Digest.of(layer).hex}.tar" for layer in layers]
    entry = {"Config": f"{Digest.of(config).hex}.json", "RepoTags": [name], "Layers": paths}
    files["manifest.json"] = json.dumps([entry]).encode()
    return files


def layout(store: Path, names: Mapping[str, Mapping[str, str]], extra: Files | None = None) -> Files:
    """An OCI layout in a tar: a store's blobs, and the annotations under which each of its names appears."""
    with Store.open(store) as held:
        entries = [
            {
                "mediaType": stored.descriptor.media_type,
                "digest": str(stored.descriptor.digest),
                "size": stored.descriptor.size,
                "annotations": dict(names[stored.name]),
            }
            for stored in held.references()
            if stored.name in names
        ]
        blobs = {f"blobs/{d.algorithm}/{d.hex}": held.blob_path(d).read_bytes() for d, _ in held.iter_blobs()}
    index = {"schemaVersion": 2, "manifests": entries}
    return {
        **blobs,
        "index.json": json.dumps(index).encode(),
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        **(extra or {}),
    }


def layers(count: int = 2, size: int = 40_000) -> list[bytes]:
    """Uncompressed layers that differ."""
    return [plain_layer({f"file{n}": filler(f"layer{n}", size)}) for n in range(count)]
