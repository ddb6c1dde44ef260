"""Blobs of a bundle, copied from its volumes and verified. Not here: what they mean."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isthmus.bundle.tool.bootstrap.medium import MAX_SMALL, Refused, open_plain
from isthmus.bundle.tool.bootstrap.volumes import HEADER, RECORD, TRAILER, Bundle

CHUNK = 1024 * 1024


class Contents:
    """The blobs of a bundle, by digest; each is copied and hashed, and exists only if it is right."""

    def __init__(self, bundle: Bundle, store: "Path | None", scratch: Path) -> None:
        self._bundle = bundle
        self._store = store
        self._scratch = scratch
        self._numbers = {digest: number for number, (digest, _) in enumerate(bundle.manifest["blobs"])}
        self._parts: dict[int, list[tuple[int, int, int]]] = {}
        for volume, table in enumerate(bundle.manifest["volumes"], 1):
            at = HEADER + RECORD + len(bundle.raw) + TRAILER
            for kind, blob, _, length in table["records"]:
                if kind == 2:
                    self._parts.setdefault(blob, []).append((volume, at + RECORD, length))
                at += RECORD + length + TRAILER

    def small(self, digest: str) -> Any:
        """A JSON document."""
        path = self.take(digest, digest.replace(":", "-"))
        if path.stat().st_size > MAX_SMALL:
            raise Refused(4, f"{digest} is larger than such a document may be")
        return json.loads(path.read_bytes())

    def take(self, digest: str, name: str) -> Path:
        """Copy a blob into the scratch directory under a name that was checked, and verify it."""
        algorithm, _, value = digest.partition(":")
        if algorithm not in ("sha256", "sha512"):
            raise Refused(4, f"{digest[:40]}: not a digest that can be verified")
        found, target = hashlib.new(algorithm), self._scratch / name
        with target.open("wb") as out:
            for piece in self._pieces(digest, algorithm, value):
                found.update(piece)
                out.write(piece)
        if found.hexdigest() != value:
            target.unlink()
            raise Refused(4, f"{digest} is damaged on the medium; nothing was run. Copy the volume again")
        return target

    def _pieces(self, digest: str, algorithm: str, value: str) -> "Iterator[bytes]":
        parts = self._parts.get(self._numbers[digest])
        if parts is None:
            if self._store is None:
                raise Refused(3, "the site has parts of the tool already: give its store with --store")
            yield from _read(self._store / "blobs" / algorithm / value, 0, None)
            return
        for volume, at, length in parts:
            if volume not in self._bundle.files:
                raise Refused(3, f"volume {volume} is needed as well: give the directory that it is in")
            yield from _read(self._bundle.files[volume], at, length)


def _read(path: Path, at: int, length: "int | None") -> "Iterator[bytes]":
    with open_plain(path) as file:
        file.seek(at)
        while length is None or length:
            piece = file.read(CHUNK if length is None else min(CHUNK, length))
            if not piece:
                return
            length = None if length is None else length - len(piece)
            yield piece
