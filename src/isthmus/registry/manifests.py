"""Manifests: get, ask, put and delete (distribution-spec, "Pulling manifests" and "Pushing manifests")."""

from isthmus.errors import UnreachableError, UsageError, VerificationError
from isthmus.oci import Descriptor, Digest, Manifest, parse_manifest
from isthmus.oci.descriptor import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
)
from isthmus.oci.manifest import MAX_MANIFEST_SIZE
from isthmus.registry.challenge import repository_scope
from isthmus.registry.exchange import Response
from isthmus.registry.session import Request, Session

# Schema 1 is asked for too: refused with advice, which is better than a "not found".
ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, f"{DOCKER_SCHEMA1_SIGNED};q=0.1"))
"""The Accept header for everything that Isthmus knows."""


_SCHEMA1 = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})


def get_manifest(session: Session, repository: str, target: str) -> Manifest:
    """The manifest by tag or digest.

    Raises UnreachableError (`not-found` and others), VerificationError where the bytes do not have the digest
    that was asked for or, by tag, that the registry names. What is no manifest is `invalid-manifest` in both:
    of a digest that was asked for the bytes are what they should be, so that they were pushed like this.
    UsageError `schema1-manifest` for images that nobody can carry.
    """
    request = manifest_request(session, "GET", repository, target)
    response, raw = session.read(request, MAX_MANIFEST_SIZE)
    asked = _as_digest(target)
    said = asked or _named(response)
    algorithm = said.algorithm if said else "sha256"
    kind = response.header("Content-Type")
    # The digest of a signed schema 1 manifest is not that of its bytes; parsing refuses it with advice.
    if said is not None and kind.partition(";")[0].strip().lower() not in _SCHEMA1:
        _check(raw, said, request.where)
    return _parsed(raw, kind, request.where, algorithm, verified=asked is not None)


def _parsed(raw: bytes, kind: str, where: str, algorithm: str, *, verified: bool) -> Manifest:
    try:
        return parse_manifest(raw, kind, where, algorithm)
    except UsageError as error:
        if error.code == "schema1-manifest":
            raise
        if verified:
            raise VerificationError(error.code, error.message, where=where, hint=error.hint) from error
        raise UnreachableError(error.code, error.message, where=where, hint=error.hint) from error


def find_manifest(session: Session, repository: str, target: str) -> Descriptor | None:
    """What a tag or digest points to, without its content where the registry can do that; None where absent."""
    request = manifest_request(session, "HEAD", repository, target, accept=frozenset({200, 404, 405}))
    with session.call(request) as response:
        if response.status == 404:
            return None
        digest = _as_digest(target) or _named(response)
        kind = response.header("Content-Type").partition(";")[0].strip().lower()
        length = response.header("Content-Length")
        told = _named(response)
    if _as_digest(target) and told is not None and told.algorithm == Digest(target).algorithm and told != target:
        raise VerificationError("digest-mismatch", f"the registry has {told} under {target}", where=request.where)
    if digest is not None and kind in MANIFEST_TYPES | INDEX_TYPES and length.isdecimal() and len(length) < 12:
        return Descriptor(media_type=kind, digest=digest, size=int(length))
    try:
        return get_manifest(session, repository, target).descriptor()
    except UnreachableError as error:
        if error.code == "not-found":
            return None
        raise


def put_manifest(session: Session, repository: str, manifest: Manifest, tag: str = "") -> bool:
    """Publish under the digest and, where given, a tag; whether the registry took note of its `subject`.

    Raises UnreachableError, and VerificationError where the registry understood other bytes.
    """
    understood = False
    # A tag's own digest is sha256 for every registry, so another algorithm needs its own request.
    targets = [manifest.digest] if not tag or manifest.digest.algorithm != "sha256" else []
    for target in [*targets, *([tag] if tag else [])]:
        request = manifest_request(
            session, "PUT", repository, target, accept=frozenset({200, 201, 202}), body=manifest.raw,
            headers={"Content-Type": manifest.media_type}, actions=("pull", "push"),
        )  # fmt: skip
        with session.call(request) as response:
            told = _named(response)
            understood = understood or bool(response.header("OCI-Subject"))
        if told is not None and told.algorithm == manifest.digest.algorithm and told != manifest.digest:
            raise VerificationError(
                "digest-mismatch", f"the registry stored {told} instead of {manifest.digest}", where=request.where
            )
    return understood


def delete_manifest(session: Session, repository: str, target: str) -> None:
    """Remove a manifest by digest, or a tag; raises UnreachableError (`not-found`, `refused`)."""
    request = manifest_request(
        session, "DELETE", repository, target, accept=frozenset({200, 202, 204}), actions=("delete",)
    )
    session.call(request).close()


def manifest_request(
    session: Session, method: str, repository: str, target: str, *, accept: frozenset[int] = frozenset({200}),
    headers: dict[str, str] | None = None, body: bytes = b"", actions: tuple[str, ...] = ("pull",),
) -> Request:  # fmt: skip
    """A request about one manifest."""
    name = session.place.full_name(repository)
    mark = "@" if ":" in target else ":"
    return Request(
        method=method,
        target=f"/v2/{name}/manifests/{target}",
        where=f"{session.place.name}/{name}{mark}{target}",
        repository=name,
        scopes=(repository_scope(name, *actions),),
        accept=accept,
        headers={"Accept": ACCEPT, **(headers or {})},
        body=body,
    )


def _as_digest(target: str) -> Digest | None:
    return Digest(target) if ":" in target else None


def _named(response: Response) -> Digest | None:
    try:
        return Digest(response.header("Docker-Content-Digest").strip())
    except UsageError:
        return None  # absent, or of an algorithm that we cannot check


def _check(raw: bytes, wanted: Digest, where: str) -> None:
    found = Digest.of(raw, wanted.algorithm)
    if found != wanted:
        raise VerificationError("digest-mismatch", f"expected {wanted}, the registry sent {found}", where=where)
