"""What checks signatures while the cluster runs: Kyverno, policy-controller, Connaisseur. Certain or likely.

Their lookups go to registries and to Sigstore, not through the container runtime. Not here: the images
that policies compare with, which are no references.
"""

from collections.abc import Iterator

from isthmus.inventory.model import Endpoint
from isthmus.scan.addresses import is_outside, is_url, mappings, without_secrets
from isthmus.scan.document import list_at, mapping_at, text_at
from isthmus.scan.view import View, endpoint

RULE = "signature-check"
_REKOR = "https://rekor.sigstore.dev"
REGISTRY_NOTE = "Kyverno asks the registry itself, which containerd's mirrors do not reach"
REGISTRY_ADVICE = "let the policy name the site's registry, and carry the signatures there"
ADVICE = "set rekor.ignoreTlog (and ctlog.ignoreSCT), or run a transparency log inside"


def find(view: View) -> Iterator[Endpoint]:
    """Every transparency log that is asked."""
    group = view.document.group
    if group in ("kyverno.io", "policies.kyverno.io"):
        for path, mapping in mappings(view.document.data):
            for index, rule in enumerate(list_at(mapping, "verifyImages")):
                yield from _kyverno(view, rule, f"{path}.verifyImages[{index}]")
    elif group == "policy.sigstore.dev":
        for index, authority in enumerate(list_at(mapping_at(view.document.data, "spec"), "authorities")):
            if mapping_at(authority, "keyless") or mapping_at(authority, "ctlog"):
                url = text_at(mapping_at(authority, "ctlog"), "url") or _REKOR
                finding = view.finding(f".spec.authorities[{index}]", RULE)
                yield endpoint(without_secrets(url), "transparency-log", finding, ADVICE)


def _registries(rule: object) -> set[str]:
    """The hosts of the registries that signatures are looked up in, where the patterns name them."""
    patterns = [item for item in list_at(rule, "imageReferences") if isinstance(item, str)]
    hosts = {pattern.partition("/")[0] for pattern in patterns if "/" in pattern}
    return {host for host in hosts if "." in host and "*" not in host and is_outside(host)}


def _kyverno(view: View, rule: object, path: str) -> Iterator[Endpoint]:
    is_ignored, urls = False, set()
    for _, mapping in mappings(rule):
        rekor = mapping_at(mapping, "rekor")
        is_ignored = is_ignored or rekor.get("ignoreTlog") is True
        if is_url(text_at(rekor, "url")):
            urls.add(without_secrets(rekor["url"]))
    for host in sorted(_registries(rule)):
        finding = view.finding(f"{path}.imageReferences", RULE, "likely", note=REGISTRY_NOTE)
        yield endpoint(f"https://{host}/", "signature-registry", finding, REGISTRY_ADVICE)
    if not is_ignored:
        for url in sorted(urls or {_REKOR}):
            yield endpoint(url, "transparency-log", view.finding(path, RULE, "likely"), ADVICE)
