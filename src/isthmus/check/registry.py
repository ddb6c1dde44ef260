"""`check`: every reference of a lock is in a registry, through the mapping, by digest.

One GET of its manifest for a reference whose name stands for the right digest, and one for each child of an
index that was locked: what comes back is hashed here, so that a registry which serves something else under a
digest is caught at no more requests than a HEAD would cost. Not here: `check_store`, which needs no registry.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from isthmus.check.hashing import Hashed
from isthmus.check.locked import platforms_of, reference_of
from isthmus.check.result import CheckResult, Finding, Verdict, points_elsewhere, sum_up
from isthmus.errors import IsthmusError, UnreachableError
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest, Manifest, Reference
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
    rehash: bool = False,
    stand_ins: Mapping[tuple[str, Digest], Digest] | None = None,
) -> CheckResult:
    """Ask for every reference. With `deep` also for every blob; with `rehash` blobs are read and hashed, too.

    Where one image of an index is carried, a tag may point to that in place of the index
    (`push --single-platform`), which the lock says; `stand_ins` says it for locks that do not, by the repository
    inside and the index's digest.

    Raises UnreachableError where the registry as a whole cannot be reached or refuses, UsageError
    `mapping-collision` or `invalid-lock`.
    """
    named = [(entry, reference_of(entry)) for entry in entries]
    mapping.check_collisions(reference for _, reference in named if reference)
    if any(reference for _, reference in named):
        registry.ping()
    hashed = Hashed() if rehash else None

    def verdict(item: tuple[LockEntry, Reference | None]) -> Verdict:
        entry, reference = item
        if reference is None:
            why = f"the lock does not say what a {entry.kind} is called in a registry; make it again"
            return Verdict(missing=(Finding(entry.name, why, entry.digest),))
        repository = mapping.repository(reference)
        known = {entry.stand_in, (stand_ins or {}).get((repository, entry.digest))} - {None}
        return _Question(registry, repository, entry, reference, known, deep or rehash, hashed).answer()

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
        stand_ins: Collection[Digest | None],
        deep: bool,
        hashed: Hashed | None,
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._entry = entry
        self._reference = reference
        self._stand_ins = stand_ins
        self._platforms = platforms_of(entry)
        self._deep = deep
        self._hashed = hashed
        self._seen: set[Digest] = set()

    def answer(self) -> Verdict:
        """All that is wrong with it."""
        wanted = self._entry.digest
        try:
            named = self._named()
            if named is not None and named.digest in self._stand_ins:
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

    def _named(self) -> Manifest | None:
        """What the name stands for; where it has a digest, nobody who pulls it asks for the tag."""
        return None if self._reference.digest else self._find(self._reference.tag)

    def _find(self, target: str) -> Manifest | None:
        """The manifest, verified; None where it is not there."""
        try:
            return self._registry.manifest(self._repository, target)
        except UnreachableError as error:
            if error.code == "not-found":
                return None
            raise

    def _needs(self, root: Manifest) -> Iterator[Finding]:
        """What is missing below the root, which is there, and among the referrers."""
        yield from self._below(root)
        for referrer in self._entry.referrers:
            what = f"its referrer {referrer.digest} ({referrer.artifact_type or referrer.media_type})"
            yield from self._manifest(referrer.digest, what)

    def _manifest(self, wanted: Digest, what: str) -> Iterator[Finding]:
        try:
            found = self._find(wanted)
            if found is None:
                yield self._finding(f"{what} is not there", wanted)
            else:
                yield from self._below(found)
        except IsthmusError as error:
            yield self._failed(error, wanted)

    def _below(self, found: Manifest) -> Iterator[Finding]:
        if found.digest in self._seen:
            return
        self._seen.add(found.digest)
        if found.media_type in INDEX_TYPES or self._deep:
            for child in found.select(self._platforms):
                what = f"its part {child.digest} ({child.platform or child.media_type})"
                if child.is_manifest:
                    yield from self._manifest(child.digest, what)
        if self._deep:
            yield from self._blobs(found)

    def _blobs(self, manifest: Manifest) -> Iterator[Finding]:
        parts = (child for child in manifest.select(self._platforms) if not child.is_manifest)
        for blob in (*manifest.blobs, *parts):
            if blob.is_foreign:
                continue
            if not self._registry.has_blob(self._repository, blob):
                yield self._finding(f"its blob {blob.digest} is not there", blob.digest)
            elif self._hashed and (why := self._hashed.complaint(self._registry, self._repository, blob)):
                yield self._finding(f"its blob {blob.digest} {why}", blob.digest)

    def _finding(self, why: str, digest: str) -> Finding:
        return Finding(self._entry.name, why, str(digest), self._repository)

    def _failed(self, error: IsthmusError, digest: str) -> Finding:
        """An error that is about this reference alone, as a finding; others are raised."""
        if error.code not in _ABOUT_ONE_REFERENCE:
            raise error
        return self._finding(error.message, digest)
