"""From a lock's evidence to the part of the platform that needs something. Pure.

Evidence is `SOURCE OBJECT PATH` (`transfer.resolve`), where a source is `KIND:VALUE`, for CK8s and helmfile
followed by `NAMESPACE/RELEASE`.
"""

from collections.abc import Iterable

UNKNOWN = "not in the lock"
"""What belongs to no component, since no evidence is known."""

_ATTACHED = ("signature", "sbom", "attestation", "provenance")
_MAX = 120


def components_of(evidence: Iterable[str]) -> tuple[str, ...]:
    """The components that evidence speaks of, sorted, each once."""
    return tuple(sorted({component for line in evidence if (component := _component(line))}))


def _component(line: str) -> str:
    words = line.split(" ")
    kind, colon, value = words[0].partition(":")
    if not colon or words[0].lower() in _ATTACHED:
        return "signatures and SBOMs" if words[0].lower() in _ATTACHED else ""
    second = words[1] if len(words) > 1 else ""
    if kind in ("ck8s", "helmfile"):
        is_release = second.count("/") == 1 and not second.endswith((".yaml", ".yml"))
        name = second if is_release else value
    elif kind in ("manifests", "cluster", "kustomize"):
        name = _namespace(second) or _last(value)
    elif kind == "helm":
        name = _last(value)
    elif kind == "kubeadm":
        name = f"Kubernetes {value}"
    elif kind == "kubespray":
        name = "Kubespray"
    else:
        name = _last(value)
    return name[:_MAX]


def _namespace(thing: str) -> str:
    """That of an object written `Kind/namespace/name`."""
    parts = thing.split("/")
    return f"namespace {parts[1]}" if len(parts) == 3 and all(parts) else ""


def _last(value: str) -> str:
    path = value.partition("?")[0].rstrip("/")
    return path.rpartition("/")[2] or value
