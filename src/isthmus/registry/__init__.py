"""Talking to registries: OCI distribution-spec 1.1 and Docker's registry API v2, as a source and a sink."""

from isthmus.registry.client import Registry, connect
from isthmus.registry.credentials import CredentialFiles, FixedCredentials
from isthmus.registry.fallback import Fallback
from isthmus.registry.options import ConnectionOptions, Credential, CredentialSource
from isthmus.registry.secrets import NamedSecret

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
