"""What refers to a manifest: the referrers API, and the tag scheme for registries without it.

Distribution-spec 1.1, "Listing Referrers" and "Referrers Tag Schema". Not here: cosign's older tags.
"""

import threading

import msgspec

from isthmus.errors import UnreachableError
from isthmus.oci import Descriptor, Digest, Manifest, parse_manifest
from isthmus.oci.descriptor import OCI_INDEX
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.registry import failures
from isthmus.registry.challenge import repository_scope
from isthmus.registry.listing import pages
from isthmus.registry.manifests import get_manifest, put_manifest
from isthmus.registry.session import Session

_UNSUPPORTED = frozenset({400, 404, 405, 406, 501})


class _Index(msgspec.Struct, frozen=True, rename="camel"):
    """The only document that Isthmus itself writes into a registry."""

    schema_version: int
    media_type: str
    manifests: list[Descriptor]


class Referrers:
    """Lists and keeps referrers; remembers that a registry has no API for them. Safe for threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._has_api = True
        self._writing = threading.Lock()

    def find(self, repository: str, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Those of a digest, of one artifact type where given; empty where there are none."""
        found = self._from_api(repository, digest) if self._has_api else None
        if found is None:
            found = self._from_tag(repository, digest)
        unique = dict.fromkeys(found)
        return tuple(one for one in unique if not artifact_type or one.artifact_type == artifact_type)

    def add(self, repository: str, manifest: Manifest) -> None:
        """Note a pushed manifest under its subject's tag, where the registry did not do so itself.

        The specification knows no way to do this safely from two machines at once.
        """
        if manifest.subject is None:
            return
        subject = manifest.subject.digest
        with self._writing:
            known = self._from_tag(repository, subject)
            if manifest.digest in {one.digest for one in known}:
                return
            descriptor = msgspec.structs.replace(
                manifest.descriptor(),
                artifact_type=manifest.effective_artifact_type,
                annotations=manifest.annotations or None,
            )
            index = _Index(2, OCI_INDEX, [*known, descriptor])
            raw = msgspec.json.encode(index, enc_hook=str, order="sorted")
            where = f"{self._session.place.name}/{repository}:{referrers_tag(subject)}"
            put_manifest(self._session, repository, parse_manifest(raw, OCI_INDEX, where), referrers_tag(subject))

    def _from_api(self, repository: str, digest: Digest) -> tuple[Descriptor, ...] | None:
        name = self._session.place.full_name(repository)
        where = f"{self._session.place.name}/{name}@{digest}"
        target = f"/v2/{name}/referrers/{digest}"
        found: list[Descriptor] = []
        scopes = (repository_scope(name, "pull"),)
        for response, body in pages(
            self._session, target, name, scopes, where, limit=MAX_MANIFEST_SIZE,
            accept=frozenset({200}) | _UNSUPPORTED, headers={"Accept": OCI_INDEX},
        ):  # fmt: skip
            if response.status != 200:
                code, _ = failures.spoken(body)
                self._has_api = code in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_INVALID")
                return None
            kind = response.header("Content-Type").partition(";")[0].strip().lower()
            if kind != OCI_INDEX:
                return None  # some page that a proxy shows for every path
            found += parse_manifest(body, kind, where).manifests
        return tuple(found)

    def _from_tag(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        try:
            index = get_manifest(self._session, repository, referrers_tag(digest))
        except UnreachableError as error:
            if error.code == "not-found":
                return ()
            raise
        if not index.is_index:
            raise failures.protocol(
                "the tag that is kept for referrers is an image",
                f"{self._session.place.name}/{repository}:{referrers_tag(digest)}",
            )
        return index.manifests


def referrers_tag(digest: Digest) -> str:
    """The tag that stands for the referrers API: the algorithm and at most 64 digits of the digest."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"
