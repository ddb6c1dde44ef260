"""`check_names`: what an inventory names is there, before there is a lock of it: the next release's, for instance.

An inventory has no digests but those that its references are written with; so a tag has to be there, whatever
it stands for. Not here: making inventories (`scan`), and comparing with a lock (`registry`, `store`).
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from isthmus.check.result import CheckResult, Finding, Verdict, sum_up
from isthmus.content.naming import ROOMS, stored_name
from isthmus.errors import IsthmusError, UsageError
from isthmus.inventory.mapping import MirrorMap
from isthmus.inventory.model import Ref
from isthmus.oci import Reference
from isthmus.registry import Registry
from isthmus.store import Store


def check_names(refs: Iterable[Ref], registry: Registry, mapping: MirrorMap, jobs: int = 16) -> CheckResult:
    """Ask for every reference by its own tag or digest, one HEAD each.

    Raises UnreachableError where the registry as a whole cannot be reached or refuses.
    """
    wanted = list(refs)
    if wanted:
        registry.ping()

    def verdict(ref: Ref) -> Verdict:
        reference = _reference(ref)
        if reference is None:
            return _missing(ref, "which version of it is meant is only known once it is locked")
        repository = mapping.repository(reference)
        try:
            found = registry.manifest_digest(repository, reference.digest or reference.tag)
        except IsthmusError as error:
            if error.code in ("unreachable", "tls-failed", "rate-limited"):
                raise
            return _missing(ref, error.message, repository)
        return Verdict() if found else _missing(ref, "it is not there", repository)

    with ThreadPoolExecutor(max(1, jobs), thread_name_prefix="isthmus-check") as pool:
        try:
            return sum_up(pool.map(verdict, wanted))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def check_names_in_store(refs: Iterable[Ref], store: Store) -> CheckResult:
    """Look for every name in a store, or for its digest where it has one."""
    names = {stored.name for stored in store.references()}

    def verdict(ref: Ref) -> Verdict:
        reference = _reference(ref)
        if reference is None:
            return _missing(ref, "which version of it is meant is only known once it is locked")
        if str(reference) in names:
            return Verdict()
        if reference.digest and store.blob_size(reference.digest) is not None:
            return Verdict()
        return _missing(ref, "it is not there")

    return sum_up(verdict(ref) for ref in refs)


def _reference(ref: Ref) -> Reference | None:
    """Its name in a store; None for a classic chart, whose name there has its version."""
    if not ref.in_registry and (ref.kind == "chart" or ref.kind not in ROOMS):
        return None
    try:
        return Reference.parse(
            ref.name.removeprefix("oci://") if ref.in_registry else stored_name(ref.kind, ref.name)
        )
    except UsageError as error:
        raise UsageError("invalid-input", error.message, where=ref.name[:200]) from error


def _missing(ref: Ref, why: str, inside: str = "") -> Verdict:
    return Verdict(missing=(Finding(ref.name, why, "", inside),))
