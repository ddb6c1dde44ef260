"""The signatures and attestations that cross with an image, and whether a known key made them.

Not here: their formats (`oci.cosign`), and requiring them at a site (`bundle.demands`).
"""

from collections.abc import Iterable, Sequence

from isthmus.bundle.demands import SignedBy, applies
from isthmus.bundle.shelf import BundleShelf
from isthmus.oci import Digest, Manifest, Reference
from isthmus.oci.cosign import claims_about
from isthmus.report.model import Signed


def signatures_of(
    shelf: BundleShelf, name: Reference, root: Manifest, digests: Iterable[Digest], signers: Sequence[SignedBy]
) -> tuple[Signed, ...]:
    """Every claim about one of the digests, sorted. `signers` say whose signatures count for which names."""
    keys = [key for signer in signers if applies(signer.pattern, name, root) for key in signer.keys]
    found = set()
    for digest in digests:
        for claim in claims_about(shelf, name.repository, digest):
            key = claim.signed_by(keys)
            result = "verified" if key else "failed" if keys else "unchecked"
            found.add((claim.kind, claim.form, str(digest), claim.predicate, result, str(key) if key else ""))
    return tuple(Signed(*each) for each in sorted(found))
