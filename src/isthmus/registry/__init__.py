"""Talking to registries: OCI distribution-spec 1.1 and Docker's registry API v2, as a source and a sink."""

from isthmus.registry.client import Registry, connect
from isthmus.registry.credentials import CredentialFiles, FixedCredentials
from isthmus.registry.options import ConnectionOptions, Credential, CredentialSource

__all__ = [
    "ConnectionOptions",
    "Credential",
    "CredentialFiles",
    "CredentialSource",
    "FixedCredentials",
    "Registry",
    "connect",
]
