"""What becomes stale: databases, rules and plugins, how old each may be, and what breaks then. Pure.

`expand` adds what the platform will fetch besides what the scan saw. Not here: fetching, ages (`content`).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal
from urllib.parse import quote

import msgspec

from isthmus.inventory.config import PlatformSection
from isthmus.inventory.model import Finding, Kind, Ref
from isthmus.inventory.site_config import SiteSection
from isthmus.inventory.thing_config import FalcoSection
from isthmus.oci import Reference

RULE = "perishable"
DAY = 86400
FALCO_INDEX = "https://falcosecurity.github.io/falcoctl/index.yaml"
OPENSEARCH_PLUGINS = ("repository-s3", "repository-gcs", "repository-azure")
_PLUGIN = "https://artifacts.opensearch.org/releases/plugins/{name}/{version}/{name}-{version}.zip"
_DRIVER = "https://download.falco.org/driver/{driver}/{arch}/falco_{target}_{release}_{version}.ko"
_MODERN_KERNEL = (5, 8)


class Policy(msgspec.Struct, frozen=True):
    """How old something may become, in seconds; what it is for, and what breaks when it is stale.

    The age counts from when the publisher made it (`counts` is `created`) where the publisher makes a new one
    all the time; otherwise from when it was last known to be the newest (`checked`).
    """

    pattern: str
    max_age: int
    purpose: str
    breaks: str
    counts: Literal["created", "checked"] = "checked"


_POLICIES = (
    Policy(r".*/trivy-db", 3 * DAY, "trivy-db: vulnerabilities of operating systems and languages",
           "scans miss every vulnerability that became known since; reports look clean", "created"),
    Policy(r".*/trivy-java-db", 7 * DAY, "trivy-java-db: which Java archives are which artifacts",
           "newer Java archives are not recognised, and so not looked at", "created"),
    Policy(r".*/trivy-(?:checks|policies)", 30 * DAY, "trivy-checks: rules for misconfiguration",
           "newer checks are missing from audit reports"),
    Policy(r".*/falcosecurity/rules/.*", 30 * DAY, "rules of Falco",
           "attacks that newer rules know are not detected"),
    Policy(re.escape(FALCO_INDEX), 30 * DAY, "the index by which falcoctl finds rules and plugins",
           "newer versions of rules and plugins are not found by name"),
    Policy(r"deb .*", 0, "packages of the nodes' distribution",
           "apt refuses the suite unless check-valid-until=no; security updates are missing", "created"),
)  # fmt: skip


def policy_of(kind: Kind, name: str) -> Policy | None:
    """The policy of what becomes stale; None for what does not. Tags and digests do not matter."""
    if kind not in ("artifact", "file", "packages"):
        return None
    text = name
    if kind == "artifact":
        text = name.partition("@")[0]
        head, colon, tail = text.rpartition(":")
        text = head if colon and "/" not in tail else text
        if tail.startswith("sha256-"):
            return None  # what cosign attached to one
    return next((policy for policy in _POLICIES if re.fullmatch(policy.pattern, text)), None)


def expand(
    references: Sequence[Ref], platform: PlatformSection, site: SiteSection | None, where: str = "isthmus.yaml"
) -> tuple[Ref, ...]:
    """What `platform.perishables` stands for, without what was found already, each with an explanation.

    Where the file says nothing, what the scan found decides: Trivy's databases where there is Trivy or Harbor's
    adapter, falcoctl's index and the rules where there is Falco; OpenSearch's plugins are found by the scan.
    """
    images = [ref.name for ref in references if ref.kind == "image"]
    asked = platform.perishables
    chosen = set(asked) if asked is not None else _detected(images)
    why = "platform.perishables" if asked is not None else "found by the scan: say platform.perishables to choose"
    found: list[Ref] = []
    if "trivy" in chosen:
        found += _trivy(references, where, why)
    if "falco" in chosen:
        found += _falco(references, where, why)
        found += _drivers(platform.falco, site, where)
    if "opensearch" in chosen:
        found += _opensearch(images, where, why)
    known = {ref.key for ref in references}
    return tuple(ref for ref in found if ref.key not in known)


def _detected(images: Iterable[str]) -> set[str]:
    found = set()
    for image in images:
        path = Reference.parse(image).path if "://" not in image else ""
        if re.search(r"(?:^|/)(?:trivy|trivy-operator|trivy-adapter-photon)$", path):
            found.add("trivy")
        if re.search(r"(?:^|/)(?:falco|falcoctl|falco-no-driver)$", path):
            found.add("falco")
    return found


def _trivy(references: Sequence[Ref], where: str, why: str) -> Iterator[Ref]:
    for name, tag in (("trivy-db", "2"), ("trivy-java-db", "1"), ("trivy-checks", "1")):
        if not _has(references, rf".*/{name}"):
            yield _artifact(f"mirror.gcr.io/aquasec/{name}:{tag}", where, why)


def _falco(references: Sequence[Ref], where: str, why: str) -> Iterator[Ref]:
    yield _file(FALCO_INDEX, where, f"{why}; a copy that names the site's registry is made of it")
    if not _has(references, r".*/falcosecurity/rules/.*"):
        yield _artifact("ghcr.io/falcosecurity/rules/falco-rules:latest", where, why)
    if not _has(references, r".*/falcosecurity/plugins/plugin/container"):
        yield _artifact("ghcr.io/falcosecurity/plugins/plugin/container:latest", where, why)


def _has(references: Iterable[Ref], pattern: str) -> bool:
    bare = (ref.name.partition("@")[0] for ref in references if ref.kind == "artifact")
    return any(re.fullmatch(rf"{pattern}(?::[^/]+)?", name) for name in bare)


def _opensearch(images: Iterable[str], where: str, why: str) -> Iterator[Ref]:
    for image in images:
        reference = Reference.parse(image)
        if reference.path.rpartition("/")[2] != "opensearch" or not re.match(
            r"[0-9]+(?:\.[0-9]+){2}", reference.tag
        ):
            continue
        for name in OPENSEARCH_PLUGINS:
            url = _PLUGIN.format(name=name, version=reference.tag)
            yield _file(url, where, f"{why}; for the version of {image}")


def needs_driver(kernel: str) -> bool:
    """Whether a kernel is too old for Falco's modern probe; False where it is not told."""
    match = re.match(r"([0-9]+)\.([0-9]+)", kernel)
    return bool(match) and (int(match[1]), int(match[2])) < _MODERN_KERNEL if match else False


