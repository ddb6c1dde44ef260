"""Debian's skopeo: another implementation that copies and reads images, to compare ours with.

It runs with a home of its own, so that nobody's registry credentials or policies take part.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.real.programs import output


class Skopeo:
    """Runs skopeo; image names are in its notation (docker://…, oci:DIR:REF, dir:…)."""

    def __init__(self, home: Path) -> None:
        self._env = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "DOCKER_CONFIG": str(home)}

    def run(self, *arguments: str | Path, timeout: float = 120) -> str:
        """Run skopeo with any arguments and return its output."""
        return output("skopeo", "--insecure-policy", *arguments, env=self._env, timeout=timeout)

    def copy(
        self,
        source: str,
        destination: str,
        *,
        every_platform: bool = True,
        source_credentials: str | None = None,
        destination_credentials: str | None = None,
        certificates: Path | None = None,
    ) -> None:
        """Copy byte for byte, or fail; certificates is a directory with ca.crt, else TLS is not verified."""
        arguments: list[str | Path] = ["copy", "--preserve-digests", *(["--all"] if every_platform else [])]
        sides = (("src", source, source_credentials), ("dest", destination, destination_credentials))
        for side, name, credentials in sides:
            if name.startswith("docker://"):
                arguments += _tls(f"{side}-", certificates)
            if credentials:
                arguments += [f"--{side}-creds", credentials]
        self.run(*arguments, source, destination)

    def raw(self, name: str, *, credentials: str | None = None, certificates: Path | None = None) -> bytes:
        """Return the manifest, byte for byte."""
        arguments = _tls("", certificates) if name.startswith("docker://") else []
        creds = ["--creds", credentials] if credentials else []
        return self.run("inspect", "--raw", *arguments, *creds, name).encode()

    def digest(self, name: str, *, credentials: str | None = None, certificates: Path | None = None) -> str:
        """Return the digest of the manifest or index that the name leads to."""
        raw = self.raw(name, credentials=credentials, certificates=certificates)
        return f"sha256:{hashlib.sha256(raw).hexdigest()}"

    def inspect(self, name: str) -> dict[str, Any]:
        """Return skopeo's description of this platform's image."""
        arguments = _tls("", None) if name.startswith("docker://") else []
        described: dict[str, Any] = json.loads(self.run("inspect", *arguments, name))
        return described


def _tls(prefix: str, certificates: Path | None) -> list[str]:
    if certificates is None:
        return [f"--{prefix}tls-verify=false"]
    return [f"--{prefix}cert-dir={certificates}"]
