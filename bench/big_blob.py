"""One artifact with one blob of any size, generated on its way into a registry; nothing of it touches disk here.

The bytes do not compress and do not repeat, and are the same for the same size. Not here: measuring.
"""

import hashlib
import http.client
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from bench.measure import MeasureError

CHUNK = 1024 * 1024
_POOL = 8 * CHUNK
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True)
class BigArtifact:
    """What was uploaded."""

    repository: str
    tag: str
    digest: str
    blob: str
    size: int


def chunks(size: int) -> Iterator[bytes]:
    """So many bytes in all, a mebibyte at a time: pieces of a random pool, each with its number."""
    source = random.Random(size)
    pool = source.randbytes(_POOL)
    for number, start in enumerate(range(0, size, CHUNK)):
        offset = source.randrange(_POOL - CHUNK)
        piece = number.to_bytes(8, "big") + pool[offset + 8 : offset + CHUNK]
        yield piece[: size - start]


def upload(address: str, repository: str, tag: str, size: int) -> BigArtifact:
    """Put the artifact into the registry at a loopback address. Raises MeasureError."""
    connection = http.client.HTTPConnection(address, timeout=600)
    try:
        config = _blob(connection, repository, iter([b"{}"]), 2)
        blob = _blob(connection, repository, chunks(size), size)
        manifest = json.dumps({
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _EMPTY, "digest": config, "size": 2},
            "layers": [{"mediaType": "application/octet-stream", "digest": blob, "size": size}],
        }).encode()  # fmt: skip
        target = f"/v2/{repository}/manifests/{tag}"
        _request(connection, "PUT", target, manifest, {"Content-Type": _MANIFEST})
    finally:
        connection.close()
    return BigArtifact(repository, tag, f"sha256:{hashlib.sha256(manifest).hexdigest()}", blob, size)


def _blob(connection: http.client.HTTPConnection, repository: str, pieces: Iterator[bytes], size: int) -> str:
    """Upload while hashing, so that the digest is known when it is asked for."""
    seen = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for piece in pieces:
            seen.update(piece)
            yield piece

    location = _request(connection, "POST", f"/v2/{repository}/blobs/uploads/", b"")
    headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
    location = _request(connection, "PATCH", location, hashed(), headers)
    digest = f"sha256:{seen.hexdigest()}"
    mark = "&" if "?" in location else "?"
    _request(connection, "PUT", f"{location}{mark}digest={digest}", b"")
    return digest


def _request(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | Iterator[bytes],
    headers: dict[str, str] | None = None,
) -> str:
    """Send, require success, and return the path that the answer leads to."""
    connection.request(method, target, body, headers or {})
    with connection.getresponse() as response:
        text = response.read()
        if response.status >= 300:
            raise MeasureError(f"{method} {target[:80]}: status {response.status} {text[:200]!r}")
        location = urlsplit(urljoin(target, response.getheader("Location") or ""))
    return f"{location.path}?{location.query}" if location.query else location.path
