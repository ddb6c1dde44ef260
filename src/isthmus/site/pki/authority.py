"""The authority as a directory: made once, then issuing and renewing what the site's servers show.

    root.key root.pem          the root; its key is needed only to make a new issuing CA, keep it elsewhere
    issuing.key issuing.pem    the issuing CA; issuing.pem is followed by the root, as cert-manager wants it
    ca.pem                     what everything inside has to trust: the root
    issued/NAME/               tls.key, tls.crt (followed by the issuing CA) and ca.crt

Not here: what certificates look like (`profile`).
"""

import datetime as dt
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from isthmus.errors import UsageError
from isthmus.site.pki.files import certificate_text, key_text, load_certificates, load_key, write
from isthmus.site.pki.profile import (
    Constraints,
    PrivateKey,
    authority,
    is_for_clients,
    is_signed_by,
    leaf,
    names_of,
    new_key,
)

_ISSUING = " issuing CA"
_NAME = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """What an authority is made with; lives in seconds."""

    name: str = ""
    key: str = "ecdsa-p256"
    root_life: float = 3650 * 86400
    issuing_life: float = 1825 * 86400
    leaf_life: float = 365 * 86400
    constraints: Constraints = field(default_factory=Constraints)


@dataclass(frozen=True, order=True)
class Issued:
    """One certificate of the directory; `until` is when it ends."""

    until: dt.datetime
    name: str
    names: tuple[str, ...]
    path: str

    def days_left(self, now: dt.datetime) -> float:
        """Days until its end; negative after it."""
        return (self.until - now).total_seconds() / 86400


