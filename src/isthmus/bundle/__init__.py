"""What crosses the gap: planning, packing, verifying and unpacking bundles, keys and receipts.

docs/bundle-format.md has the format. Not here: how bundles travel.
"""

from typing import TYPE_CHECKING

from isthmus.late import names_of

if TYPE_CHECKING:
    from isthmus.bundle.approval import Approval, Subject, add_approval, approve, read_approvals, subject_of
    from isthmus.bundle.baseline import Held, held_by_all
    from isthmus.bundle.demands import Attested, Demands, SignedBy
    from isthmus.bundle.fitting import BundlePlan
    from isthmus.bundle.keys import (
        KeyPaths,
        PublicKey,
        SigningKey,
        generate_identity,
        generate_keys,
        load_private_key,
        load_public_key,
    )
    from isthmus.bundle.manifest import BundleManifest, CarriedReference
    from isthmus.bundle.packing import PackedVolume, PackResult, pack, pack_again, pack_encrypted, pack_stream
    from isthmus.bundle.planning import BundleReference, plan_bundle
    from isthmus.bundle.policy import Policy, load_policy
    from isthmus.bundle.problems import MissingVolume, Problem
    from isthmus.bundle.receipt import Receipt, make_receipt, read_receipt
    from isthmus.bundle.unpacking import UnpackResult, unpack, unpack_stream
    from isthmus.bundle.verifying import Verification, verify, verify_stream
    from isthmus.bundle.volume import Volume, open_volume
    from isthmus.progress import Progress

_HOME = {
    "Approval": "isthmus.bundle.approval",
    "Subject": "isthmus.bundle.approval",
    "add_approval": "isthmus.bundle.approval",
    "approve": "isthmus.bundle.approval",
    "read_approvals": "isthmus.bundle.approval",
    "subject_of": "isthmus.bundle.approval",
    "Held": "isthmus.bundle.baseline",
    "held_by_all": "isthmus.bundle.baseline",
    "Attested": "isthmus.bundle.demands",
    "Demands": "isthmus.bundle.demands",
    "SignedBy": "isthmus.bundle.demands",
    "BundlePlan": "isthmus.bundle.fitting",
    "KeyPaths": "isthmus.bundle.keys",
    "PublicKey": "isthmus.bundle.keys",
    "SigningKey": "isthmus.bundle.keys",
    "generate_identity": "isthmus.bundle.keys",
    "generate_keys": "isthmus.bundle.keys",
    "load_private_key": "isthmus.bundle.keys",
    "load_public_key": "isthmus.bundle.keys",
    "BundleManifest": "isthmus.bundle.manifest",
    "CarriedReference": "isthmus.bundle.manifest",
    "PackedVolume": "isthmus.bundle.packing",
    "PackResult": "isthmus.bundle.packing",
    "pack": "isthmus.bundle.packing",
    "pack_again": "isthmus.bundle.packing",
    "pack_encrypted": "isthmus.bundle.packing",
    "pack_stream": "isthmus.bundle.packing",
    "BundleReference": "isthmus.bundle.planning",
    "plan_bundle": "isthmus.bundle.planning",
    "Policy": "isthmus.bundle.policy",
    "load_policy": "isthmus.bundle.policy",
    "MissingVolume": "isthmus.bundle.problems",
    "Problem": "isthmus.bundle.problems",
    "Receipt": "isthmus.bundle.receipt",
    "make_receipt": "isthmus.bundle.receipt",
    "read_receipt": "isthmus.bundle.receipt",
    "UnpackResult": "isthmus.bundle.unpacking",
    "unpack": "isthmus.bundle.unpacking",
    "unpack_stream": "isthmus.bundle.unpacking",
    "Verification": "isthmus.bundle.verifying",
    "verify": "isthmus.bundle.verifying",
    "verify_stream": "isthmus.bundle.verifying",
    "Volume": "isthmus.bundle.volume",
    "open_volume": "isthmus.bundle.volume",
    "Progress": "isthmus.progress",
}

__all__ = [
    "Approval",
    "Attested",
    "BundleManifest",
    "BundlePlan",
    "BundleReference",
    "CarriedReference",
    "Demands",
    "Held",
    "KeyPaths",
    "MissingVolume",
    "PackResult",
    "PackedVolume",
    "Policy",
    "Problem",
    "Progress",
    "PublicKey",
    "Receipt",
    "SignedBy",
    "SigningKey",
    "Subject",
    "UnpackResult",
    "Verification",
    "Volume",
    "add_approval",
    "approve",
    "generate_identity",
    "generate_keys",
    "held_by_all",
    "load_policy",
    "load_private_key",
    "load_public_key",
    "make_receipt",
    "open_volume",
    "pack",
    "pack_again",
    "pack_encrypted",
    "pack_stream",
    "plan_bundle",
    "read_approvals",
    "read_receipt",
    "subject_of",
    "unpack",
    "unpack_stream",
    "verify",
    "verify_stream",
]

if not TYPE_CHECKING:
    __getattr__ = names_of(__name__, globals(), _HOME)
