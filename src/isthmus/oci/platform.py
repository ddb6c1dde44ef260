"""Platforms such as `linux/arm64/v8` (OCI image-spec, image-index.md, "platform")."""

import re
from typing import Self

import msgspec

from isthmus.errors import UsageError

_PART = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "i386": ("386", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_DEFAULT_VARIANT = {"amd64": "v1", "arm64": "v8", "arm": "v7"}


class Platform(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """An operating system and a machine; `variant` and `os_version` only where the image names them."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `os/architecture[/variant]`, normalised as containerd does.

        Raises UsageError (`invalid-platform`).
        """
        parts = text.strip().split("/")
        if len(parts) not in (2, 3) or not all(_PART.fullmatch(part) for part in parts):
            raise UsageError(
                "invalid-platform", f"not a platform: {text[:100]!r}", hint="write linux/amd64 or linux/arm/v7"
            )
        system, written = parts[0].lower(), parts[1].lower()
        machine, variant = _ARCHITECTURES.get(written, (written, ""))
        if len(parts) == 3:
            variant = f"v{parts[2]}" if parts[2].isdigit() else parts[2].lower()
        return cls(os=system, architecture=machine, variant=variant)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def matches(self, wanted: "Platform") -> bool:
        """Whether an image for this platform is meant by `wanted`.

        A wanted platform without a variant means every variant; arm64 alone and arm64/v8 are the same, and so
        are arm and arm/v7, amd64 and amd64/v1.
        """
        if (self.os, self.architecture) != (wanted.os, wanted.architecture):
            return False
        if not wanted.variant:
            return True
        return (self.variant or _DEFAULT_VARIANT.get(self.architecture, "")) == wanted.variant
