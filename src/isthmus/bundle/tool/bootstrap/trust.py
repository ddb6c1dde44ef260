"""Whom the site trusts: keys that somebody brought, or what an earlier `unpack` pinned. Not here: checking."""

import base64
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from isthmus.bundle.tool.bootstrap.medium import Refused, read_small


class Trust(NamedTuple):
    """The raw public keys, how many of them must have signed, and what the site has taken of each name."""

    keys: "frozenset[bytes]"
    threshold: int
    taken: "dict[str, Any]"


def read_public_key(path: str) -> bytes:
    """The 32 raw bytes of the Ed25519 public key in a PEM file."""
    text = b"".join(read_small(Path(path)).split())
    found = re.fullmatch(rb"-----BEGINPUBLICKEY-----([A-Za-z0-9+/=]+)-----ENDPUBLICKEY-----", text)
    try:
        der = base64.b64decode(found[1], validate=True) if found else b""
    except ValueError:
        der = b""
    if len(der) != 44 or der[:12] != bytes.fromhex("302a300506032b6570032100"):
        raise Refused(2, f"{path}: no Ed25519 public key (PEM)")
    return der[12:]


def read_trust(path: str) -> Trust:
    """What an earlier `isthmus unpack` pinned beside its store, in STORE.trust.json."""
    try:
        document = json.loads(read_small(Path(path)))
        policy = document["policy"]
        keys = frozenset(bytes.fromhex(key) for key in policy["keys"])
        return Trust(keys, int(policy.get("threshold", 1)), dict(document.get("taken", {})))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(2, f"{path}: no trust of a site with a policy in it") from error
