"""Plugins that programs install when they start: OpenSearch, Elasticsearch, their dashboards, Grafana. Certain.

A file for an address, and for an official short name where the version is known. Not here: other downloads
(`downloads`).
"""

import re
from collections.abc import Iterator

from isthmus.inventory.model import Endpoint, Item, Ref
from isthmus.scan.addresses import is_url, without_secrets
from isthmus.scan.document import list_at, text_at
from isthmus.scan.version_range import version_of
from isthmus.scan.view import Container, View, endpoint

RULE = "plugin"
NOTE = "installed at each start: serve the file inside and name it by that address, or build it into the image"
_INSTALL = re.compile(
    r"\b(opensearch|elasticsearch|opensearch-dashboards|kibana|logstash)-plugin\s+install\s+([^;&|\n]+)"
)
_FLAG = re.compile(r"-\S*")
_PLACEHOLDER = re.compile(
    r"(?:set|change|replace|fill)[-_]?(?:me|in)(?:[-_].*)?|todo|tbd|example|placeholder|<.*>", re.IGNORECASE
)
_OFFICIAL = {
    "opensearch": "https://artifacts.opensearch.org/releases/plugins/{name}/{version}/{name}-{version}.zip",
    "elasticsearch": "https://artifacts.elastic.co/downloads/elasticsearch-plugins/{name}/{name}-{version}.zip",
}
_GRAFANA = ("GF_INSTALL_PLUGINS", "GF_PLUGINS_PREINSTALL", "GF_PLUGINS_PREINSTALL_SYNC")
_GRAFANA_ADVICE = "build the plugins into the image, or serve them inside and name them as url;name"


def find(view: View) -> Iterator[Ref | Endpoint | Item]:
    """Every plugin that is installed."""
    for container in view.containers:
        for field in ("command", "args"):
            text = " ".join(item for item in list_at(container.data, field) if isinstance(item, str))
            if "-plugin" not in text:
                continue
            for program, rest in _INSTALL.findall(text[: 1 << 20]):
                for word in rest.split():
                    word = word.strip("\"'\\")
                    if word and not _FLAG.fullmatch(word):
                        yield from _plugin(view, container, program, word, f"{container.path}.{field}")
    for variable in view.variables:
        if variable.name in _GRAFANA:
            yield from _grafana(view, variable.value, variable.path)


def _plugin(
    view: View, container: Container, program: str, name: str, path: str
) -> Iterator[Ref | Endpoint | Item]:
    if is_url(name):
        url = without_secrets(name)
        yield Ref("file", url, (url,), findings=(view.finding(path, RULE, note=NOTE),))
        return
    if name.startswith(("file:", "$", "/", "{")):
        return
    if _PLACEHOLDER.fullmatch(name):
        hint = "set the plugin, or leave it out"
        yield Item(
            f"the plugin {name} of {program}", "it stands for something to be set", view.finding(path, RULE), hint
        )
        return
    version = version_of(text_at(container.data, "image").partition("@")[0].rpartition(":")[2])
    form = _OFFICIAL.get(program)
    if form and version:
        url = form.format(name=name, version=version)
        yield Ref("file", url, (name,), findings=(view.finding(path, RULE, note=NOTE),))
    else:
        yield Item(
            what=f"the plugin {name} of {program}",
            why="its address is not known, because the version is not",
            finding=view.finding(path, RULE),
            hint="name the file under platform.add",
        )


def _grafana(view: View, value: str, path: str) -> Iterator[Ref | Endpoint]:
    for entry in value.split(","):
        parts = entry.replace("@", " ").strip().split()
        address = next((part for part in entry.split(";") if is_url(part)), "")
        finding = view.finding(path, RULE, note=NOTE)
        if address:
            url = without_secrets(address)
            yield Ref("file", url, (url,), findings=(finding,))
        elif len(parts) == 2:
            url = f"https://grafana.com/api/plugins/{parts[0]}/versions/{parts[1]}/download"
            yield Ref("file", url, (entry.strip(),), findings=(finding,))
        elif parts:
            yield endpoint(
                f"https://grafana.com/api/plugins/{parts[0]}", "grafana-plugin", finding, _GRAFANA_ADVICE
            )
