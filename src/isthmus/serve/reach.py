"""What a repository leads to: its manifests, their children, blobs and referrers.

A digest is served only under repositories that lead to it. The specification leaves that open; it is what
makes a repository a unit that access can be granted to, and what makes a miss mean that something is missing
here. Walks manifests on disk, so it runs in a thread.
"""

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from isthmus.errors import IncompleteError, UsageError, VerificationError
from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.store import Store
from isthmus.store.index import as_referrer

_log = logging.getLogger("isthmus.serve")


@dataclass(frozen=True)
class Reach:
    """By digest: media types of manifests, sizes of everything, referrers of manifests. `made_at` is monotonic."""

    manifests: dict[Digest, str] = field(default_factory=dict)
    sizes: dict[Digest, int] = field(default_factory=dict)
    referrers: dict[Digest, tuple[Descriptor, ...]] = field(default_factory=dict)
    made_at: float = field(default_factory=time.monotonic)


def find_reach(
    store: Store,
    repository: str,
    roots: Iterable[Descriptor],
    homes: Mapping[Digest, frozenset[str]],
    hidden: Collection[Digest] = (),
) -> Reach:
    """Walk from the named manifests. What is not in the store is left out. Raises `io-failed`.

    A referrer that is named in other repositories alone (`homes`), or `hidden` here, is not followed: whoever
    may push there must not be able to sign here.
    """
    reach = Reach()
    todo = list(roots)
    named = {root.digest for root in todo}
    while todo:
        descriptor = todo.pop()
        if descriptor.digest in reach.manifests:
            continue
        manifest = _read(store, descriptor, reach)
        if manifest is None:
            continue
        reach.manifests[manifest.digest] = manifest.media_type
        reach.sizes[manifest.digest] = manifest.size
        for part in (*manifest.blobs, *(child for child in manifest.manifests if not child.is_manifest)):
            reach.sizes[part.digest] = part.size
        todo += [child for child in manifest.manifests if child.is_manifest]
        if manifest.subject:
            known = reach.referrers.get(manifest.subject.digest, ())
            reach.referrers[manifest.subject.digest] = (*known, as_referrer(manifest))
        for referrer in store.referrers(repository, manifest.digest):
            is_elsewhere = repository not in homes.get(referrer.digest, (repository,))
            if referrer.digest in named or not (is_elsewhere or referrer.digest in hidden):
                todo.append(referrer)
    for subject, found in reach.referrers.items():
        reach.referrers[subject] = tuple(sorted(found, key=lambda one: one.digest))
    return reach


def _read(store: Store, descriptor: Descriptor, reach: Reach) -> Manifest | None:
    try:
        return store.manifest_by_digest(descriptor.digest)
    except IncompleteError:
        return None  # an index kept whole with only some of its platforms here
    except (VerificationError, UsageError) as error:
        # Not a miss: whoever asks for it is told that the store is damaged.
        _log.error("%s cannot be served: %s", descriptor.digest, error)
        reach.manifests[descriptor.digest] = descriptor.media_type
        return None
