"""`MirrorMap`: from a name as the platform writes it to its name in the site's registry, and back.

The only place that knows. containerd's hosts.toml, the names that `serve` answers to, what `push` and
`mirror` write and what `check` looks for all come from here. Not here: how a runtime's configuration is
written (`site`).
"""

import ipaddress
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from isthmus.errors import UsageError
from isthmus.oci import Reference
from isthmus.oci.reference import DEFAULT_HOST

Mapping = Literal["prefix", "flat"]
DEFAULT_PREFIX = "mirror"

_PORT_MARK = "__"  # cannot be in a host name, so that the way back is unambiguous
_IPV6_MARK = "ipv6_"


class MirrorMap(msgspec.Struct, frozen=True):
    """How names map. `prefix` is a path without slashes at its ends and may be empty.

    `prefix`: registry.k8s.io/pause becomes PREFIX/registry.k8s.io/pause; nothing collides.
    `flat`: the host is dropped, as Kubespray does; two hosts may collide, which is an error. Without a prefix a
    name of one part goes to `library/`, because Harbor has no room for it elsewhere.
    """

    mapping: Mapping = "prefix"
    prefix: str = DEFAULT_PREFIX

    def repository(self, reference: Reference) -> str:
        """The repository inside the site's registry, without its host."""
        if self.mapping == "prefix":
            path = f"{encode_host(reference.host)}/{reference.path}"
        else:
            path = reference.path
            if "/" not in path and not self.prefix:
                path = f"library/{path}"
        return f"{self.prefix}/{path}" if self.prefix else path

    def host_prefix(self, host: str) -> str:
        """What a runtime must put before the path of an image of `host`."""
        parts = (self.prefix, encode_host(host) if self.mapping == "prefix" else "")
        return "/".join(part for part in parts if part)

    def origin(self, repository: str) -> tuple[str, str] | None:
        """The host and path that `repository` stands for, or None where the name alone does not tell."""
        if self.mapping != "prefix":
            return None
        rest = repository
        if self.prefix:
            head, rest = repository[: len(self.prefix) + 1], repository[len(self.prefix) + 1 :]
            if head != f"{self.prefix}/":
                return None
        host, slash, path = rest.partition("/")
        if not slash or not path:
            return None
        origin = decode_host(host)
        return (origin, path) if _encodes_to(origin, host) else None

    def check_collisions(self, references: Iterable[Reference]) -> None:
        """Raise UsageError (`mapping-collision`) where two different names would become one."""
        seen: dict[str, str] = {}
        for reference in references:
            inside = self.repository(reference)
            outside = f"{reference.host.lower()}/{reference.path}"
            other = seen.setdefault(inside, outside)
            if other != outside:
                raise UsageError(
                    "mapping-collision",
                    f"{other} and {outside} would both become {inside}",
                    hint="use the mapping 'prefix', which keeps the host in the name",
                )


def parse_mapping(text: str) -> Mapping:
    """The mapping of a given name; raises UsageError (`wrong-usage`)."""
    for known in get_args(Mapping):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise UsageError("wrong-usage", f"no mapping is called {text!r}", hint=f"it is one of {get_args(Mapping)}")


def encode_host(host: str) -> str:
    """A host as one legal part of a repository name; `decode_host` is its inverse.

    A port is joined by two underscores, which no host name can hold; an IPv6 address is written in full
    with dashes; letters become lowercase, as host names do not tell them apart.
    """
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        digits = f"{int(ipaddress.IPv6Address(address)):032x}"
        name = _IPV6_MARK + "-".join(digits[at : at + 4] for at in range(0, 32, 4))
        port = port.removeprefix(":")
    else:
        name, _, port = host.partition(":")
        # A host may hold double dashes, as path components may, but never begins or ends with one.
        name = name.lower()
    return f"{name}{_PORT_MARK}{port}" if port else name


def decode_host(part: str) -> str:
    """The host that `encode_host` was given, in lowercase; anything else comes back as it is."""
    name, mark, port = part.partition(_PORT_MARK)
    if name.startswith(_IPV6_MARK):
        try:
            address = ipaddress.IPv6Address(name[len(_IPV6_MARK) :].replace("-", ":"))
        except ValueError:
            return part
        mapped = int(address) >> 32 == 0xFFFF  # newer Pythons write the rest with dots, references do not
        low = int(address) & 0xFFFFFFFF
        name = f"[::ffff:{low >> 16:x}:{low & 0xFFFF:x}]" if mapped else f"[{address.compressed}]"
    return f"{name}:{port}" if mark else name


def _encodes_to(host: str, part: str) -> bool:
    """Whether `part` is what a host becomes; a client may ask for any name."""
    try:
        reference = Reference.parse(f"{host}/x/y")
        return reference.path == "x/y" and encode_host(host) == part
    except (UsageError, ValueError):
        return False


def host_of_path(repository: str, namespace: str | None) -> str:
    """The full repository name where a runtime sends the upstream host apart, as containerd's `?ns=`."""
    host = namespace or DEFAULT_HOST
    path = repository if "/" in repository or host != DEFAULT_HOST else f"library/{repository}"
    return f"{host}/{path}"
