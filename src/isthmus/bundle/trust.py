"""Whether a volume is signed as the site requires. Not here: keys and signatures themselves (`keys`)."""

from collections.abc import Sequence

from isthmus.bundle.keys import PublicKey, short_id, verified_by
from isthmus.bundle.layout import seal_message
from isthmus.bundle.volume import Volume

Refusal = tuple[str, str]
"""An error's code and message."""


def refused(volume: Volume, keys: Sequence[PublicKey]) -> Refusal | None:
    """What is wrong with a volume's signatures; without keys nothing is asked."""
    return manifest_refused(volume, keys) or seal_refused(volume, keys)


def manifest_refused(volume: Volume, keys: Sequence[PublicKey]) -> Refusal | None:
    """What is wrong with the signatures over the manifest."""
    if not keys:
        return None
    header = volume.header
    if not header.signatures:
        return "unsigned", "it is not signed, and a key was given"
    trusted = {key.key_id for key in keys}
    signers = ", ".join(short_id(signature.key_id) for signature in header.signatures)
    if all(signature.key_id not in trusted for signature in header.signatures):
        return "bad-signature", f"it is signed with {signers}, which is none of the given keys"
    if verified_by(header.signatures, volume.contents.raw, keys) is None:
        return "bad-signature", f"the signature of its manifest, which claims to be by {signers}, is wrong"
    return None


def seal_refused(volume: Volume, keys: Sequence[PublicKey]) -> Refusal | None:
    """What is wrong with the seal over a volume's own index."""
    if not keys:
        return None
    header = volume.header
    message = seal_message(header.bundle, header.volume, header.size, volume.index_sha256)
    if verified_by(volume.seals, message, keys) is None:
        return "bad-signature", "its seal is missing, wrong, or by none of the given keys"
    return None
