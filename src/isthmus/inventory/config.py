"""The model of `isthmus.yaml`: the platform, and the JSON Schema of the whole file.

Not here: the site's section (`site_config`), reading the file and saying what is wrong with it
(`config_file`), and what the settings do.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from isthmus.inventory.config_values import Architecture, Duration, HttpUrl, Secret, Sha256, SourceText
from isthmus.inventory.model import Decision
from isthmus.inventory.site_config import SiteSection
from isthmus.inventory.thing_config import FalcoSection, PackagesSection, Preset, VerifySection

SCHEMA_ID = "https://isthmus.dev/schemas/isthmus.yaml.json"


class Addition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that no source names; exactly one of image, artifact, file, chart, git and packages."""

    image: str = ""
    artifact: str = ""
    file: str = ""
    chart: Annotated[
        str, Meta(description="oci://HOST/PATH:VERSION, https://REPOSITORY#NAME?version=RANGE, or https://….tgz")
    ] = ""
    git: str = ""
    packages: PackagesSection | None = None
    sha256: Sha256 | None = None
    refresh: Annotated[Duration | None, Meta(description="how old it may become, for databases")] = None
    serve: Annotated[
        str, Meta(description="its path on the file server; a directory where it ends with a slash")
    ] = ""
    refs: Annotated[
        tuple[str, ...], Meta(description="branches and tags of a git repository; * stands for anything")
    ] = ()
    verify: VerifySection = VerifySection()
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
    perishables: Annotated[
        tuple[Preset, ...] | None,
        Meta(description="whose databases, rules and plugins are carried; what the scan finds where not given"),
    ] = None
    falco: FalcoSection = FalcoSection()
    registries: Annotated[
        dict[str, RegistryAccess], Meta(description="how hosts are reached, by host[:port] as in references")
    ] = field(default_factory=dict)
    catalogue: Annotated[
        tuple[str, ...], Meta(description="files or directories with more entries for operators' built-in images")
    ] = ()


class CrossSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What `isthmus cross` does; its options win."""

    to: Annotated[
        str, Meta(description="where bundles are sent: ssh://…, sftp://…, diode://…, or a directory")
    ] = ""
    mirror: Annotated[bool, Meta(description="this machine reaches the site's registry: fill it as well")] = False
    bundles: Annotated[str, Meta(description="where the bundles are made, each in a directory of its own")] = (
        "bundles"
    )
    site: Annotated[str, Meta(description="where the site's configuration is written")] = "site"
    volume_size: Annotated[str, Meta(description="as 650MB, 4GiB, dvd; one volume where it is empty")] = ""
    parity: Annotated[str, Meta(description="per cent: 10%")] = ""
    sign: Annotated[tuple[str, ...], Meta(description="files with private keys")] = ()
    encrypt_to: Annotated[tuple[str, ...], Meta(description="age recipients")] = ()
    since: Annotated[tuple[str, ...], Meta(description="receipts: what all these sites hold is left out")] = ()
    receipt_keys: Annotated[tuple[str, ...], Meta(description="public keys that receipts must be signed by")] = ()
    tool: Annotated[bool, Meta(description="carry Isthmus itself")] = True


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of isthmus.yaml. Relative paths in the file count from the directory that it is in."""

    platform: PlatformSection = PlatformSection()
    site: SiteSection = SiteSection()
    cross: CrossSection = CrossSection()


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
