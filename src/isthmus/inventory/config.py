"""The model of `isthmus.yaml`: the platform and the site, and its JSON Schema.

Not here: reading the file and saying what is wrong with it (`config_file`), and what the settings do.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from isthmus.inventory.mapping import DEFAULT_PREFIX, Mapping
from isthmus.inventory.model import Decision

SCHEMA_ID = "https://isthmus.dev/schemas/isthmus.yaml.json"

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


class Addition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that no source names; exactly one of image, artifact, file, chart, git and packages."""

    image: str = ""
    artifact: str = ""
    file: str = ""
    chart: str = ""
    git: str = ""
    packages: str = ""
    sha256: Sha256 | None = None
    refresh: Annotated[Duration | None, Meta(description="how old it may become, for databases")] = None
    serve: Annotated[str, Meta(description="the directory of the file server that it is put in")] = ""
    platforms: tuple[Architecture, ...] = ()
    reason: str = ""


class Decided(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is decided about an endpoint; it covers every address that begins with `endpoint`."""

    endpoint: str
    decision: Decision
    reason: str = ""


class Waiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An unresolved item that is accepted, with the reason that goes into the report."""

    what: Annotated[
        str, Meta(description="the item as the list of unresolved items names it; * stands for anything")
    ]
    reason: Annotated[str, Meta(min_length=1)]


class RegistryAccess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one host's registry is reached."""

    auth: Secret | None = None
    ca: Annotated[str, Meta(description="file with the certificate authority, PEM")] = ""
    client_certificate: Annotated[str, Meta(description="file with the certificate to show, PEM")] = ""
    client_key: Annotated[
        str, Meta(description="file with its key, PEM, where it is not in the certificate's")
    ] = ""
    insecure: Annotated[bool, Meta(description="do not verify the certificate")] = False
    plain_http: Annotated[bool, Meta(description="speak HTTP without TLS")] = False
    mirrors: Annotated[
        tuple[HttpUrl, ...],
        Meta(description="who else has its content, in the order in which they are asked; path included"),
    ] = ()


class PlatformSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What has to run inside."""

    name: str = "platform"
    architectures: tuple[Architecture, ...] = ("linux/amd64",)
    sources: tuple[SourceText, ...] = ()
    add: tuple[Addition, ...] = ()
    decide: tuple[Decided, ...] = ()
    waive: tuple[Waiver, ...] = ()
    include: Annotated[
        tuple[Literal["conditional", "test", "possible"], ...],
        Meta(description="what is locked besides what is needed always"),
    ] = ()
    upstreams: Annotated[
        dict[str, HttpUrl], Meta(description="where to fetch what a host holds, such as a proxy or a mirror")
    ] = field(default_factory=dict)
    registries: Annotated[
        dict[str, RegistryAccess], Meta(description="how hosts are reached, by host[:port] as in references")
    ] = field(default_factory=dict)
    catalogue: Annotated[
        tuple[str, ...], Meta(description="files or directories with more entries for operators' built-in images")
    ] = ()


class ProjectsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What projects are like that are made in the site's Harbor; those that are there are left alone."""

    public: Annotated[bool, Meta(description="readable by everybody who reaches the registry")] = False
    storage_limit: Annotated[
        Annotated[int, Meta(ge=-1)] | None, Meta(description="quota in bytes; -1 for none")
    ] = None


class RegistrySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The registry of the site."""

    host: str = ""
    mapping: Mapping = "prefix"
    prefix: str = DEFAULT_PREFIX
    kind: Literal["generic", "harbor", "isthmus"] = "generic"
    ca: Annotated[str, Meta(description="file with the certificate authority")] = ""
    auth: Secret | None = None
    insecure: Annotated[bool, Meta(description="speak plain HTTP, or do not check the certificate")] = False
    projects: ProjectsSection = ProjectsSection()


class FilesSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The file server of the site."""

    host: str = ""
    port: Port = 8080
    address: str = ""
    scheme: Literal["http", "https"] = "http"


class DnsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The name servers of the site."""

    servers: tuple[str, ...] = ()


class NtpSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The time servers of the site."""

    servers: tuple[str, ...] = ()


class NodesSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The machines of the site."""

    runtime: Literal["containerd", "crio", "docker", "k3s", "rke2"] = "containerd"
    kernel: str = ""
    os: Annotated[str, Meta(description="distribution and version as drivers name them, such as ubuntu22.04")] = ""
    addresses: tuple[str, ...] = ()


class Ck8sSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The configuration of Compliant Kubernetes that `configure` writes for."""

    config: Annotated[str, Meta(description="CK8S_CONFIG_PATH")] = ""


class SiteSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The closed side."""

    domain: str = ""
    registry: RegistrySection = RegistrySection()
    files: FilesSection = FilesSection()
    dns: DnsSection = DnsSection()
    ntp: NtpSection = NtpSection()
    nodes: NodesSection = NodesSection()
    ck8s: Ck8sSection = Ck8sSection()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of isthmus.yaml. Relative paths in the file count from the directory that it is in."""

    platform: PlatformSection = PlatformSection()
    site: SiteSection = SiteSection()


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of isthmus.yaml."""
    document = msgspec.json.schema(Config)
    kinds = ("image", "artifact", "file", "chart", "git", "packages")
    for definition in document["$defs"].values():
        definition.setdefault("additionalProperties", False)
    document["$defs"]["Addition"]["oneOf"] = [{"required": [kind]} for kind in kinds]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "isthmus.yaml",
        **document,
    }
