"""The options of `unpack`, `verify` and `receive` about bundles: what they must have, and what opens them.

Not here: the checks themselves (`bundle.demands`), and decrypting (`bundle.encryption`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from isthmus.bundle import Attested, Demands, SignedBy, load_public_key
from isthmus.bundle.approval import beside
from isthmus.bundle.demands import require_sense
from isthmus.bundle.medium import open_regular
from isthmus.errors import UsageError
from isthmus.oci.cosign import parse_keys

_MAX_KEY_FILE = 256 * 1024


def approval_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--require-approval and --approval."""
    function = click.option(
        "--approval",
        "approval_files",
        multiple=True,
        type=click.Path(path_type=Path),
        help="An approval that is not beside the volumes.",
    )(function)
    return click.option(
        "--require-approval",
        "approver_paths",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="PUB",
        help="Require an approval by this public key; given several times, by each of them.",
    )(function)


def image_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--require-signed-by and --require-attestation."""
    function = click.option(
        "--require-attestation",
        "attestations",
        multiple=True,
        metavar="TYPE[=PATTERN]",
        help="Require an attestation of this type (spdx, cyclonedx, slsaprovenance1, vuln, a URI) by such a key.",
    )(function)
    return click.option(
        "--require-signed-by",
        "signers",
        multiple=True,
        metavar="COSIGN.PUB[=PATTERN]",
        help="Require images whose name fits the pattern to be signed with cosign by this key.  [default: all]",
    )(function)


def identity_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--identity, as `identity_paths`."""
    return click.option(
        "--identity",
        "identity_paths",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="KEYFILE",
        help="Decrypt with this age identity or SSH key; may be given several times.",
    )(function)


def identities_of(paths: Sequence[Path]) -> list[Any]:
    """The identities in all the files. Raises UsageError `file-not-found`, `invalid-key`, `wrong-usage`."""
    if not paths:
        return []
    from isthmus.bundle.encryption import identities

    return [identity for path in paths for identity in identities(path)]


def demands_of(
    approver_paths: Sequence[Path],
    approval_files: Sequence[Path],
    bundles: Sequence[Path],
    signers: Sequence[str] = (),
    attestations: Sequence[str] = (),
) -> Demands:
    """What the options ask for; approvals that lie beside the bundles are looked at too.

    Raises UsageError `file-not-found`, `invalid-key`, `wrong-usage`.
    """
    demands = Demands(
        approvers=tuple(load_public_key(path) for path in approver_paths),
        approvals=(*approval_files, *beside(path for path in bundles if str(path) != "-")),
        signed=tuple(_signed_by(text) for text in signers),
        attested=tuple(Attested(*_with_pattern(text)) for text in attestations),
    )
    require_sense(demands)
    return demands


def _signed_by(text: str) -> SignedBy:
    name, pattern = (text, "") if Path(text).exists() else _with_pattern(text)
    if not name:
        raise UsageError(
            "wrong-usage", f"{text[:100]!r} names no key", hint="write it as cosign.pub='registry.example/*'"
        )
    with open_regular(Path(name)) as file:
        pem = file.at(0, _MAX_KEY_FILE)
    return SignedBy(parse_keys(pem, name), pattern, name)


def _with_pattern(text: str) -> tuple[str, str]:
    """The pattern is what is behind the last `=`; neither names of images nor URIs of types have one."""
    head, equals, tail = text.rpartition("=")
    return (head, tail) if equals else (text, "")
