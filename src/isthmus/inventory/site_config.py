"""The model of the `site` section of isthmus.yaml: the closed side, and what it leans on.

Not here: the platform's section (`config`), and what the settings do (`site`).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from isthmus.inventory.config_values import Address, Duration, HostName, HttpUrl, Network, Port, RecordName, Secret
from isthmus.inventory.mapping import DEFAULT_PREFIX, Mapping


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
    addresses: Annotated[tuple[Address, ...], Meta(description="where it answers; for policies and DNS")] = ()
    pull_secret: Annotated[
        str, Meta(description="name of the Secret that pods in the clusters pull with; empty where none is needed")
    ] = ""
    projects: ProjectsSection = ProjectsSection()


class FilesSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The file server of the site."""

    host: str = ""
    port: Port = 8080
    address: str = ""
    scheme: Literal["http", "https"] = "http"


class DnsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The name servers of the site."""

    servers: Annotated[tuple[Address, ...], Meta(description="their addresses")] = ()
    software: Annotated[
        tuple[Literal["dnsmasq", "unbound", "coredns"], ...], Meta(description="whose configuration is written")
    ] = ("dnsmasq", "unbound", "coredns")
    records: Annotated[
        dict[RecordName, tuple[Address, ...]],
        Meta(description="names besides those of the registry, the file server and the rest of the site"),
    ] = field(default_factory=dict)


class NtpSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The time servers of the site."""

    servers: tuple[str, ...] = ()
    allow: Annotated[tuple[Network, ...], Meta(description="who may ask them")] = ()


class NodesSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The machines of the site."""

    runtime: Literal["containerd", "crio", "docker", "k3s", "rke2", "talos", "openshift"] = "containerd"
    kernel: str = ""
    os: Annotated[str, Meta(description="distribution and version as drivers name them, such as ubuntu22.04")] = ""
    addresses: tuple[str, ...] = ()


class Ck8sAdmins(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who administers the platform."""

    users: Annotated[tuple[str, ...], Meta(description="as the identity provider names them")] = ()
    groups: tuple[str, ...] = ()
    domains: Annotated[tuple[str, ...], Meta(description="mail domains that may sign in to Grafana")] = ()


class Ck8sDevelopers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who uses the workload cluster, and where."""

    namespaces: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Ck8sSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The configuration of Compliant Kubernetes that `configure` writes for."""

    config: Annotated[str, Meta(description="CK8S_CONFIG_PATH")] = ""
    checkout: Annotated[
        str, Meta(description="compliantkubernetes-apps; the one of platform.sources where it is not given")
    ] = ""
    base_domain: HostName | None = None
    ops_domain: HostName | None = None
    installer: Literal["kubespray", "capi", "none"] = "kubespray"
    provider: str = "baremetal"
    admins: Ck8sAdmins = Ck8sAdmins()
    developers: Ck8sDevelopers = Ck8sDevelopers()
    falco_artifacts: Annotated[
        bool, Meta(description="let falcoctl install rules from the site instead of taking those of Falco's image")
    ] = False
    static_login: Annotated[bool, Meta(description="let Dex sign in a static user, for a demonstration")] = False
    values: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="values of your own for common, sc and wc, written into the overrides as they are"),
    ] = field(default_factory=dict)


class ClusterSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One cluster of the site; for policies, DNS and the firewall."""

    nodes: Annotated[tuple[Network, ...], Meta(description="addresses or networks of all nodes")] = ()
    control_plane: Annotated[tuple[Network, ...], Meta(description="those with the API server")] = ()
    api_port: Port = 6443
    ingress: Annotated[tuple[Network, ...], Meta(description="where its ingress controller answers")] = ()


class ObjectStorageSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The object storage of the site, S3-compatible."""

    endpoint: HttpUrl | None = None
    region: str = ""
    addresses: tuple[Network, ...] = ()
    path_style: bool = True
    auth: Annotated[Secret | None, Meta(description="ACCESS_KEY:SECRET_KEY")] = None


class AcmeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An ACME server of the site's own (RFC 8555), where it runs one."""

    directory: Annotated[HttpUrl | None, Meta(description="the address of its directory")] = None
    email: Annotated[str, Meta(description="contact of the account")] = ""
    addresses: tuple[Network, ...] = ()


class PkiSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The certificate authority of the site."""

    directory: Annotated[str, Meta(description="where `isthmus pki` keeps it")] = "pki"
    name: Annotated[str, Meta(description="in the subject; the site's domain where it is empty")] = ""
    key: Literal["ecdsa-p256", "ecdsa-p384", "rsa-3072", "rsa-4096", "ed25519"] = "ecdsa-p256"
    root: Annotated[Duration, Meta(description="life of the root")] = "3650d"
    issuing: Annotated[Duration, Meta(description="life of the issuing CA")] = "1825d"
    leaf: Annotated[Duration, Meta(description="life of what it issues")] = "365d"
    constrain: Annotated[bool, Meta(description="to the site's domain and addresses (RFC 5280, 4.2.1.10)")] = True
    permit: Annotated[
        tuple[str, ...], Meta(description="more domains, addresses and networks that it may certify")
    ] = ()
    issuer: Annotated[str, Meta(description="name of the ClusterIssuer that cert-manager gets")] = "site-ca"
    acme: Annotated[
        AcmeSection, Meta(description="let cert-manager ask this server instead of signing itself")
    ] = AcmeSection()


class ReceiverSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Somebody who gets alerts; exactly one of email, webhook and syslog."""

    name: str
    email: Annotated[str, Meta(description="address that mail goes to")] = ""
    webhook: HttpUrl | None = None
    syslog: Annotated[
        str, Meta(description="[udp://|tcp://]HOST[:PORT]; through a bridge that is written, too")
    ] = ""
    smarthost: Annotated[str, Meta(description="HOST:PORT of the mail server")] = ""
    sender: Annotated[str, Meta(description="address that mail comes from")] = ""
    auth: Secret | None = None
    tls: Annotated[bool, Meta(description="the mail server must speak TLS")] = True
    addresses: Annotated[tuple[Network, ...], Meta(description="where it answers; for policies")] = ()
    severities: Annotated[tuple[str, ...], Meta(description="only these; all where empty")] = ()


class AlertsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where alerts go."""

    to: Annotated[str, Meta(description="name of the receiver of everything; the first where it is empty")] = ""
    bridge: Annotated[
        HttpUrl | None, Meta(description="where the bridge to syslog runs; beside the file server where not given")
    ] = None
    receivers: tuple[ReceiverSection, ...] = ()


class IdentitySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The site's OpenID Connect provider."""

    issuer: HttpUrl | None = None
    addresses: tuple[Network, ...] = ()


class ToolsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where Isthmus itself is to run inside: `pack` carries its wheels for all of these."""

    python: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^3\.[1-9][0-9]$")], ...],
        Meta(min_length=1, description="minor versions of Python on the site's machines"),
    ] = ("3.11", "3.12", "3.13")
    machines: Annotated[
        tuple[Literal["x86_64", "aarch64"], ...], Meta(min_length=1, description="what `uname -m` says there")
    ] = ("x86_64",)


class SiteSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The closed side."""

    domain: str = ""
    registry: RegistrySection = RegistrySection()
    files: FilesSection = FilesSection()
    dns: DnsSection = DnsSection()
    ntp: NtpSection = NtpSection()
    nodes: NodesSection = NodesSection()
    ck8s: Ck8sSection = Ck8sSection()
    clusters: Annotated[
        dict[str, ClusterSection], Meta(description="by name; `service` and `workload` for Compliant Kubernetes")
    ] = field(default_factory=dict)
    object_storage: ObjectStorageSection = ObjectStorageSection()
    pki: PkiSection = PkiSection()
    alerts: AlertsSection = AlertsSection()
    identity: IdentitySection = IdentitySection()
    tools: ToolsSection = ToolsSection()
