"""The model of what isthmus.yaml says of things that are not images. Not here: the rest of the file (`config`)."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from isthmus.inventory.config_values import HttpUrl

PackageName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._:=~^-]*$", max_length=200)]
Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._~/-]*$", max_length=200)]


class VerifySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whose signature a file must have; all that are given must hold."""

    gpg: Annotated[str, Meta(description="file with the OpenPGP keys, armoured or not")] = ""
    minisign: Annotated[str, Meta(description="the public key (RW…), or a file with it")] = ""
    cosign: Annotated[str, Meta(description="file with the public key, PEM")] = ""
    signature: Annotated[
        HttpUrl | None, Meta(description="where the signature is; beside the file where it is not given")
    ] = None
    checksum: Annotated[
        HttpUrl | None, Meta(description="the checksum file; beside the file where it is not given")
    ] = None


class PackagesSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Packages for the nodes with what they depend on: a part of a Debian repository, or of an RPM one."""

    names: Annotated[tuple[PackageName, ...], Meta(min_length=1, description="NAME, or NAME=VERSION for Debian")]
    debian: Annotated[HttpUrl | None, Meta(description="the mirror, such as https://deb.debian.org/debian")] = None
    rpm: Annotated[HttpUrl | None, Meta(description="the repository: what has repodata/repomd.xml")] = None
    suite: Annotated[Word | None, Meta(description="such as bookworm or stable-updates")] = None
    components: tuple[Word, ...] = ("main",)
    architectures: Annotated[tuple[Word, ...], Meta(description="as the distribution names them")] = ("amd64",)
    keyring: Annotated[str, Meta(description="file with the distribution's OpenPGP keys")] = ""
    installed: Annotated[str, Meta(description="a node's /var/lib/dpkg/status: what it has is not carried")] = ""
    recommends: Annotated[bool, Meta(description="what is recommended as well")] = False
    sign: Annotated[
        str, Meta(description="file with the site's OpenPGP secret key: indexes are reduced, and signed with it")
    ] = ""

    @property
    def name(self) -> str:
        """What the lock calls it."""
        if self.rpm:
            return f"rpm {self.rpm.rstrip('/')}"
        return f"deb {(self.debian or '').rstrip('/')} {self.suite or ''} {' '.join(self.components)}"


class FalcoSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Falco's kernel driver, where the nodes' kernels are too old for the modern probe (before 5.8)."""

    driver: Annotated[str, Meta(description="its version, such as 8.1.0+driver")] = ""
    target: Annotated[str, Meta(description="the distribution as drivers name it, such as ubuntu-generic")] = ""
    kernels: Annotated[
        tuple[str, ...], Meta(description="RELEASE and VERSION of the kernels: 5.4.0-169-generic 187")
    ] = ()
    arch: Literal["x86_64", "aarch64"] = "x86_64"


Preset = Literal["trivy", "falco", "opensearch"]
