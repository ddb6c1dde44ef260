"""Renders every release of one cluster: values first, then charts, each failure an item of its own.

Not here: which clusters (`sources.ck8s`), the state (`state`), the image list (`image_list`).
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from isthmus.errors import IsthmusError
from isthmus.inventory.model import Finding, Item
from isthmus.scan.ck8s.config import Configuration
from isthmus.scan.ck8s.image_list import Listed, listed_images
from isthmus.scan.ck8s.releases import Release
from isthmus.scan.ck8s.state import STATE_FILES, State
from isthmus.scan.ck8s.template import Templates
from isthmus.scan.document import Document
from isthmus.scan.helm.documents import documents
from isthmus.scan.helm.request import ChartRequest, Renderer, RenderError, SetKind
from isthmus.scan.input import read_text
from isthmus.scan.yaml_reader import parse_all

RULE, RULE_OFF = "render", "render-off"
"""The rules of items: a release that is on, or off and asked for, does not render."""
ENVIRONMENTS: Mapping[str, str] = {"sc": "service_cluster", "wc": "workload_cluster"}


class Settings(msgspec.Struct, frozen=True):
    """How the releases of a cluster are rendered."""

    kube_version: str = ""
    api_versions: tuple[str, ...] = ()
    all: bool = False


def render_cluster(
    checkout: str, cluster: str, configuration: Configuration, settings: Settings, renderer: Renderer
) -> Iterator[Document | Item | Listed]:
    """Every document of the cluster's releases, and at the end the images of its list.

    Raises UsageError or UnreachableError where the checkout or the configuration cannot be read.
    """
    label = f"ck8s:{cluster}"
    root = os.path.join(checkout, "helmfile.d")
    templates = Templates(renderer, root, configuration.choice.variables)
    try:
        state = State(templates, configuration, ENVIRONMENTS[cluster])
        try:
            state.load(_state_file(root))
        except RenderError as error:
            yield _item("the helmfile state", label, error)
            return
        yield from (_missing(name, label) for name in state.missing)
        seen: list[str] = []
        for release in state.releases():
            yield from _render_release(_Cluster(label, root, templates, state, settings, renderer, seen), release)
        yield from listed_images(state.values, seen, label)
    finally:
        templates.close()


class _Cluster(msgspec.Struct, frozen=True):
    """What all releases of a cluster share; `seen` takes the text that they became."""

    label: str
    root: str
    templates: Templates
    state: State
    settings: Settings
    renderer: Renderer
    seen: list[str]


def _render_release(cluster: _Cluster, release: Release | RenderError) -> Iterator[Document | Item]:
    if isinstance(release, RenderError):
        yield _item("a release", cluster.label, release)
        return
    if release.off and not cluster.settings.all:
        return
    label = f"{cluster.label} {release.title}"
    try:
        rendered = cluster.renderer.render(_request(cluster, release))
    except (RenderError, IsthmusError) as error:
        item = _item(f"release {release.title}", label, error)
        rule = RULE_OFF if release.off else RULE
        yield msgspec.structs.replace(item, finding=Finding(source=label, rule=rule, note=release.off))
        return
    cluster.seen.extend(template.text for template in rendered if not release.off)
    for found in (*documents(rendered, label), *_hook_documents(cluster, release, label)):
        if isinstance(found, Document) and release.off and found.when == "always":
            found = msgspec.structs.replace(found, when="conditional", note=f"the release is off: {release.off}")
        yield found


def _request(cluster: _Cluster, release: Release) -> ChartRequest:
    return ChartRequest(
        chart=os.path.join(cluster.root, release.chart),
        name=release.name,
        namespace=release.namespace,
        values=tuple(_values(cluster, release, entry) for entry in release.values),
        sets=tuple((_set_kind(kind), text) for kind, text in release.sets),
        kube_version=cluster.settings.kube_version,
        api_versions=cluster.settings.api_versions,
        crds=False,
    )


def _values(cluster: _Cluster, release: Release, entry: str | Mapping[str, Any]) -> str:
    if not isinstance(entry, str):
        return msgspec.json.encode(entry).decode()
    if not entry.endswith(".gotmpl"):
        return cluster.templates.read(entry)
    try:
        return cluster.templates.render_file(entry, cluster.state.data, release.name, release.namespace)
    except RenderError as error:
        raise RenderError(f"its values {entry}: {error.message}", error.hint) from error


def _set_kind(kind: str) -> SetKind:
    return "set-string" if kind == "set-string" else "set"


def _hook_documents(cluster: _Cluster, release: Release, label: str) -> Iterator[Document | Item]:
    """The manifests that a release's hooks apply: arguments that name a file beside the hook's program."""
    for hook in release.hooks:
        folder = os.path.dirname(str(hook.get("command", "")))
        for argument in hook.get("args") or []:
            path = os.path.join(folder, str(argument))
            if not folder or not path.endswith((".yaml", ".yml")):
                continue
            if not os.path.isfile(os.path.join(cluster.root, path)):
                continue
            try:
                for value in parse_all(read_text(os.path.join(cluster.root, path)), path):
                    yield Document(f"{label} {path}", value, note="applied by a hook of helmfile")
            except IsthmusError as error:
                yield _item(path, label, error)


def _item(what: str, label: str, error: RenderError | IsthmusError) -> Item:
    return Item(
        what=what,
        why=f"it did not render: {error.message}",
        finding=Finding(source=label, rule=RULE),
        hint=error.hint or "give the configuration that it needs with config=CK8S_CONFIG_PATH",
    )


def _missing(name: str, label: str) -> Item:
    return _item(name, label, RenderError("the configuration does not have it", "give cluster=sc or cluster=wc"))


def _state_file(root: str) -> str:
    for name in STATE_FILES:
        if os.path.isfile(os.path.join(root, name)):
            return name
    raise RenderError(f"there is none of {', '.join(STATE_FILES)} in helmfile.d")