def driver_urls(falco: FalcoSection) -> tuple[str, ...]:
    """Where Falco has the drivers for kernels, as `RELEASE VERSION`; the version without `#` and what follows."""
    found = []
    for kernel in falco.kernels:
        release, _, version = kernel.strip().partition(" ")
        number = re.match(r"#?([0-9]+)", version.strip())
        found.append(
            _DRIVER.format(
                driver=quote(falco.driver, safe=""),
                arch=falco.arch,
                target=falco.target,
                release=quote(release, safe=""),
                version=number[1] if number else "1",
            )
        )
    return tuple(found)


def _drivers(falco: FalcoSection, site: SiteSection | None, where: str) -> Iterator[Ref]:
    kernel = site.nodes.kernel if site else ""
    for url, name in zip(driver_urls(falco), falco.kernels, strict=True):
        if falco.driver and falco.target and (needs_driver(name) or needs_driver(kernel)):
            yield _file(url, where, f"platform.falco: the kernel {name} is too old for Falco's modern probe")


def _artifact(name: str, where: str, note: str) -> Ref:
    return _ref("artifact", str(Reference.parse(name)), where, note)


def _file(url: str, where: str, note: str) -> Ref:
    return _ref("file", url, where, note)


def _ref(kind: Kind, name: str, where: str, note: str) -> Ref:
    policy = policy_of(kind, name)
    if policy:
        note = f"{policy.purpose}; when stale, {policy.breaks}; {note}"
    return Ref(
        kind, name, (name,), findings=(Finding(source=where, path=".platform.perishables", rule=RULE, note=note),)
    )
