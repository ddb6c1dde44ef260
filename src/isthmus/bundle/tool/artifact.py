"""The tool as an OCI artifact in the store, so that volumes, parity and updates carry it like the rest.

Its layers are `tool.json`, which says which wheels are for which Python, the bootstrap script, and each wheel.
Not here: where wheels come from (`wheels`, `own`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus.bundle.own_artifact import TITLE, TOOL_TYPE, compact, put_artifact
from isthmus.bundle.planning import TOOL_PREFIX, BundleReference
from isthmus.bundle.tool.own import OwnWheel
from isthmus.bundle.tool.script import NAME as BOOTSTRAP
from isthmus.bundle.tool.script import bootstrap_script
from isthmus.bundle.tool.targets import Target
from isthmus.errors import IncompleteError, IsthmusError
from isthmus.oci import Descriptor, Digest
from isthmus.store import Store, StoredReference

ARTIFACT_TYPE: Final = TOOL_TYPE
KIND: Final = "tool"
LIST: Final = "tool.json"


@dataclass(frozen=True, slots=True)
class CarriedTool:
    """What `plan_bundle` takes first, and the script that lies beside the volumes."""

    reference: BundleReference
    bootstrap: bytes
    version: str


def stored_tool(store: Store, own: OwnWheel, targets: tuple[Target, ...]) -> CarriedTool | None:
    """The tool that the store has already, if it is this very code for all these targets."""
    script, name = bootstrap_script(), _name(own)
    found = next((held for held in store.references() if held.name == name), None)
    if found is None:
        return None
    try:
        layers = {
            str((layer.annotations or {}).get(TITLE)): layer
            for layer in store.manifest_by_digest(found.descriptor.digest).layers
        }
        listed = json.loads(_read(store, layers[LIST]))
        there = {Target(entry["python"], entry["machine"]) for entry in listed["sets"]}
    except (IsthmusError, KeyError, ValueError, TypeError):
        return None
    current = {own.file_name: Digest.of(own.data), BOOTSTRAP: Digest.of(script)}
    same = all(title in layers and layers[title].digest == digest for title, digest in current.items())
    whole = all(store.blob_size(layer.digest) == layer.size for layer in layers.values())
    return _carried(own, script, found.descriptor) if same and whole and there == set(targets) else None


def store_tool(store: Store, own: OwnWheel, wheels: Mapping[Target, list[Path]]) -> CarriedTool:
    """Write the tool into the store under its name; versions that were there before lose theirs."""
    script = bootstrap_script()
    files: dict[str, bytes | Path] = {path.name: path for paths in wheels.values() for path in paths}
    files[own.file_name] = own.data
    sets = [
        {
            "python": target.python,
            "machine": target.machine,
            "wheels": sorted([own.file_name, *(path.name for path in wheels[target])]),
        }
        for target in sorted(wheels)
    ]
    listed = compact({"format": "isthmus-tool", "sets": sets, "version": own.version})
    titled: list[tuple[str, bytes | Path]] = [(LIST, listed), (BOOTSTRAP, script), *sorted(files.items())]
    name = _name(own)
    about = {"dev.isthmus.name": f"isthmus {own.version}"}
    manifest = put_artifact(store, name.partition(":")[0], ARTIFACT_TYPE, titled, about)
    old = [held.name for held in store.references() if held.name.startswith(TOOL_PREFIX) and held.name != name]
    store.set_references([StoredReference(name, manifest.descriptor())], remove=old)
    return _carried(own, script, manifest.descriptor())


def _carried(own: OwnWheel, script: bytes, descriptor: Descriptor) -> CarriedTool:
    return CarriedTool(BundleReference(_name(own), descriptor, KIND), script, own.version)


def _name(own: OwnWheel) -> str:
    return f"{TOOL_PREFIX}isthmus:{own.version.replace('+', '-')}"


def _read(store: Store, blob: Descriptor) -> bytes:
    data = store.blob_path(blob.digest).read_bytes() if store.blob_size(blob.digest) == blob.size else b""
    if Digest.of(data) != blob.digest:
        raise IncompleteError("not-found", f"the store has no {blob.digest}")
    return data
