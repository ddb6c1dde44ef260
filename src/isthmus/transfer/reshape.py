"""Leaving out parts of an image on purpose, for registries that cannot take it as it is.

Not here: what a registry refuses (`publish`).
"""

from isthmus.errors import UsageError
from isthmus.oci import Digest, Manifest
from isthmus.transfer.plan import CopyItem
from isthmus.transfer.tree import Tree


def as_it_is(item: CopyItem, tree: Tree) -> Tree:  # noqa: ARG001  # one of the ways to reshape
    """The whole tree."""
    return tree


def one_platform(item: CopyItem, tree: Tree) -> Tree:
    """The one image that is carried of an index, in place of an index of which more is missing.

    Whole indexes and plain images stay as they are. Raises UsageError (`sparse-index`) where several images
    are carried, or where the index is asked for by its digest, which no other manifest has.
    """
    carried = {manifest.digest: manifest for manifest in tree.manifests}
    if all(child.digest in carried for child in tree.root.manifests):
        return tree
    named = dict.fromkeys(child.digest for child in tree.root.manifests)
    images = [m for digest in named if (m := carried.get(digest)) and not _is_attestation(m)]
    if len(images) != 1 or images[0].is_index:
        raise UsageError(
            "sparse-index",
            f"{len(images)} of the {len(tree.root.manifests)} images of {item.name} are carried, "
            "and one alone can be put under a tag",
            hint="carry one platform, or all of them",
        )
    if not item.tags or "@" in item.name:
        raise UsageError(
            "sparse-index",
            f"{item.name} is asked for by the digest of an index of which one platform is carried",
            hint="carry all of its platforms",
        )
    image = images[0]
    return Tree(root=image, manifests=(image,), referrers=_about(image.digest, tree.referrers))


def _is_attestation(manifest: Manifest) -> bool:
    """Whether this is BuildKit's record of a build, which stands in an index beside the image."""
    return bool(manifest.layers) and all(
        layer.media_type == "application/vnd.in-toto+json" for layer in manifest.layers
    )


def _about(digest: Digest, referrers: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
    """The referrers of a manifest and of one another; signatures of the index would be about nothing."""
    kept: dict[Digest, Manifest] = {}
    while True:
        fresh = [
            m
            for m in referrers
            if m.digest not in kept and m.subject and (m.subject.digest == digest or m.subject.digest in kept)
        ]
        if not fresh:
            return tuple(m for m in referrers if m.digest in kept)
        kept.update((m.digest, m) for m in fresh)