class Authority:
    """The directory of one authority. A passphrase opens its keys where they are encrypted."""

    def __init__(self, directory: Path, settings: Settings, passphrase: bytes | None = None) -> None:
        self.directory = directory
        self._settings = settings
        self._passphrase = passphrase

    @property
    def exists(self) -> bool:
        """Whether the directory holds an authority."""
        return (self.directory / "ca.pem").exists()

    @property
    def trust(self) -> Path:
        """What everything inside has to trust."""
        return self.directory / "ca.pem"

    def create(self) -> tuple[Path, ...]:
        """Make root and issuing CA; raises UsageError `file-exists` where there is one, `invalid-config`."""
        for name in ("root.key", "root.pem", "issuing.key", "issuing.pem", "ca.pem"):
            if (self.directory / name).exists():
                raise UsageError(
                    "file-exists",
                    "there is an authority already",
                    where=str(self.directory / name),
                    hint="`isthmus pki renew` makes new certificates; a new authority needs another directory",
                )
        settings = self._settings
        key = new_key(settings.key)
        root = authority(f"{settings.name} root CA", key, settings.root_life, settings.constraints)
        self._write_key("root.key", key)
        write(self.directory / "root.pem", certificate_text(root))
        self._new_issuing(root, key)
        write(self.trust, certificate_text(root))  # last: its presence says that all is there
        return tuple(self.directory / name for name in ("ca.pem", "root.key", "issuing.key", "issuing.pem"))

    def issue(self, name: str, names: Iterable[str], *, client: bool = False, life: float | None = None) -> Path:
        """Make a key and a certificate below `issued/NAME`; raises UsageError where the name is taken.

        Also `wrong-usage` for names that the authority may not certify.
        """
        if not _NAME.fullmatch(name) or ".." in name:
            raise UsageError("wrong-usage", f"not a name for a directory: {name[:100]!r}")
        place = self.directory / "issued" / name.replace("*", "wildcard")
        if (place / "tls.crt").exists():
            raise UsageError(
                "file-exists",
                f"there is a certificate for {name} already",
                where=str(place),
                hint="renew it with `isthmus pki renew`, or give it another --name",
            )
        self._issue(place, tuple(names), client=client, life=life)
        return place

    def renew(self, within: float, *, now: dt.datetime | None = None) -> tuple[str, ...]:
        """Make anew, with a new key, whatever ends within `within` seconds; returns their names.

        The issuing CA too, where the root's key is there; raises UsageError `file-not-found` where it is not.
        """
        moment = now or dt.datetime.now(dt.UTC)
        limit = moment + dt.timedelta(seconds=within)
        renewed = []
        root = load_certificates(self.directory / "root.pem")[0]
        if load_certificates(self.directory / "issuing.pem")[0].not_valid_after_utc <= limit:
            self._new_issuing(root, load_key(self.directory / "root.key", self._passphrase))
            renewed.append("issuing")
        signer = load_certificates(self.directory / "issuing.pem")[0]
        for place in self._places():
            certificate = load_certificates(place / "tls.crt")[0]
            due = certificate.not_valid_after_utc <= limit
            # What another issuing CA has signed would end with that one; a key of another certificate is what
            # is left when the machine stops between the two files.
            if due or not is_signed_by(certificate, signer) or not _belongs(place, certificate):
                self._issue(place, names_of(certificate), client=is_for_clients(certificate), life=None)
                renewed.append(place.name)
        return tuple(renewed)

    def list(self) -> tuple[Issued, ...]:
        """Everything with its end, the first to end first; authorities included."""
        found = []
        for name in ("root", "issuing"):
            path = self.directory / f"{name}.pem"
            certificate = load_certificates(path)[0]
            found.append(Issued(certificate.not_valid_after_utc, name, (), str(path)))
        for place in self._places():
            certificate = load_certificates(place / "tls.crt")[0]
            found.append(
                Issued(certificate.not_valid_after_utc, place.name, names_of(certificate), str(place / "tls.crt"))
            )
        return tuple(sorted(found))

    def _places(self) -> Iterator[Path]:
        issued = self.directory / "issued"
        for name in sorted(os.listdir(issued)) if issued.is_dir() else []:
            if (issued / name / "tls.crt").exists():
                yield issued / name

    def _new_issuing(self, root: x509.Certificate, root_key: PrivateKey) -> None:
        settings = self._settings
        key = new_key(settings.key)
        left = (root.not_valid_after_utc - dt.datetime.now(dt.UTC)).total_seconds()
        made = authority(
            f"{settings.name}{_ISSUING}",
            key,
            min(settings.issuing_life, left),
            settings.constraints,
            (root, root_key),
        )
        self._write_key("issuing.key", key)
        write(self.directory / "issuing.pem", certificate_text(made, root))

    def _issue(self, place: Path, names: tuple[str, ...], *, client: bool, life: float | None) -> None:
        refused = [name for name in names if not self._settings.constraints.allows(name)]
        if refused:
            raise UsageError(
                "wrong-usage",
                f"the authority may not certify {', '.join(refused)}",
                hint="its constraints come from site.domain, the addresses and site.pki.permit in isthmus.yaml",
            )
        certificates = load_certificates(self.directory / "issuing.pem")
        signer = (certificates[0], load_key(self.directory / "issuing.key", self._passphrase))
        key = new_key(self._settings.key)
        made = leaf(names, key, life or self._settings.leaf_life, signer, client=client)
        # A server needs its key without a person; it is its owner's alone instead.
        write(place / "tls.key", key_text(key, None), private=True)
        write(place / "ca.crt", certificate_text(*certificates[1:]))
        write(place / "tls.crt", certificate_text(made, certificates[0]))

    def _write_key(self, name: str, key: PrivateKey) -> None:
        write(self.directory / name, key_text(key, self._passphrase), private=True)


def open_authority(directory: Path, settings: Settings, passphrase: bytes | None = None) -> Authority:
    """An authority that was made before; its name and constraints are those of its certificate.

    Raises UsageError `file-not-found` where there is none, `invalid-key`.
    """
    certificate = load_certificates(directory / "issuing.pem")[0]
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value).removesuffix(_ISSUING) if names else ""
    known = replace(settings, name=name, constraints=Constraints.of(certificate))
    return Authority(directory, known, passphrase)


def _belongs(place: Path, certificate: x509.Certificate) -> bool:
    try:
        return load_key(place / "tls.key", None).public_key() == certificate.public_key()
    except UsageError:
        return False
