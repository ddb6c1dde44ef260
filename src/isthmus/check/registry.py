"""`check`: every reference of a lock is in a registry, through the mapping, by digest.

One HEAD for a reference whose name stands for the right digest; an index costs its GET and a HEAD for each
child that was locked. Not here: `check_store`, which needs no registry.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from isthmus.check.locked import platforms_of, reference_of
from isthmus.check.result import CheckResult, Finding, Verdict, points_elsewhere, sum_up
from isthmus.errors import IsthmusError
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Descriptor, Digest, Manifest, Reference
from isthmus.oci.descriptor import INDEX_TYPES
from isthmus.registry import Registry

DEFAULT_JOBS = 16

_ABOUT_ONE_REFERENCE = frozenset(
    {
        "not-found",
        "unauthorized",  # what Harbor says of a project that does not exist
        "refused",
        "protocol",
        "digest-mismatch",
        "size-mismatch",
        "invalid-manifest",
        "schema1-manifest",
    }
)


def check(
    entries: Iterable[LockEntry],
    registry: Registry,
    mapping: MirrorMap,
    jobs: int = DEFAULT_JOBS,
    *,
    deep: bool = False,
    stand_ins: Mapping[tuple[str, Digest], Digest] | None = None,
) -> CheckResult:
    """Ask for every reference. With `deep`, every manifest is read and every blob asked for, too.

    `stand_ins` says which image was put in place of an index on purpose (`push --single-platform`), by the
    repository inside and the index's digest: a tag that points to it is as it should be.

    Raises UnreachableError where the registry as a whole cannot be reached or refuses, UsageError
    `mapping-collision` or `invalid-lock`.
    """
    named = [(entry, reference_of(entry)) for entry in entries]
    mapping.check_collisions(reference for _, reference in named if reference)
    if any(reference for _, reference in named):
        registry.ping()

    def verdict(item: tuple[LockEntry, Reference | None]) -> Verdict:
        entry, reference = item
        if reference is None:
            why = f"the lock does not say what a {entry.kind} is called in a registry; make it again"
            return Verdict(missing=(Finding(entry.name, why, entry.digest),))
        repository = mapping.repository(reference)
        stand_in = (stand_ins or {}).get((repository, entry.digest))
        return _Question(registry, repository, entry, reference, stand_in, deep=deep).answer()

    with ThreadPoolExecutor(max(1, jobs), thread_name_prefix="isthmus-check") as pool:
        try:
            return sum_up(pool.map(verdict, named))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Question:
    """Whether one reference is there."""

    def __init__(
        self,
        registry: Registry,
        repository: str,
        entry: LockEntry,
        reference: Reference,
        stand_in: Digest | None,
        *,
        deep: bool,
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._entry = entry
        self._reference = reference
        self._stand_in = stand_in
        self._platforms = platforms_of(entry)
        self._deep = deep
        self._seen: set[Digest] = set()

    def answer(self) -> Verdict:
        """All that is wrong with it."""
        wanted = self._entry.digest
        try:
            named = self._named()
            if named is not None and named.digest == self._stand_in:
                return Verdict(tuple(self._below(named)))  # signatures of the index would be about nothing
            root = named if named and named.digest == wanted else self._find(wanted)
            missing = list(self._needs(root)) if root else [self._finding("it is not there", wanted)]
        except IsthmusError as error:
            return Verdict(missing=(self._failed(error, wanted),))
        if named is not None and named.digest != wanted:
            return Verdict(tuple(missing), (self._finding(points_elsewhere(named.digest, wanted), wanted),))
        if named is None and root is not None and self._reference.digest is None:
            missing.append(
                self._finding(f"its content is there, but the tag {self._reference.tag} is not", wanted)
            )
        return Verdict(tuple(missing))

    def _named(self) -> Descriptor | None:
        """What the name stands for; where it has a digest, nobody who pulls it asks for the tag."""
        return None if self._reference.digest else self._find(self._reference.tag)

    def _find(self, target: str) -> Descriptor | None:
        return self._registry.manifest_digest(self._repository, target)

    def _needs(self, root: Descriptor) -> Iterator[Finding]:
        """What is missing below the root, which is there, and among the referrers."""
        yield from self._below(root)
        for referrer in self._entry.referrers:
            what = f"its referrer {referrer.digest} ({referrer.artifact_type or referrer.media_type})"
            yield from self._manifest(Descriptor(referrer.media_type, referrer.digest, referrer.size), what)

    def _manifest(self, wanted: Descriptor, what: str) -> Iterator[Finding]:
        try:
            found = self._find(wanted.digest)
            if found is None:
                yield self._finding(f"{what} is not there", wanted.digest)
            else:
                yield from self._below(found)
        except IsthmusError as error:
            yield self._failed(error, wanted.digest)

    def _below(self, found: Descriptor) -> Iterator[Finding]:
        if found.digest in self._seen:
            return
        self._seen.add(found.digest)
        if found.media_type not in INDEX_TYPES and not self._deep:
            return
        manifest = self._registry.manifest(self._repository, found.digest)
        for child in manifest.select(self._platforms):
            what = f"its part {child.digest} ({child.platform or child.media_type})"
            if child.is_manifest:
                yield from self._manifest(child, what)
        if self._deep:
            yield from self._blobs(manifest)

    def _blobs(self, manifest: Manifest) -> Iterator[Finding]:
        parts = (child for child in manifest.select(self._platforms) if not child.is_manifest)
        for blob in (*manifest.blobs, *parts):
            if not blob.is_foreign and not self._registry.has_blob(self._repository, blob):
                yield self._finding(f"its blob {blob.digest} is not there", blob.digest)

    def _finding(self, why: str, digest: str) -> Finding:
        return Finding(self._entry.name, why, str(digest), self._repository)

    def _failed(self, error: IsthmusError, digest: str) -> Finding:
        """An error that is about this reference alone, as a finding; others are raised."""
        if error.code not in _ABOUT_ONE_REFERENCE:
            raise error
        return self._finding(error.message, digest)
