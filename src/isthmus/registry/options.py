"""`ConnectionOptions`: how a registry is to be reached. Only values; nothing here opens a connection."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Credential:
    """What a registry wants to see; never shown by `repr`.

    `identity_token` is exchanged for access tokens (OAuth 2 refresh), `registry_token` is sent as it is.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be seen in a message."""
        return tuple(text for text in (self.password, self.identity_token, self.registry_token) if text)


class CredentialSource(Protocol):
    """Knows the credentials of registries."""

    def find(self, host: str, repository: str) -> Credential | None:
        """Those for a repository (may be empty: the host as a whole); None means to stay anonymous."""
        ...


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """How a registry is reached; times in seconds, sizes in bytes.

    `insecure` and `plain_http` hold for the registry's own host only, never for hosts it points to.
    `credentials` None means Docker's and Podman's configuration files.
    """

    ca_file: Path | str | None = None
    """PEM file of authorities that are trusted beside the system's."""
    client_certificate: Path | str | None = None
    """PEM file, shown to the registry's own host; the key may be in it, or in `client_key`."""
    client_key: Path | str | None = None
    insecure: bool = False
    """Do not verify the host's certificate."""
    plain_http: bool = False
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    """The longest silence; also the window over which `minimum_rate` is measured."""
    minimum_rate: int = 1024
    """Bytes a second below which a body counts as stalled."""
    max_connections: int = 32
    retries: int = 5
    backoff: float = 0.5
    """The first delay between two attempts; doubles each time."""
    longest_wait: float = 60.0
    """The longest delay, also where the host asks for a longer one: then the request fails."""
    user_agent: str = "isthmus"
    proxy: str | None = field(default=None, repr=False)
    """A proxy's URL (`http://…`, `socks5://…`) for everything; empty for none; None for the environment's."""
    credentials: CredentialSource | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    """A bearer token to be sent as it is, instead of any credentials."""
    upload_chunk: int = 0
    """Bytes of one PATCH of an upload; 0 sends a blob in one PUT, which cannot be resumed, unless it is
    large and `Registry.remember_uploads` was told where to keep its session."""
