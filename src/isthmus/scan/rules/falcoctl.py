"""What falcoctl fetches: its indexes, and the rules and plugins that it installs and follows. Certain.

falcoctl talks to registries itself, so that mirrors of the container runtime do not help it. Not here: the
driver that falco-driver-loader fetches (the catalogue of operators).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.inventory.model import Endpoint, Item, Ref
from isthmus.scan.addresses import is_url, without_secrets
from isthmus.scan.document import list_at, mapping_at, text_at
from isthmus.scan.embedded import Tree
from isthmus.scan.paths import index_path
from isthmus.scan.view import View, endpoint

RULE = "falcoctl"
DEFAULT_INDEX = "https://falcosecurity.github.io/falcoctl/index.yaml"
NOTE = (
    "fetched by falcoctl, which containerd's mirrors do not reach: serve an index inside that names the site's "
    "registry, or turn artifact.install and artifact.follow off"
)
ADVICE = (
    "serve an index of your own inside and name it under falcoctl.config.indexes, or turn artifact.install off"
)
_REGISTRY = "ghcr.io/falcosecurity"


def find(view: View) -> Iterator[Ref | Endpoint | Item]:
    """Everything that a configuration of falcoctl makes it fetch."""
    for path, mapping in view.mappings:
        artifact = mapping_at(mapping, "artifact")
        if "indexes" in mapping and artifact:
            yield from _artifacts(view, artifact, f"{path}.artifact")
            yield from _indexes(view, Tree(f"{path}.indexes", list_at(mapping, "indexes")))


def _indexes(view: View, tree: Tree) -> Iterator[Endpoint]:
    for index, entry in enumerate(tree.data):
        url = text_at(entry, "url")
        if is_url(url):
            finding = view.finding(f"{index_path(tree.path, index)}.url", RULE)
            yield endpoint(without_secrets(url), "falcoctl-index", finding, ADVICE)


def _artifacts(view: View, artifact: Mapping[str, Any], path: str) -> Iterator[Ref | Item]:
    for action in ("install", "follow"):
        for index, written in enumerate(list_at(mapping_at(artifact, action), "refs")):
            if isinstance(written, str) and written:
                place = index_path(f"{path}.{action}.refs", index)
                yield from artifact_reference(view, written, place)


def artifact_reference(view: View, written: str, path: str) -> Iterator[Ref | Item]:
    """The artifact that falcoctl understands by a name, which may be a short one of the default index."""
    if "/" in written:
        yield view.image(written, view.finding(path, RULE, note=NOTE), "artifact")
        return
    name = written.partition(":")[0].partition("@")[0]
    # The index of the Falco project puts rules and plugins in two places.
    kind = "rules" if name.endswith("-rules") else "plugins/plugin"
    finding = view.finding(path, RULE, "likely", note=f"by the index {DEFAULT_INDEX}; {NOTE}")
    found = view.image(f"{_REGISTRY}/{kind}/{written}", finding, "artifact")
    if isinstance(found, Ref):
        found = Ref(found.kind, found.name, as_written=(written,), findings=found.findings)
    yield found
