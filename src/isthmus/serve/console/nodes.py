"""What nodes and people need to pull from here: names, commands, hosts.toml, a script; all from `MirrorMap`.

The same files as `isthmus configure` writes. Not here: which of them are offered (`downloads`).
"""

import io
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from isthmus.inventory.containerd_hosts import host_directory, hosts_toml
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Reference
from isthmus.oci.reference import DEFAULT_HOST
from isthmus.serve.console.holdings import Row
from isthmus.serve.console.login import is_secure
from isthmus.serve.names import OWN_HOST

CERTS = "/etc/containerd/certs.d"
_CA = "ca.pem"
_ADDRESS = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
_INTERNAL = "isthmus.internal"


@dataclass(frozen=True)
class Address:
    """Where this registry is, as whoever asks reached it."""

    host: str
    is_secure: bool

    @property
    def url(self) -> str:
        """With the scheme."""
        return f"{'https' if self.is_secure else 'http'}://{self.host}"


def address_of(request: web.Request) -> Address:
    """From the request; a host that could not be one becomes a placeholder."""
    host = request.host if _ADDRESS.fullmatch(request.host) else "registry.example"
    return Address(host, is_secure(request))


@dataclass(frozen=True)
class Command:
    """Something to copy, and what it is for."""

    title: str
    text: str


def inside_name(mapping: MirrorMap, reference: Reference) -> str:
    """The name in this registry, without its host, with tag or digest."""
    repository = reference.path if reference.host == OWN_HOST else mapping.repository(reference)
    return f"{repository}@{reference.digest}" if reference.digest else f"{repository}:{reference.tag}"


def commands(row: Row, mapping: MirrorMap, address: Address) -> list[Command]:
    """How to get at a reference."""
    reference = Reference.parse(row.name)
    inside = f"{address.host}/{inside_name(mapping, reference)}"
    plain = not address.is_secure
    if row.kind == "image":
        is_upstream = reference.host not in (OWN_HOST, _INTERNAL)
        name = row.name if is_upstream else inside
        hosts = f" --hosts-dir {CERTS}" if is_upstream else " --plain-http" if plain else ""
        found = [
            Command("On a node, as Kubernetes does", f"crictl pull {name}"),
            Command("containerd", f"ctr -n k8s.io images pull{hosts} {name}"),
            Command("Docker or Podman", f"docker pull {inside}"),
        ]
    elif row.kind == "chart":
        repository = inside.partition("@")[0].rpartition(":")[0] or inside
        version = f" --version {reference.tag.replace('_', '+')}" if reference.tag else ""
        found = [Command("Helm", f"helm pull oci://{repository}{version}{' --plain-http' if plain else ''}")]
    else:
        found = [Command("ORAS", f"oras pull{' --plain-http' if plain else ''} {inside}")]
    verify = " --tls-verify=false" if plain else ""
    return [*found, Command("Look at it", f"skopeo inspect{verify} --raw docker://{inside}")]


def upstream_hosts(rows: Iterable[Row]) -> list[str]:
    """Hosts that nodes ask for: those of what is held, and docker.io."""
    hosts = {row.host for row in rows} | {DEFAULT_HOST}
    return sorted(hosts - {OWN_HOST, _INTERNAL})


def node_file(mapping: MirrorMap, address: Address, host: str | None, *, has_ca: bool) -> str:
    """The hosts.toml of one upstream host, or of all others."""
    ca = f"{CERTS}/{_CA}" if has_ca and address.is_secure else ""
    return hosts_toml(mapping, address.url, host, ca=ca)


def node_files(mapping: MirrorMap, address: Address, hosts: Iterable[str], *, has_ca: bool) -> dict[str, str]:
    """Every hosts.toml by its path below certs.d."""
    found = {f"{host_directory(host)}/hosts.toml": host for host in hosts}
    files = {path: node_file(mapping, address, host, has_ca=has_ca) for path, host in found.items()}
    return files | {"_default/hosts.toml": node_file(mapping, address, None, has_ca=has_ca)}


def node_script(files: dict[str, str], ca: str) -> str:
    """A POSIX shell script that puts the files there; run as root on every node."""
    lines = [
        "#!/bin/sh",
        "# Lets containerd pull from this site's registry alone. Run it as root; running it again does no harm.",
        "set -eu",
        f'certs="${{1:-{CERTS}}}"',
        "umask 022",
        'put() { mkdir -p "$(dirname "$certs/$1")"; cat > "$certs/$1.new"; mv "$certs/$1.new" "$certs/$1"; }',
    ]
    for path, text in sorted(files.items()) + ([(_CA, ca)] if ca else []):
        lines += [f"put '{path}' <<'END-OF-FILE'", text.rstrip("\n"), "END-OF-FILE"]
    lines += [
        f'echo "Done. containerd reads $certs where its config_path says so ({CERTS}); no restart is needed."',
        "",
    ]
    return "\n".join(lines)


def node_archive(files: dict[str, str], ca: str) -> bytes:
    """The files as a tar, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, text in sorted(files.items()) + ([(_CA, ca)] if ca else []):
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()
