"""The databases and checks that Trivy fetches, wherever it is told from where. Likely.

In settings of trivy-operator, variables, flags and values; for Harbor's adapter, which has them compiled in,
unless it is told not to update. Not here: images that Trivy is made of, and images that it scans.
"""

from collections.abc import Iterator
from functools import lru_cache

from isthmus.inventory.model import Item, Ref
from isthmus.scan.document import list_at, text_at
from isthmus.scan.recognise import Look, look
from isthmus.scan.view import Container, View
from isthmus.scan.words import words

RULE = "trivy"
NOTE = (
    "fetched by Trivy itself, which containerd's mirrors do not reach: set the repository to the site's registry, "
    "and keep it fresh"
)
_SCHEMES = {"db": "2", "java": "1", "checks": "1"}
_HARBOR_ADAPTER = "trivy-adapter-photon"
_HARBOR_DEFAULTS = {
    "db": ("mirror.gcr.io/aquasec/trivy-db:2", "ghcr.io/aquasecurity/trivy-db:2"),
    "java": ("mirror.gcr.io/aquasec/trivy-java-db:1", "ghcr.io/aquasecurity/trivy-java-db:1"),
}
_SKIP = {"db": "SCANNER_TRIVY_SKIP_UPDATE", "java": "SCANNER_TRIVY_SKIP_JAVA_DB_UPDATE"}


def find(view: View) -> Iterator[Ref | Item]:
    """Every database and bundle of checks."""
    for leaf in view.leaves:
        yield from _setting(view, leaf.key, leaf.text, leaf.path)
    for argument in view.arguments:
        yield from _setting(view, argument.flag, argument.value, argument.path)
    for variable in view.variables:
        yield from _setting(view, variable.name, variable.value, variable.path)
    for container in view.containers:
        if _HARBOR_ADAPTER in text_at(container.data, "image").partition("@")[0]:
            yield from _harbor(view, container)


@lru_cache(maxsize=4096)
def database(name: str) -> str:
    """Which database the value of a setting is the repository of: `db`, `java`, `checks`, or none."""
    parts = words(name)
    if parts[-2:] == ("db", "repository") or parts[-2:] == ("db", "repositories"):
        return "java" if "java" in parts else "db"
    if parts[-3:] == ("checks", "bundle", "repository") or parts[-4:] == ("policies", "bundle", "oci", "ref"):
        return "checks"
    return ""


def _setting(view: View, name: str, value: str, path: str) -> Iterator[Ref | Item]:
    kind = database(name)
    if not kind:
        return
    for written in value.split(","):
        text = written.strip().removeprefix("oci://")
        if look(text) >= Look.FAIR:
            yield _reference(view, text, _SCHEMES[kind], path, f"{NOTE}; trivy-{kind}")


def _reference(view: View, text: str, scheme: str, path: str, note: str) -> Ref | Item:
    is_tagged = ":" in text.rpartition("/")[2] or "@" in text
    found = view.image(
        text if is_tagged else f"{text}:{scheme}", view.finding(path, RULE, "likely", note=note), "artifact"
    )
    return (
        Ref(found.kind, found.name, as_written=(text,), findings=found.findings)
        if isinstance(found, Ref)
        else found
    )


def _harbor(view: View, container: Container) -> Iterator[Ref | Item]:
    variables = {text_at(entry, "name"): text_at(entry, "value") for entry in list_at(container.data, "env")}
    for kind, references in _HARBOR_DEFAULTS.items():
        prefix = "SCANNER_TRIVY_JAVA_DB" if kind == "java" else "SCANNER_TRIVY_DB"
        is_skipped = variables.get(_SKIP[kind], "").lower() == "true"
        if is_skipped or variables.get(f"{prefix}_REPOSITORY"):
            continue
        hint = f"set {prefix}_REPOSITORY to the site's registry, or {_SKIP[kind]}=true and load it by hand"
        finding = view.finding(
            f"{container.path}.image",
            RULE,
            "likely",
            note=f"compiled into Harbor's Trivy adapter, which containerd's mirrors do not reach: {hint}",
        )
        yield view.image(references[0], finding, "artifact")
        fallback = view.finding(
            f"{container.path}.image", RULE, "likely", "conditional", "only where the first repository fails"
        )
        yield view.image(references[1], fallback, "artifact")
