"""The kinds of value that isthmus.yaml is made of, with their patterns. Not here: the sections."""

from typing import Annotated

from msgspec import Meta

Architecture = Annotated[
    str,
    Meta(pattern=r"^[a-zA-Z0-9_.-]+/[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)?$", description="os/architecture[/variant]"),
]
SourceText = Annotated[
    str, Meta(pattern=r"^[a-z0-9]+:.+", description="KIND:VALUE[?option=value&…], as on the command line")
]
HttpUrl = Annotated[str, Meta(pattern=r"^https?://[^\s/]+", description="an http:// or https:// address")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="SHA-256 in lowercase hexadecimal")]
Secret = Annotated[
    str,
    Meta(
        pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|docker)$",
        description="where a secret is: env:VARIABLE, file:PATH, or docker for the Docker configuration file",
    ),
]
Duration = Annotated[str, Meta(pattern=r"^[0-9]+[smhdw]$", description="such as 90m, 24h, 7d")]
HostName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
        description="a host name, RFC 1123",
    ),
]
RecordName = Annotated[
    str,
    Meta(
        pattern=r"^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*$",
        description="a name in the DNS; *. before it means every name below",
    ),
]
Address = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f.:]{2,45}$", description="an IPv4 or IPv6 address")]
Network = Annotated[
    str,
    Meta(pattern=r"^[0-9A-Fa-f.:]{2,45}(/[0-9]{1,3})?$", description="an address or ADDRESS/BITS"),
]


def seconds_of(duration: str) -> int:
    """Seconds of a `Duration`, such as 90m or 7d."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[duration[-1]]
