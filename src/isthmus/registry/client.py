"""`Registry`: one registry as a source and a sink of content, and `connect`.

Only the face: each topic is a module of this room.
"""

from types import TracebackType
from typing import Self

from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.registry import blobs, listing, manifests, web_api
from isthmus.registry.endpoint import find_place
from isthmus.registry.options import ConnectionOptions
from isthmus.registry.referrers import Referrers
from isthmus.registry.session import Request, Session
from isthmus.registry.upload import Upload
from isthmus.registry.upload_sessions import UploadLog, Uploads

_OK = frozenset({200})


class Registry:
    """A registry; repositories are named without its host. Safe for threads; close it, or use it as a context.

    Nothing is sent before it is needed. Every method raises UnreachableError where the registry cannot be
    reached or refuses, and VerificationError where what it says or sends does not hold.
    """

    def __init__(
        self, host: str, *, options: ConnectionOptions | None = None, upstream: str | None = None
    ) -> None:
        self.host = host
        self._session = Session(
            find_place(host, plain_http=bool(options and options.plain_http), upstream=upstream),
            options or ConnectionOptions(),
        )
        self._referrers = Referrers(self._session)
        self._uploads = Uploads(self._session)

    @property
    def requests(self) -> int:
        """HTTP requests so far, those for tokens included."""
        return self._session.transport.requests

    def ping(self) -> None:
        """Check that this is a registry which lets us in (distribution-spec, "Determining Support")."""
        place = self._session.place
        self._session.call(Request(method="GET", target="/v2/", where=place.name)).close()

    def manifest(self, repository: str, target: str) -> Manifest:
        """The manifest by tag or digest, verified; raises UnreachableError (`not-found`)."""
        return manifests.get_manifest(self._session, repository, target)

    def manifest_digest(self, repository: str, target: str) -> Descriptor | None:
        """What a tag or digest points to, by HEAD; None where it does not exist."""
        return manifests.find_manifest(self._session, repository, target)

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        """Whether the manifest is there."""
        return manifests.find_manifest(self._session, repository, digest) is not None

    def put_manifest(self, repository: str, manifest: Manifest, tag: str = "") -> None:
        """Publish under the digest and a tag; a `subject` gets its referrers tag where the registry has no API."""
        understood = manifests.put_manifest(self._session, repository, manifest, tag)
        if manifest.subject is not None and not understood:
            self._referrers.add(repository, manifest)

    def delete_manifest(self, repository: str, target: str) -> None:
        """Remove a manifest by digest, or a tag."""
        manifests.delete_manifest(self._session, repository, target)

    def has_blob(self, repository: str, blob: Descriptor) -> bool:
        """Whether the blob is there, with the right size."""
        return blobs.has_blob(self._session, repository, blob)

    def open_blob(self, repository: str, blob: Descriptor, offset: int = 0) -> blobs.BlobBody:
        """The blob's bytes from `offset` on, not verified."""
        return blobs.open_blob(self._session, repository, blob, offset)

    def open_range(self, repository: str, blob: Descriptor, offset: int, length: int) -> blobs.BlobBody:
        """A part of the blob, not verified; raises UnreachableError (`protocol`) where there are no ranges."""
        return blobs.open_range(self._session, repository, blob, offset, length)

    def mount_blob(self, repository: str, blob: Descriptor, other_repository: str) -> bool:
        """Make the blob of another repository appear here; False where the registry will not."""
        return self._uploads.mount(repository, blob, other_repository)

    def write_blob(self, repository: str, blob: Descriptor) -> Upload:
        """A writer that verifies on the way; it goes on at `offset` after an interruption, if options allow."""
        return Upload(self._session, self._uploads, repository, blob)

    def remember_uploads(self, log: UploadLog) -> None:
        """From now on keep the sessions of large uploads there, so that a later process can go on with them."""
        self._uploads.log = log

    def delete_blob(self, repository: str, blob: Descriptor) -> None:
        """Remove a blob from a repository."""
        blobs.delete_blob(self._session, repository, blob)

    def referrers(self, repository: str, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """What names this digest as its subject; empty where nothing does."""
        return self._referrers.find(repository, digest, artifact_type)

    def tags(self, repository: str) -> tuple[str, ...]:
        """All tags; raises UnreachableError (`not-found`) for an unknown repository."""
        return listing.list_tags(self._session, repository)

    def catalog(self) -> tuple[str, ...]:
        """All repositories, where the registry tells."""
        return listing.list_repositories(self._session)

    def ask(self, method: str, target: str, body: bytes = b"", accept: frozenset[int] = _OK) -> tuple[int, bytes]:
        """The status and body of a request to another API on the same host, with our credentials."""
        return web_api.ask(self._session, method, target, body, accept)

    def close(self) -> None:
        """Cancel uploads that nobody goes on with, and close connections."""
        self._uploads.close()
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def connect(host: str, options: ConnectionOptions | None = None, upstream: str | None = None) -> Registry:
    """A registry by the host in references (`docker.io`, `registry.example:5000`).

    `upstream` is a URL, path prefix included, that stands for the host. HTTPS is spoken; plain HTTP to loopback
    hosts that do not answer HTTPS, where the options or the URL say so. Sends nothing yet.
    Raises UsageError (`wrong-usage`).
    """
    return Registry(host, options=options, upstream=upstream)
