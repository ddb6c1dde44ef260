"""A receipt: what a site's store says it holds, signed inside and carried back.

Deltas are computed against receipts, never against what was thought to be sent. The signatures are over the
canonical document without its `signatures`. Not here: computing deltas.
"""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from isthmus.bundle.compact import LARGEST, check_compact, read_compact
from isthmus.bundle.keys import PublicKey, SigningKey, verified_by
from isthmus.bundle.layout import Signature
from isthmus.bundle.manifest import Blob, Size, Text, canonical
from isthmus.bundle.medium import open_regular
from isthmus.bundle.planning import created_time
from isthmus.errors import UsageError, VerificationError
from isthmus.oci.descriptor import decode_custom
from isthmus.oci.digest import Digest
from isthmus.store import Store

FORMAT: Final = "isthmus-receipt"
VERSION: Final = 1
_PAPER_LINE: Final = re.compile(rb"(?m)^\s*[0-9A-Za-z]{4}-\d{1,4}/\d{1,4}:")
MAX_RECEIPT: Final = 64 * 1024 * 1024

_Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Paper = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})+$", max_length=2 * LARGEST)]
_Hex64 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{128}$")]


class ReceivedReference(msgspec.Struct, frozen=True):
    """A name that the site's store has, and what it stands for there."""

    name: Text
    digest: Digest
    media_type: Text
    size: Size


class WrittenSignature(msgspec.Struct, frozen=True):
    """A key's id and its signature, in hexadecimal."""

    key: _Hex32
    signature: _Hex64


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The document; blobs sorted by digest, references by name. Unknown keys are ignored on reading."""

    format: str
    version: int
    blobs: tuple[Blob, ...]
    references: tuple[ReceivedReference, ...]
    created: str | None = None
    signatures: tuple[WrittenSignature, ...] = ()
    paper: _Paper | None = None
    """What came back on paper, in hexadecimal: then the signature is in there, and `blobs` are those of the
    reader's own store that it names."""


def make_receipt(store: Store, signing_key: SigningKey | None = None) -> bytes:
    """The receipt of what the store holds, the same for the same store and key.

    Sizes are those on disk; blobs are not hashed again (`Store.scrub` does). Raises `damaged-store`.
    """
    references = tuple(
        ReceivedReference(
            stored.name, stored.descriptor.digest, stored.descriptor.media_type, stored.descriptor.size
        )
        for stored in store.references()
    )
    blobs = tuple(Blob(digest, size) for digest, size in sorted(store.iter_blobs()))
    receipt = Receipt(FORMAT, VERSION, blobs, references, created_time())
    if signing_key:
        signature = signing_key.sign(canonical(receipt))
        written = WrittenSignature(signature.key_id.hex(), signature.value.hex())
        receipt = msgspec.structs.replace(receipt, signatures=(written,))
    return canonical(receipt) + b"\n"


def paper_receipt(paper: bytes, store: Store) -> bytes:
    """A receipt from what came back on paper, with those blobs of this store that the site has.

    Raises UsageError `invalid-input`.
    """
    blobs = read_compact(paper).resolve(Blob(digest, size) for digest, size in store.iter_blobs())
    return canonical(Receipt(FORMAT, VERSION, blobs, (), paper=paper.hex())) + b"\n"


def read_receipt(path: str | os.PathLike[str], public_keys: Sequence[PublicKey] = ()) -> Receipt:
    """Read a receipt; with keys, it must be signed by one of them.

    Raises UsageError `file-not-found` or `invalid-input`, VerificationError `unsigned` or `bad-signature`,
    UnreachableError `io-failed`.
    """
    where = str(path)
    with open_regular(Path(path)) as file:
        if file.size > MAX_RECEIPT:
            raise _wrong(where, f"it is larger than {MAX_RECEIPT} bytes")
        data = file.at(0, MAX_RECEIPT)
    try:
        document = msgspec.json.decode(data)
        receipt = msgspec.convert(document, Receipt, dec_hook=decode_custom)
    except (msgspec.MsgspecError, RecursionError, UnicodeError, UsageError) as error:
        if b"isthmus paper receipt" in data[:200].lower() or _PAPER_LINE.search(data[:4096]):
            raise UsageError(
                "invalid-input",
                "this is a receipt from paper",
                where=where,
                hint=f"isthmus receipt --read {where} --out site.receipt, then use site.receipt",
            ) from error
        raise _wrong(where, str(error)[:200]) from error
    if (receipt.format, receipt.version) != (FORMAT, VERSION):
        raise _wrong(where, "it is of another format or version")
    if any(a.digest >= b.digest for a, b in pairwise(receipt.blobs)):
        raise _wrong(where, "its blobs are not sorted, or some are there twice")
    if receipt.paper is not None:
        _check_paper(receipt, public_keys, where)
    elif public_keys:
        _check_signature(receipt, document, public_keys, where)
    return receipt


def _check_paper(receipt: Receipt, keys: Sequence[PublicKey], where: str) -> None:
    compact = read_compact(bytes.fromhex(receipt.paper or ""))
    if not all(compact.holds(blob.digest) for blob in receipt.blobs):
        raise VerificationError("bad-signature", "it names blobs that the paper does not", where=where)
    if keys:
        check_compact(compact, keys, where)


def _check_signature(receipt: Receipt, document: dict[str, Any], keys: Sequence[PublicKey], where: str) -> None:
    if not receipt.signatures:
        raise VerificationError("unsigned", "the receipt is not signed, and a key was given", where=where)
    signed = {key: value for key, value in document.items() if key != "signatures"}
    signatures = [Signature(bytes.fromhex(s.key), bytes.fromhex(s.signature)) for s in receipt.signatures]
    if verified_by(signatures, canonical(signed), keys) is None:
        raise VerificationError(
            "bad-signature", "none of the given keys signed this receipt as it is", where=where
        )


def _wrong(where: str, why: str) -> UsageError:
    return UsageError("invalid-input", f"not a receipt: {why}", where=where)
