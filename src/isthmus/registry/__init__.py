"""Talking to registries: OCI distribution-spec 1.1 and Docker's registry API v2, as a source and a sink."""

from typing import TYPE_CHECKING

from isthmus.late import names_of

if TYPE_CHECKING:
    from isthmus.registry.client import Registry, connect
    from isthmus.registry.credentials import CredentialFiles, FixedCredentials
    from isthmus.registry.fallback import Fallback
    from isthmus.registry.options import ConnectionOptions, Credential, CredentialSource
    from isthmus.registry.secrets import NamedSecret

_HOME = {
    "Registry": "isthmus.registry.client",
    "connect": "isthmus.registry.client",
    "CredentialFiles": "isthmus.registry.credentials",
    "FixedCredentials": "isthmus.registry.credentials",
    "Fallback": "isthmus.registry.fallback",
    "ConnectionOptions": "isthmus.registry.options",
    "Credential": "isthmus.registry.options",
    "CredentialSource": "isthmus.registry.options",
    "NamedSecret": "isthmus.registry.secrets",
}
"""Imported when first asked for: a command that finds nothing to do needs little of this room."""

__all__ = [
    "ConnectionOptions",
    "Credential",
    "CredentialFiles",
    "CredentialSource",
    "Fallback",
    "FixedCredentials",
    "NamedSecret",
    "Registry",
    "connect",
]

if not TYPE_CHECKING:
    __getattr__ = names_of(__name__, globals(), _HOME)
