"""What Tekton's resolvers fetch when a pipeline names it: hubs, git repositories, bundles. Likely.

Not here: the images of steps (`custom_resources`) and of Tekton itself (`pods`, `arguments`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.inventory.model import Endpoint, Item, Ref
from isthmus.scan.addresses import is_url, mappings, without_secrets
from isthmus.scan.document import list_at, mapping_at, text_at
from isthmus.scan.view import View, endpoint

RULE = "tekton-resolver"
BUNDLE_NOTE = "fetched by Tekton's resolver, which containerd's mirrors do not reach: name the site's registry"
_HUB_ADVICE = "turn the hub resolver off (enable-hub-resolver), or set the variable to a hub inside"
_GIT_ADVICE = "set default-url to a git server inside, or turn the git resolver off (enable-git-resolver)"
_HUBS = ("ARTIFACT_HUB_API", "TEKTON_HUB_API")


def find(view: View) -> Iterator[Ref | Endpoint | Item]:
    """Every hub, repository and bundle."""
    for variable in view.variables:
        if variable.name in _HUBS and is_url(variable.value):
            finding = view.finding(variable.path, RULE)
            yield endpoint(without_secrets(variable.value), "tekton-hub", finding, _HUB_ADVICE)
    if view.is_config:
        data = mapping_at(view.document.data, "data")
        if "default-url" in data and {"default-revision", "fetch-timeout", "default-org"} & set(data):
            url = text_at(data, "default-url")
            if is_url(url):
                note = "only where a pipeline uses the git resolver"
                finding = view.finding('.data["default-url"]', RULE, when="conditional", note=note)
                yield endpoint(without_secrets(url), "git-resolver", finding, _GIT_ADVICE)
    elif view.document.group == "tekton.dev":
        for path, mapping in mappings(view.document.data):
            yield from _resolver(view, mapping, path)


def _resolver(view: View, mapping: Mapping[str, Any], path: str) -> Iterator[Ref | Endpoint | Item]:
    if text_at(mapping, "bundle") and text_at(mapping, "name"):
        finding = view.finding(f"{path}.bundle", RULE, note=BUNDLE_NOTE)
        yield view.image(mapping["bundle"], finding, "artifact")
    resolver = text_at(mapping, "resolver")
    params = {text_at(param, "name"): text_at(param, "value") for param in list_at(mapping, "params")}
    if resolver == "bundles" and params.get("bundle"):
        yield view.image(params["bundle"], view.finding(f"{path}.params", RULE, note=BUNDLE_NOTE), "artifact")
    elif resolver == "git" and is_url(params.get("url", "")):
        url = without_secrets(params["url"])
        yield endpoint(url, "git-resolver", view.finding(f"{path}.params", RULE), "copy the repository inside")
    elif resolver in ("hub", "http"):
        url = params.get("url", "")
        address = without_secrets(url) if is_url(url) else "https://artifacthub.io/"
        yield endpoint(address, f"tekton-{resolver}", view.finding(f"{path}.params", RULE), _HUB_ADVICE)
