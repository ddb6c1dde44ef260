"""What crosses the gap: planning, packing, verifying and unpacking bundles, keys and receipts.

docs/bundle-format.md has the format. Not here: how bundles travel.
"""

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
