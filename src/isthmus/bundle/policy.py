"""What a site accepts: how many of which keys must have signed, nothing expired, nothing older than it has taken.

The policy is pinned, and what was taken is remembered, in `STORE.trust.json` beside the store. docs/security.md
says what this protects from. Not here: the signatures of single volumes (`trust`).
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec

from isthmus.bundle.beside import replace
from isthmus.bundle.keys import PublicKey, load_public_key, short_id
from isthmus.bundle.layout import Signature
from isthmus.bundle.manifest import Size, bundle_id
from isthmus.bundle.medium import open_regular
from isthmus.bundle.volume import Contents
from isthmus.errors import UsageError, VerificationError
from isthmus.oci.cosign import parse_keys

_FORMAT: Final = "isthmus-trust"
_MAX_FILE: Final = 1024 * 1024
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"

_Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class ImageRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Images whose name fits the pattern must be signed by one of the keys in this PEM text; all, without one."""

    pem: str
    pattern: str = ""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The raw public keys that a site trusts, and what it asks of a bundle beside them."""

    keys: tuple[_Hex32, ...]
    threshold: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    require_sequence: bool = False
    require_expiry: bool = False
    approvers: tuple[_Hex32, ...] = ()
    approvals: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    images: tuple[ImageRule, ...] = ()

    @property
    def approver_keys(self) -> tuple[PublicKey, ...]:
        """Those of which `approvals` must have approved."""
        return tuple(PublicKey(bytes.fromhex(key)) for key in self.approvers)

    @property
    def public_keys(self) -> tuple[PublicKey, ...]:
        """The keys."""
        return tuple(PublicKey(bytes.fromhex(key)) for key in self.keys)


class _ImageFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    pattern: str = ""


class _PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=64)]
    threshold: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    require_sequence: bool = False
    require_expiry: bool = False
    approvers: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()
    approvals: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    images: Annotated[tuple[_ImageFile, ...], msgspec.Meta(max_length=64)] = ()


class Taken(msgspec.Struct, frozen=True):
    """The newest bundle of a name that was taken: its sequence number and id, and when it expires."""

    sequence: Size
    bundle: _Hex32
    expires: str | None = None


class _State(msgspec.Struct, frozen=True):
    format: str = _FORMAT
    version: int = 1
    policy: Policy | None = None
    taken: dict[str, Taken] = {}


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """A policy file: YAML with `keys` (files beside it), `threshold`, `require_sequence`, `require_expiry`.

    `approvers` are key files too, of which `approvals` (1, unless said) must have approved a bundle. `images` are
    pairs of cosign's `key` and `pattern`.

    Raises UsageError `file-not-found`, `invalid-config`, `invalid-key`.
    """
    place = Path(path)
    try:
        found = msgspec.yaml.decode(_read(place), type=_PolicyFile)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise UsageError("invalid-config", f"not a policy: {str(error)[:200]}", where=str(place)) from error
    keys = {load_public_key(place.parent / key).raw.hex(): None for key in found.keys}
    if found.threshold > len(keys):
        why = f"the threshold is {found.threshold}, and there are {len(keys)} different keys"
        raise UsageError("invalid-config", why, where=str(place))
    approvers = tuple({load_public_key(place.parent / key).raw.hex(): None for key in found.approvers})
    approvals = (found.approvals or 1) if approvers else found.approvals or 0
    if approvals > len(approvers):
        why = f"it asks for {approvals} approvals, and there are {len(approvers)} different approvers"
        raise UsageError("invalid-config", why, where=str(place))
    return Policy(
        tuple(keys),
        found.threshold,
        found.require_sequence,
        found.require_expiry,
        approvers,
        approvals,
        tuple(_image_rule(place.parent / each.key, each.pattern) for each in found.images),
    )


def _image_rule(path: Path, pattern: str) -> ImageRule:
    """A rule with the keys themselves, since the policy is pinned without its files."""
    pem = _read(path)
    parse_keys(pem, str(path))
    return ImageRule(pem.decode("ascii", "replace"), pattern)


@dataclass(frozen=True, slots=True)
class Gate:
    """What stands between a bundle and a store. `keys` are those of which one must have signed each volume."""

    path: Path
    state: _State
    policy: Policy | None
    keys: tuple[PublicKey, ...]
    allow_older: bool = False

    def admit(self, contents: Contents, signatures: Iterable[Signature], now: datetime | None = None) -> None:
        """Raise VerificationError `unsigned`, `bad-signature`, `expired-bundle` or `older-bundle`."""
        manifest = contents.manifest
        if self.policy:
            self._check_signatures(self.policy, contents, tuple(signatures))
            if self.policy.require_sequence and manifest.sequence is None:
                raise _refused("older-bundle", "it has no sequence number, which the policy requires")
            if self.policy.require_expiry and manifest.expires is None:
                raise _refused("expired-bundle", "it does not say when it expires, which the policy requires")
        if manifest.expires is not None and (now or datetime.now(UTC)) >= parse_time(manifest.expires):
            raise _refused("expired-bundle", f"it expired at {manifest.expires}; ask for a newer one")
        self._check_sequence(contents)

    def _check_signatures(self, policy: Policy, contents: Contents, signatures: Sequence[Signature]) -> None:
        if not signatures:
            raise _refused("unsigned", "it is not signed, and this site has a policy")
        signed = [
            key for key in policy.public_keys if any(key.verifies(found, contents.raw) for found in signatures)
        ]
        if len(signed) < policy.threshold:
            by = ", ".join(short_id(key.key_id) for key in signed) or "none"
            raise _refused(
                "bad-signature", f"the policy asks for {policy.threshold} trusted signatures; it has {by}"
            )

    def _check_sequence(self, contents: Contents) -> None:
        taken = self.state.taken.get(contents.manifest.name)
        if taken is None or self.allow_older:
            return
        sequence = contents.manifest.sequence
        if sequence is None or sequence < taken.sequence:
            what = "no sequence number" if sequence is None else f"sequence number {sequence}"
            raise _refused("older-bundle", f"it has {what}, and this site has taken number {taken.sequence}")
        if sequence == taken.sequence and taken.bundle != bundle_id(contents.raw).hex():
            why = f"this site has taken another bundle with its sequence number, {sequence}"
            raise _refused("older-bundle", why)

    def record(self, contents: Contents, *, verified: bool) -> None:
        """Remember the policy, and where a signature was verified, the sequence number. Raises `io-failed`."""
        manifest, taken = contents.manifest, dict(self.state.taken)
        if verified and manifest.sequence is not None:
            taken[manifest.name] = Taken(manifest.sequence, bundle_id(contents.raw).hex(), manifest.expires)
        state = _State(policy=self.policy, taken=taken)
        if state != self.state:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace(
                self.path,
                msgspec.json.format(msgspec.json.encode(state, order="sorted"), indent=2) + b"\n",
                durable=True,
            )


def gate(
    store: Path, keys: Sequence[PublicKey] = (), policy: Policy | None = None, *, allow_older: bool = False
) -> Gate:
    """The gate of a store; without a policy, that which was pinned holds. Raises UsageError `invalid-config`."""
    place = Path(os.path.abspath(store))
    path = place.with_name(f"{place.name}.trust.json")
    state = _State()
    if path.exists():
        try:
            state = msgspec.json.decode(_read(path), type=_State)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise UsageError(
                "invalid-config", f"not a site's trust: {str(error)[:200]}", where=str(path)
            ) from error
    holds = policy or state.policy
    return Gate(path, state, holds, tuple(keys) or (holds.public_keys if holds else ()), allow_older)


def parse_time(text: str) -> datetime:
    """A time as manifests have it, `2027-01-31T00:00:00Z`; raises VerificationError `damaged-volume`."""
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise VerificationError("damaged-volume", "the manifest's time is not one") from error


def expiry(text: str) -> str:
    """A date or time of the command line as manifests have it; raises UsageError `wrong-usage`."""
    for form in ("%Y-%m-%d", _TIME):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC).strftime(_TIME)
        except ValueError:
            continue
    raise UsageError("wrong-usage", f"not a date: {text[:100]!r}", hint="write 2027-01-31 or 2027-01-31T12:00:00Z")


def _read(path: Path) -> bytes:
    with open_regular(path) as file:
        if file.size > _MAX_FILE:
            raise UsageError("invalid-config", f"it is larger than {_MAX_FILE} bytes", where=str(path))
        return file.at(0, _MAX_FILE)


def _refused(code: str, why: str) -> VerificationError:
    return VerificationError(code, f"the bundle is refused: {why}")
