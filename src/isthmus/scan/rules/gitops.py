"""What Flux, Argo CD, Fleet and Helm controllers fetch: charts, git repositories, artifacts. Certain.

A chart that a controller renders inside the cluster is not seen through: that is an item, because what its
templates name is not known. Not here: charts that are rendered here (the source helm).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.inventory.model import Endpoint, Item, Ref
from isthmus.scan.addresses import is_url, without_secrets
from isthmus.scan.document import list_at, mapping_at, text_at
from isthmus.scan.view import View, endpoint

RULE = "gitops"
NOTE = "fetched by the controller, which containerd's mirrors do not reach: name a copy inside"
GIT_ADVICE = "copy the repository to a git server inside and name that"
REPOSITORY_ADVICE = "serve the charts inside and name that address"


def find(view: View) -> Iterator[Ref | Endpoint | Item]:
    """Every chart, repository and artifact."""
    group, kind = view.document.group, view.document.kind
    spec = mapping_at(view.document.data, "spec")
    if group == "source.toolkit.fluxcd.io":
        yield from _flux_source(view, kind, spec)
    elif group == "helm.toolkit.fluxcd.io" and kind == "HelmRelease":
        chart = mapping_at(mapping_at(spec, "chart"), "spec")
        name = text_at(chart, "chart") or text_at(mapping_at(spec, "chartRef"), "name")
        yield _unseen(view, f"the chart {name} {text_at(chart, 'version')}".strip(), ".spec.chart")
    elif group == "argoproj.io" and kind in ("Application", "ApplicationSet"):
        template = mapping_at(mapping_at(spec, "template"), "spec") if kind == "ApplicationSet" else spec
        path = ".spec.template.spec" if kind == "ApplicationSet" else ".spec"
        if mapping_at(template, "source"):
            yield from _argo_source(view, mapping_at(template, "source"), f"{path}.source")
        for index, source in enumerate(list_at(template, "sources")):
            yield from _argo_source(view, source, f"{path}.sources[{index}]")
    elif group == "helm.cattle.io" and kind == "HelmChart":
        name = text_at(spec, "chart")
        yield from _chart(view, text_at(spec, "repo"), name, text_at(spec, "version"), ".spec.chart")
        yield _unseen(view, f"the chart {name}", ".spec.chart")


def _flux_source(view: View, kind: str, spec: Mapping[str, Any]) -> Iterator[Ref | Endpoint | Item]:
    url = text_at(spec, "url")
    finding = view.finding(".spec.url", RULE, note=NOTE)
    if kind == "OCIRepository" and url.startswith("oci://"):
        ref = mapping_at(spec, "ref")
        tag, digest = text_at(ref, "tag"), text_at(ref, "digest")
        name = url.removeprefix("oci://") + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
        yield view.image(name, finding, "artifact")
    elif kind == "GitRepository" and url:
        yield endpoint(_plain(url), "git", finding, GIT_ADVICE)
    elif kind == "HelmRepository" and url:
        yield endpoint(_plain(url), "chart-repository", finding, REPOSITORY_ADVICE)
    elif kind == "Bucket" and text_at(spec, "endpoint"):
        yield endpoint(f"https://{text_at(spec, 'endpoint')}/", "object-storage", finding, "use a bucket inside")


def _argo_source(view: View, source: Any, path: str) -> Iterator[Ref | Endpoint | Item]:
    url, chart = text_at(source, "repoURL"), text_at(source, "chart")
    if chart:
        yield from _chart(view, url, chart, text_at(source, "targetRevision"), path)
        yield _unseen(view, f"the chart {chart} {text_at(source, 'targetRevision')}".strip(), path)
    elif url:
        yield endpoint(_plain(url), "git", view.finding(f"{path}.repoURL", RULE, note=NOTE), GIT_ADVICE)


def _chart(view: View, repository: str, chart: str, version: str, path: str) -> Iterator[Ref | Endpoint | Item]:
    finding = view.finding(path, RULE, note=NOTE)
    if chart.startswith("oci://") or (repository and not is_url(repository)):
        base = chart if chart.startswith("oci://") else f"{repository.removeprefix('oci://')}/{chart}"
        tag = f":{version.replace('+', '_')}" if version else ""
        found = view.image(base.removeprefix("oci://") + tag, finding, "chart")
        yield found
    elif repository:
        yield endpoint(_plain(repository), "chart-repository", finding, REPOSITORY_ADVICE)


def _unseen(view: View, what: str, path: str) -> Item:
    return Item(
        what=f"what {what} of {view.object_id} names",
        why="a controller renders it inside the cluster",
        finding=view.finding(path, RULE),
        hint="scan the chart with the source helm: and the same values, then waive this",
    )


def _plain(url: str) -> str:
    return without_secrets(url) if "://" in url else url.rpartition("@")[2]
