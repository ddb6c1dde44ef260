"""What a store has that is not an image, read from its manifests. Reads only; not here: making (`artifact`)."""

from collections.abc import Iterator

import msgspec

from isthmus.content import artifact
from isthmus.content.naming import HOST, ROOMS, checked_path
from isthmus.errors import IsthmusError
from isthmus.inventory.model import Kind
from isthmus.oci import Digest, Manifest
from isthmus.store import Store, StoredReference

_KINDS: dict[str, Kind] = {
    artifact.TYPES["file"]: "file",
    artifact.TYPES["packages"]: "packages",
    artifact.TYPES["git"]: "git",
    artifact.CHART_CONFIG: "chart",
}


class Layer(msgspec.Struct, frozen=True):
    """One file: its path in the tree, and its bytes."""

    path: str
    digest: Digest
    size: int


class Thing(msgspec.Struct, frozen=True):
    """A file, a tree of packages, a git repository or a chart. `reference` is its full name in the store.

    `serve` is the path of a file, or the directory of a tree, on the file server; empty for not served.
    """

    kind: Kind
    name: str
    reference: str
    digest: Digest
    serve: str = ""
    max_age: int = 0
    created: str = ""
    layers: tuple[Layer, ...] = ()

    def paths(self) -> Iterator[tuple[str, Layer]]:
        """Every file with the path that the file server has it at; nothing where it is not served."""
        if not self.serve:
            return
        for layer in self.layers:
            yield self.serve if self.kind == "file" else f"{self.serve}/{layer.path}", layer


def things(store: Store) -> Iterator[Thing]:
    """Everything under `isthmus.internal/` in the store, and charts of registries, sorted by reference.

    What cannot be read or is not as decision 0005 says is left out: a foreign store may hold anything.
    """
    rooms = tuple(f"{HOST}/{room}/" for room in ROOMS.values())
    for stored in store.references():
        if stored.name.startswith(rooms):
            thing = thing_of(store, stored)
            if thing is not None:
                yield thing


def thing_of(store: Store, stored: StoredReference) -> Thing | None:
    """What a name stands for, if it is a thing of ours."""
    try:
        return _read(stored.name, store.manifest_by_digest(stored.descriptor.digest))
    except IsthmusError:
        return None


def _read(reference: str, manifest: Manifest) -> Thing | None:
    kind = _KINDS.get(manifest.effective_artifact_type)
    if kind is None:
        return None
    notes = manifest.annotations
    age = notes.get(artifact.MAX_AGE, "")
    serve = notes.get(artifact.SERVE, "")
    return Thing(
        kind=kind,
        name=notes.get(artifact.NAME, reference),
        reference=reference,
        digest=manifest.digest,
        serve=checked_path(serve) if serve else "",
        max_age=int(age) if age.isascii() and age.isdigit() and len(age) < 16 else 0,
        created=notes.get(artifact.CREATED, ""),
        layers=tuple(
            Layer(checked_path((layer.annotations or {}).get(artifact.TITLE, "")), layer.digest, layer.size)
            for layer in manifest.layers
        ),
    )
