"""What a repository leads to: its manifests, their children, blobs and referrers.

A digest is served only under repositories that lead to it. The specification leaves that open; it is what
makes a repository a unit that access can be granted to, and what makes a miss mean that something is missing
here. Walks manifests on disk, so it runs in a thread.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from isthmus.errors import IncompleteError, UsageError, VerificationError
from isthmus.oci import Descriptor, Digest, Manifest
from isthmus.store import Store

_log = logging.getLogger("isthmus.serve")


@dataclass(frozen=True)
class Reach:
    """By digest: media types of manifests, sizes of everything, referrers of manifests. `made_at` is monotonic."""

    manifests: dict[Digest, str] = field(default_factory=dict)
    sizes: dict[Digest, int] = field(default_factory=dict)
    referrers: dict[Digest, tuple[Descriptor, ...]] = field(default_factory=dict)
    made_at: float = field(default_factory=time.monotonic)


def find_reach(store: Store, repository: str, roots: Iterable[Descriptor]) -> Reach:
    """Walk from the named manifests. What is not in the store is left out. Raises `io-failed`."""
    reach = Reach()
    todo = list(roots)
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
        referrers = store.referrers(repository, manifest.digest)
        if referrers:
            reach.referrers[manifest.digest] = referrers
            todo += referrers
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
