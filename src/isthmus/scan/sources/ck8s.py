"""`ck8s:CHECKOUT[?cluster=sc|wc|both&config=CK8S_CONFIG_PATH&flavor=F&installer=I&provider=P&all=true]`.

Renders all releases that the configuration enables, of both clusters, offline. Not here: how
(`scan.ck8s`).
"""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from isthmus.errors import IsthmusError, UsageError
from isthmus.inventory.model import Item, Ref
from isthmus.scan.ck8s.cluster import ENVIRONMENTS, RULE_OFF, Settings, render_cluster
from isthmus.scan.ck8s.config import Choice, Configuration
from isthmus.scan.document import Document
from isthmus.scan.helm.engine import renderer
from isthmus.scan.input import read_text
from isthmus.scan.source import SourceSpec

OPTIONS = ("cluster", "config", "flavor", "installer", "provider", "all", "kube-version", "api-versions")
_KUBECTL = re.compile(r"^pkg:[^\s]*/kubectl@v?(\d+\.\d+\.\d+)", re.MULTILINE)


def read(spec: SourceSpec) -> Iterator[Document | Item | Ref]:
    """The documents of every release, items for what did not render, and the images of the image list.

    Raises UsageError (`invalid-source`, `file-not-found`, `invalid-input`) or UnreachableError.
    """
    spec.allow(*OPTIONS)
    checkout = os.path.abspath(spec.value)
    if not os.path.isdir(os.path.join(checkout, "helmfile.d")):
        raise UsageError(
            "invalid-source",
            "there is no helmfile.d in it, so it is not a checkout of compliantkubernetes-apps",
            where=spec.value,
        )
    clusters = _clusters(spec)
    usual = Choice()
    choice = Choice(
        flavor=spec.one("flavor", usual.flavor),
        installer=spec.one("installer", usual.installer),
        provider=spec.one("provider", usual.provider),
    )
    configuration = Configuration(checkout, choice, os.path.expanduser(spec.one("config")))
    settings = Settings(
        kube_version=spec.one("kube-version") or _kube_version(checkout),
        api_versions=tuple(part for text in spec.many("api-versions") for part in text.split(",")),
        all=_is_true(spec, "all"),
    )

    def run(cluster: str) -> list[Document | Item | Ref]:
        engine = renderer(many=True)
        try:
            return list(render_cluster(checkout, cluster, configuration, settings, engine))
        finally:
            engine.close()

    with ThreadPoolExecutor(len(clusters)) as pool:
        found = [thing for things in pool.map(run, clusters) for thing in things]
    rendered = {thing.source.split(" ")[1] for thing in found if isinstance(thing, Document)}
    yield from (thing for thing in found if not _is_elsewhere(thing, rendered))


def _is_elsewhere(thing: Document | Item | Ref, rendered: set[str]) -> bool:
    """Whether a release that is off does not render in a cluster because it is of the other one."""
    if not isinstance(thing, Item) or thing.finding is None or thing.finding.rule != RULE_OFF:
        return False
    return thing.finding.source.split(" ")[1] in rendered


def _clusters(spec: SourceSpec) -> list[str]:
    wanted = spec.one("cluster", "both")
    if wanted == "both":
        return list(ENVIRONMENTS)
    if wanted not in ENVIRONMENTS:
        raise UsageError("invalid-source", f"there is no cluster {wanted[:40]!r}", hint="it is sc, wc or both")
    return [wanted]


def _is_true(spec: SourceSpec, name: str) -> bool:
    value = spec.one(name, "false")
    if value not in {"true", "false"}:
        raise UsageError("invalid-source", f"{name} is true or false, not {value[:40]!r}", where=str(spec))
    return value == "true"


def _kube_version(checkout: str) -> str:
    """The version of Kubernetes that the checkout pins its kubectl to, nothing where it does not say."""
    try:
        match = _KUBECTL.search(read_text(os.path.join(checkout, "REQUIREMENTS")))
    except IsthmusError:
        return ""
    return match.group(1) if match else ""
