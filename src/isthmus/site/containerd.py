"""containerd's `certs.d/HOST/hosts.toml` for every upstream host, written from `MirrorMap`.

containerd's docs/hosts.md describes the files. Here they make sure that a node asks the site's registry
alone, under every name: `server` is the site too, so that a miss is answered by the site's 404 and not by an
attempt to reach the Internet, whose DNS error would hide it. Not here: Kubespray's variables for the same.
"""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from isthmus.errors import UsageError
from isthmus.inventory.containerd_hosts import host_directory, hosts_toml
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Reference
from isthmus.oci.reference import DEFAULT_HOST
from isthmus.site.containerd_credentials import credentials_script
from isthmus.site.installer import Placed, installer
from isthmus.site.names import moved_decision
from isthmus.site.output import OutputFile, write_files
from isthmus.site.plan import Part, Site
from isthmus.site.text import heading

DEFAULT_DIRECTORY = "_default"

_CONFIG = "/etc/containerd/config.toml"
_OLDER = f"containerd 1.x: this belongs into {_CONFIG}; install.sh puts it there where the node has no such file."
_NEWER = f"containerd 2.x: this belongs into {_CONFIG}; install.sh puts it there where the node has no such file."
# hosts.toml is read at every pull. Only the setting that names the directory needs a restart; it is in a file
# that every distribution fills in its own way and that has no merging of parts, so that it is not edited.
_IS_OLDER = "containerd --version 2>/dev/null | grep -Eq ' v?1\\.'"
_AFTER = (
    "command -v containerd >/dev/null || return 0",
    f"if grep -Fqxs 'new {_CONFIG}' \"$state/list\"; then systemctl restart containerd; fi",
    "if ! containerd config dump 2>/dev/null | grep -q 'config_path = .*/etc/containerd/certs'; then",
    "    echo 'containerd does not read /etc/containerd/certs.d yet: merge config-v2.toml (for 1.x) or' >&2",
    f"    echo 'config-v3.toml (2.x) into {_CONFIG} and restart it.' >&2",
    "fi",
)
_CA_FILE = "ca.pem"


def configure(site: Site) -> Part:
    """`containerd/certs.d`, as `isthmus.site.parts` wants it. Raises what `containerd_files` raises."""
    files = containerd_files(
        site.references,
        site.mapping,
        site.registry,
        ca=site.ca_path,
        ca_certificate=None if site.ca_path or site.skip_verify else site.ca,
        skip_verify=site.skip_verify,
    )
    placed = [OutputFile(f"containerd/certs.d/{file.path}", file.content) for file in files]
    setting = '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n'
    newer = '[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "/etc/containerd/certs.d"\n'
    drop_ins = [
        OutputFile("containerd/config-v2.toml", f"{heading(_OLDER)}version = 2\n{setting}".encode()),
        OutputFile("containerd/config-v3.toml", f"{heading(_NEWER)}version = 3\n{newer}".encode()),
    ]
    script = installer(
        "containerd",
        "the site's registry for containerd",
        [
            Placed("certs.d", "/etc/containerd/certs.d"),
            Placed("config-v2.toml", _CONFIG, condition=_IS_OLDER, only_new=True),
            Placed("config-v3.toml", _CONFIG, condition=f"! {_IS_OLDER}", only_new=True),
        ],
        after=_AFTER,
    )
    return Part((*placed, *drop_ins, script, credentials_script()), moved_decision(site, "containerd"))


def configure_containerd(
    references: Iterable[Reference],
    mapping: MirrorMap,
    registry: str,
    out: Path,
    *,
    ca: str = "",
    ca_certificate: bytes | None = None,
    skip_verify: bool = False,
    dry_run: bool = False,
) -> tuple[Path, ...]:
    """Write `HOST/hosts.toml` below `out`, which is to become a node's `/etc/containerd/certs.d`.

    Takes what `containerd_files` takes, and raises what it and `write_files` raise.
    """
    files = containerd_files(
        references, mapping, registry, ca=ca, ca_certificate=ca_certificate, skip_verify=skip_verify
    )
    return write_files(files, out, dry_run=dry_run)


def containerd_files(
    references: Iterable[Reference],
    mapping: MirrorMap,
    registry: str,
    *,
    ca: str = "",
    ca_certificate: bytes | None = None,
    skip_verify: bool = False,
) -> tuple[OutputFile, ...]:
    """The files for every host of the references, for docker.io, and `_default` for all others.

    `registry` is the site's, as `https://host[:port]`. `ca` is where the node has the site's CA; or
    `ca_certificate` is that (PEM) itself, which is then written beside each hosts.toml.
    Raises UsageError: `wrong-usage`, or `mapping-collision`.
    """
    references = tuple(references)
    _check_registry(registry)
    if not ca.isprintable():
        raise UsageError("wrong-usage", f"not a path that can be written down: {ca[:200]!r}")
    if skip_verify and (ca or ca_certificate):
        raise UsageError("wrong-usage", "a CA and no verification contradict each other")
    mapping.check_collisions(references)
    if ca_certificate is not None:
        ca = _CA_FILE  # containerd takes relative paths from the directory of the hosts.toml
    hosts = {reference.host for reference in references} | {DEFAULT_HOST}
    files = []
    for directory, host in [*((host_directory(host), host) for host in hosts), (DEFAULT_DIRECTORY, None)]:
        text = hosts_toml(mapping, registry, host, ca=ca, skip_verify=skip_verify)
        files.append(OutputFile(f"{directory}/hosts.toml", text.encode()))
        if ca_certificate is not None:
            files.append(OutputFile(f"{directory}/{_CA_FILE}", ca_certificate))
    return tuple(sorted(files, key=lambda file: file.path))


def _check_registry(registry: str) -> None:
    try:
        parts = urlsplit(registry)
        port = parts.port
    except ValueError as error:
        raise UsageError("wrong-usage", f"not the URL of a registry: {registry[:200]!r}") from error
    plain = (
        registry.isprintable()
        and parts.path in ("", "/")
        and not (parts.query or parts.fragment or parts.username or parts.password)
    )
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain or port == 0:
        raise UsageError(
            "wrong-usage", f"not the URL of a registry: {registry[:200]!r}", hint="write https://host[:port]"
        )
