"""Pulls as a node does: by the original name, through containerd's `certs.d`, verifying every byte.

A stand-in for containerd where none is installed; the tests pull with the real one.
"""

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from isthmus.errors import UsageError, VerificationError
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Descriptor, Digest, Manifest, Reference, Verifier
from isthmus.oci.content import CHUNK
from isthmus.registry import ConnectionOptions, Registry, connect


def pull_by_original_name(certs: Path, entry: LockEntry) -> int:
    """Pull a reference and all that hangs below it; returns bytes read.

    Raises VerificationError where anything differs from the lock, UnreachableError where it is not served.
    """
    reference = Reference.parse(entry.name)
    registry, prefix = _mirror_of(certs, reference.host)
    repository = f"{prefix}/{reference.path}"
    try:
        root = registry.manifest(repository, reference.target)
        if root.digest != entry.digest:
            raise VerificationError("digest-mismatch", f"the site has {root.digest}, the lock {entry.digest}")
        return _read_all(registry, repository, root)
    finally:
        registry.close()


def _mirror_of(certs: Path, host: str) -> tuple[Registry, str]:
    """The first host of the upstream's hosts.toml, as containerd reads it with `override_path`."""
    path = certs / host / "hosts.toml"
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    for url, settings in document.get("host", {}).items():
        parts = urlsplit(url)
        if not settings.get("override_path"):
            raise UsageError("invalid-config", "the mirror has no override_path", where=str(path))
        authority = settings.get("ca")
        options = ConnectionOptions(ca_file=path.parent / authority if authority else None)
        return connect(parts.netloc, options), parts.path.removeprefix("/v2/").strip("/")
    raise UsageError("invalid-config", "there is no mirror", where=str(path))


def _read_all(registry: Registry, repository: str, manifest: Manifest) -> int:
    count = manifest.size
    for child in manifest.manifests:
        count += _read_all(registry, repository, registry.manifest(repository, child.digest))
    return count + sum(_read_blob(registry, repository, blob) for blob in manifest.blobs)


def _read_blob(registry: Registry, repository: str, blob: Descriptor) -> int:
    buffer = memoryview(bytearray(min(CHUNK, max(1, blob.size))))
    verifier = Verifier(Digest(blob.digest), blob.size)
    with registry.open_blob(repository, blob) as reader:
        while count := reader.readinto(buffer):
            verifier.update(buffer[:count])
    verifier.finish()
    return blob.size
