"""Checks that an OCI layout really has images, byte for byte: every manifest below a digest, every blob."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from bench.measure import MeasureError

CHUNK = 1024 * 1024


def check(layout: Path, digests: Iterable[str]) -> int:
    """Hash all content of the images and count it. Raises MeasureError for the first that is wrong."""
    todo, done = list(digests), set[str]()
    while todo:
        digest = todo.pop()
        if digest in done:
            continue
        done.add(digest)
        path = _path(layout, digest)
        if _hash(path) != digest:
            raise MeasureError(f"{path} is not what its name says")
        todo += _children(path)
    return len(done)


def _path(layout: Path, digest: str) -> Path:
    algorithm, _, value = digest.partition(":")
    path = layout / "blobs" / algorithm / value
    if not path.is_file():
        raise MeasureError(f"{digest} is not in {layout}")
    return path


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _children(path: Path) -> list[str]:
    """What a manifest or an index names; nothing for any other blob."""
    if path.stat().st_size > CHUNK:
        return []
    content = path.read_bytes()
    if not content.startswith(b"{"):
        return []
    document = json.loads(content)
    named = [*document.get("manifests", ()), *document.get("layers", ())]
    config = document.get("config")
    # The configuration of an image has a "config" as well, which is no descriptor.
    if isinstance(config, dict) and "digest" in config:
        named.append(config)
    return [descriptor["digest"] for descriptor in named]
