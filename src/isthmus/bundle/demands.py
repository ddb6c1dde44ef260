"""What a site asks of a bundle beside its maker's signature: approvals, and signed and attested images.

Not here: the signatures of the bundle itself (`trust`, `policy`), and how signatures are read (`oci.cosign`).
"""

import fnmatch
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from isthmus.bundle.approval import beside, judge
from isthmus.bundle.carried_lock import is_lock
from isthmus.bundle.keys import PublicKey
from isthmus.bundle.manifest import CarriedReference, bundle_id
from isthmus.bundle.own_artifact import TOOL_TYPE, is_own
from isthmus.bundle.planning import TOOL_PREFIX
from isthmus.bundle.policy import Policy
from isthmus.bundle.shelf import BundleShelf
from isthmus.bundle.stage import Stage
from isthmus.errors import IsthmusError, UsageError, VerificationError
from isthmus.oci import Manifest, Reference
from isthmus.oci.cosign import (
    Claim,
    VerifyingKey,
    claims_about,
    is_attachment,
    is_image,
    parse_keys,
    predicate_type,
)


class SignedBy(msgspec.Struct, frozen=True):
    """Images whose name fits `pattern` must be signed by one of `keys`; with none, all images and nothing else."""

    keys: tuple[VerifyingKey, ...]
    pattern: str = ""
    label: str = ""


class Attested(msgspec.Struct, frozen=True):
    """Images whose name fits `pattern` must have an attestation of this type, by a key that may sign them."""

    predicate: str
    pattern: str = ""


class Demands(msgspec.Struct, frozen=True):
    """Everything that is asked. Each of `approvers` must have approved; `approvals` are more files to look at."""

    approvers: tuple[PublicKey, ...] = ()
    approvals: tuple[Path, ...] = ()
    signed: tuple[SignedBy, ...] = ()
    attested: tuple[Attested, ...] = ()


NOTHING = Demands()


def check_approval(
    demands: Demands, policy: Policy | None, raw: bytes, given: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Look for approvals of the bundle with this manifest, beside the given volumes and where the demands say.

    Raises VerificationError `not-approved`, whose items say what is wrong with what is there.
    """
    threshold = policy.approvals if policy else 0
    if not demands.approvers and not threshold:
        return
    trusted = policy.approver_keys if policy else ()
    bundle = bundle_id(raw).hex()
    files = dict.fromkeys([*demands.approvals, *beside(given)])
    found = judge(files, bundle, (*demands.approvers, *trusted))
    by = {each.approver for each in found if each.approver is not None and not each.fault}
    faults = [f"{each.where}: {each.fault}" for each in found if each.fault]
    lacking = [str(key) for key in dict.fromkeys(demands.approvers) if key not in by]
    if lacking:
        raise _not_approved(f"bundle {bundle[:16]}… is not approved by {', '.join(lacking)}", faults)
    if len(by & set(trusted)) < threshold:
        have = len(by & set(trusted))
        raise _not_approved(
            f"the policy asks for {threshold} approvals of bundle {bundle[:16]}…; it has {have}", faults
        )


def _not_approved(why: str, faults: Sequence[str]) -> VerificationError:
    hint = "isthmus approve BUNDLE --sign KEY; approval.json must be with the volumes, or be given with --approval"
    return VerificationError("not-approved", why, hint=hint, items=faults)


def check_images(demands: Demands, stage: Stage, policy: Policy | None = None) -> None:
    """Look at the signatures of every image of a whole staged bundle, as the policy asks too.

    Raises VerificationError `image-unsigned`, whose items name every image and what it lacks.
    """
    rules = policy.images if policy else ()
    pinned = tuple(SignedBy(parse_keys(rule.pem.encode(), "policy"), rule.pattern) for rule in rules)
    demands = msgspec.structs.replace(demands, signed=(*demands.signed, *pinned))
    if not demands.signed and not demands.attested:
        return
    shelf = BundleShelf(stage.manifest, stage.path_of)
    named = [reference for reference in stage.manifest.references if not is_lock(reference)]
    faults = [fault for reference in named for fault in _faults(demands, shelf, reference)]
    if faults:
        names = list(dict.fromkeys(fault.split(": ", 1)[0] for fault in faults))
        listed = f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        raise VerificationError(
            "image-unsigned", f"{len(names)} images are not signed as this site requires: {listed}", items=faults
        )


def _faults(demands: Demands, shelf: BundleShelf, reference: CarriedReference) -> Iterator[str]:
    try:
        root = shelf.root(reference)
    except IsthmusError as error:
        yield f"{reference.name}: its manifest cannot be read: {error.message}"
        return
    name = Reference.parse(reference.name)
    if is_attachment(name.tag, root) or is_tool(reference, root):
        return
    signed = [demand for demand in demands.signed if applies(demand.pattern, name, root)]
    attested = [demand for demand in demands.attested if applies(demand.pattern, name, root)]
    if not signed and not attested:
        return
    claims = list(claims_about(shelf, name.repository, reference.digest))
    for demand in signed:
        if not any(claim.kind == "signature" and claim.signed_by(demand.keys) for claim in claims):
            yield f"{reference.name}: {_why(claims, 'signature')} by {demand.label or _ids(demand.keys)}"
    keys = tuple(key for demand in signed for key in demand.keys)
    for wanted in attested:
        predicate = predicate_type(wanted.predicate)
        if not any(_attests(claim, predicate) and claim.signed_by(keys) for claim in claims):
            yield f"{reference.name}: no attestation {wanted.predicate} by a key that must sign it"


def is_tool(reference: CarriedReference, root: Manifest) -> bool:
    """Whether this is Isthmus itself, which the bundle's own signature vouches for.

    Name and contents must both say so: neither alone may take an image out of what must be signed.
    """
    return reference.name.startswith(TOOL_PREFIX) and is_own(root, TOOL_TYPE)


def _attests(claim: Claim, predicate: str) -> bool:
    return claim.kind == "attestation" and claim.predicate == predicate


def applies(pattern: str, name: Reference, root: Manifest) -> bool:
    """Whether something with this name is meant: what could be run without a pattern, what fits with one."""
    if not pattern:
        return is_image(root)
    return any(fnmatch.fnmatchcase(text, pattern) for text in (name.repository, str(name)))


def _why(claims: Sequence[Claim], kind: str) -> str:
    return f"it has {kind}s, but none" if any(claim.kind == kind for claim in claims) else f"no {kind}"


def _ids(keys: Iterable[VerifyingKey]) -> str:
    return " or ".join(map(str, keys))


def require_sense(demands: Demands) -> None:
    """Raises UsageError `wrong-usage`: attestations without any key that could have made them."""
    if demands.attested and not demands.signed:
        raise UsageError(
            "wrong-usage", "--require-attestation needs --require-signed-by: whose attestation counts?"
        )
