"""The classic chart repository: `charts/index.yaml` over every chart of the store, and its archives beside it.

The index is JSON, which is YAML too, with what each chart's own Chart.yaml says. An archive is looked into once
and within limits. Not here: charts as OCI artifacts, which the registry has as it has everything.
"""

import gzip
import io
import json
import logging
import tarfile
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, cast

from isthmus.content import Layer
from isthmus.content.artifact import CHART_CONFIG, CHART_LAYER, CHART_PROVENANCE, CREATED
from isthmus.errors import IsthmusError, UsageError
from isthmus.inventory.yaml_builder import build
from isthmus.oci import Digest, Manifest
from isthmus.oci.content import BlobReader
from isthmus.oci.descriptor import OCI_MANIFEST
from isthmus.serve.shelf import Shelf, add_file
from isthmus.store import Store, StoredReference

DIRECTORY = "charts"
INDEX = f"{DIRECTORY}/index.yaml"

MAX_UNPACKED = 64 << 20
"""Bytes of an archive that are looked through for its Chart.yaml."""

MAX_CHART_YAML = 1 << 20
_REMEMBERED = 20_000
_KEPT = (
    "apiVersion", "appVersion", "condition", "dependencies", "deprecated", "description", "home", "icon",
    "keywords", "kubeVersion", "maintainers", "name", "sources", "tags", "type", "version",
)  # fmt: skip
_log = logging.getLogger("isthmus.serve")


class ChartIndex:
    """Makes the index anew when the store changes; used in threads, one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._manifests: dict[Digest, Manifest | None] = {}
        self._about: OrderedDict[Digest, dict[str, Any] | None] = OrderedDict()

    def make(self, references: Iterable[StoredReference], shelf: Shelf) -> bytes:
        """The index's bytes; archives and provenance files are put on the shelf below `charts/`."""
        entries: dict[str, dict[str, dict[str, Any]]] = {}
        needed: dict[Digest, Manifest | None] = {}
        for stored in sorted(references, key=lambda one: (not one.name.startswith("isthmus.internal/"), one.name)):
            digest = stored.descriptor.digest
            if stored.descriptor.media_type != OCI_MANIFEST:
                continue
            manifest = needed[digest] = needed.get(digest) or self._chart(digest)
            if manifest is not None:
                self._add(entries, stored, manifest, shelf)
        self._manifests = needed
        document = {
            "apiVersion": "v1",
            "entries": {name: list(entries[name].values()) for name in sorted(entries)},
            "generated": max(
                (one.get("created", "") for found in entries.values() for one in found.values()), default=""
            )
            or "1970-01-01T00:00:00Z",
        }
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode()

    def _chart(self, digest: Digest) -> Manifest | None:
        """The manifest, where it is a chart's."""
        if digest in self._manifests:
            return self._manifests[digest]
        try:
            manifest = self._store.manifest_by_digest(digest)
        except IsthmusError:
            return None
        return manifest if any(blob.media_type == CHART_CONFIG for blob in manifest.blobs) else None

    def _add(
        self,
        entries: dict[str, dict[str, dict[str, Any]]],
        stored: StoredReference,
        manifest: Manifest,
        shelf: Shelf,
    ) -> None:
        archive = next((layer for layer in manifest.layers if layer.media_type == CHART_LAYER), None)
        about = self._read(archive.digest, stored.name) if archive is not None else None
        if archive is None or about is None or about["version"] in entries.get(about["name"], {}):
            return
        name = f"{about['name']}-{about['version']}.tgz"
        add_file(shelf, f"{DIRECTORY}/{name}", Layer(name, archive.digest, archive.size), stored.name, 0)
        for layer in manifest.layers:
            if layer.media_type == CHART_PROVENANCE:
                signed = Layer(f"{name}.prov", layer.digest, layer.size)
                add_file(shelf, f"{DIRECTORY}/{name}.prov", signed, stored.name, 0)
        entry = {**about, "urls": [name]}
        if archive.digest.algorithm == "sha256":
            entry["digest"] = archive.digest.hex
        if created := manifest.annotations.get(CREATED):
            entry["created"] = created
        entries.setdefault(about["name"], {})[about["version"]] = entry

    def _read(self, digest: Digest, where: str) -> dict[str, Any] | None:
        if digest not in self._about:
            try:
                with self._store.blobs.reader(digest) as reader:
                    self._about[digest] = chart_yaml(reader, where)
            except IsthmusError as error:
                _log.warning("%s is not in the chart repository: %s", where, error)
                self._about[digest] = None
            while len(self._about) > _REMEMBERED:
                self._about.popitem(last=False)
        return self._about[digest]


class _Stream(io.RawIOBase):
    """A blob as tarfile and gzip read it."""

    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._reader.readinto(memoryview(buffer))


class _Limited:
    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._left = MAX_UNPACKED

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, 1 << 16))
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("its Chart.yaml is too far back")
        return data


def chart_yaml(reader: BlobReader, where: str) -> dict[str, Any]:
    """What a packaged chart's Chart.yaml says, as far as an index shows it. Raises UsageError `invalid-input`."""
    try:
        with gzip.GzipFile(fileobj=io.BufferedReader(_Stream(reader))) as stream:
            data = _find(stream)
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise _wrong(str(error)[:200] or type(error).__name__, where) from error
    try:
        documents = build(data.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise _wrong("its Chart.yaml is not UTF-8 text", where) from error
    chart = documents[0] if documents and isinstance(documents[0], dict) else {}
    about = {key: _plain(chart[key]) for key in _KEPT if chart.get(key) is not None}
    for key in ("name", "version", "appVersion"):
        if key in about:
            about[key] = str(about[key])
    if not _is_file_name(about.get("name", "")) or not _is_file_name(about.get("version", "")):
        raise _wrong("its Chart.yaml has no name and version", where)
    return about


def _is_file_name(text: str) -> bool:
    return 0 < len(text) < 200 and text[0] != "." and not any(c in "/\\" or ord(c) < 0x21 for c in text)


def _find(stream: gzip.GzipFile) -> bytes:
    with tarfile.open(fileobj=cast("Any", _Limited(stream)), mode="r|") as archive:
        for member in archive:
            if member.isreg() and member.name.count("/") == 1 and member.name.endswith("/Chart.yaml"):
                file = archive.extractfile(member)
                if member.size > MAX_CHART_YAML or file is None:
                    raise ValueError("its Chart.yaml is too large")
                return file.read(MAX_CHART_YAML)
    raise ValueError("it has no Chart.yaml")


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int | str) or value is None else str(value)


def _wrong(why: str, where: str) -> UsageError:
    return UsageError("invalid-input", f"not a packaged chart: {why}", where=where)
