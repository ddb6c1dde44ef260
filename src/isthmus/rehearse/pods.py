"""The pods of a pull test on a real cluster, and what a kubelet's statuses and events say of their images.

Every image is a container whose command does not exist: the kubelet pulls it, and nothing of it ever runs. The
pods are such that a namespace of the level `restricted` takes them. Only values; not here: kubectl (`cluster`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LABEL = "isthmus.dev/rehearsal"
"""On every pod, with the name of the run."""

COMMAND = "/isthmus-rehearsal-runs-nothing"
_NOT_PULLED = frozenset(
    ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
     "ImageInspectError", "SignatureValidationFailed")
)  # fmt: skip
# A kubelet only comes to these when the image is there.
_AFTER_THE_PULL = frozenset(
    ("RunContainerError", "CreateContainerError", "CreateContainerConfigError", "StartError",
     "ContainerCannotRun", "ContainerStatusUnknown", "CrashLoopBackOff", "Completed", "Error",
     "PreCreateHookError", "PostStartHookError")
)  # fmt: skip
_FAILED_TO_PULL = re.compile(r'Failed to pull image "([^"]+)": (.*)', re.DOTALL)
_PULLED = re.compile(r'(?:Successfully pulled image|Container image) "([^"]+)"')


@dataclass(frozen=True)
class ClusterNode:
    """A node that can run Linux images: its name as Kubernetes has it, and its architecture."""

    name: str
    architecture: str = ""


@dataclass(frozen=True)
class Wanted:
    """An image, as the platform writes it, with the digest that the lock has."""

    name: str
    digest: str
    architectures: frozenset[str] = frozenset()

    def fits(self, node: ClusterNode) -> bool:
        """Whether it is for that machine, as far as both are known."""
        return not (self.architectures and node.architecture) or node.architecture in self.architectures


@dataclass(frozen=True)
class PodPlan:
    """One pod: images on a node."""

    name: str
    node: ClusterNode
    images: tuple[Wanted, ...]


def nodes_of(document: Mapping[str, Any]) -> tuple[ClusterNode, ...]:
    """The ready Linux nodes of `kubectl get nodes -o json`, by name."""
    found = []
    for item in document.get("items") or ():
        about = (item.get("status") or {}).get("nodeInfo") or {}
        conditions = (item.get("status") or {}).get("conditions") or ()
        ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
        if ready and about.get("operatingSystem", "linux") == "linux":
            found.append(ClusterNode(item["metadata"]["name"], about.get("architecture", "")))
    return tuple(sorted(found, key=lambda node: node.name))


def plan(run: str, nodes: Iterable[ClusterNode], images: Sequence[Wanted], chunk: int) -> tuple[PodPlan, ...]:
    """A pod for each node and each `chunk` of the images that are for it."""
    pods = []
    for number, node in enumerate(nodes):
        mine = [image for image in images if image.fits(node)]
        for start in range(0, len(mine), chunk):
            name = f"isthmus-rehearsal-{run}-{number}-{start // chunk}"
            pods.append(PodPlan(name, node, tuple(mine[start : start + chunk])))
    return tuple(pods)


def manifest(pod: PodPlan, run: str, namespace: str, seconds: int) -> dict[str, Any]:
    """The pod for the API. After `seconds` the kubelet ends it by itself, should nobody take it away."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    need = {"cpu": "1m", "memory": "4Mi", "ephemeral-storage": "1Mi"}
    limit = {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "16Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name,
            "namespace": namespace,
            "labels": {LABEL: run, "app.kubernetes.io/managed-by": "isthmus"},
            "annotations": {"isthmus.dev/about": "pulls images for `isthmus rehearse`; nothing in it runs"},
        },
        "spec": {
            "nodeName": pod.node.name,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": seconds,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65534,
                "runAsGroup": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": f"image-{number}",
                    "image": image.name,
                    "imagePullPolicy": "Always",
                    "command": [COMMAND],
                    "securityContext": security,
                    "resources": {"requests": need, "limits": limit},
                }
                for number, image in enumerate(pod.images)
            ],
        },
    }


@dataclass(frozen=True)
class Seen:
    """What is known of a pod: images that came, those that did not with the reason, and those still open."""

    came: frozenset[str]
    failed: Mapping[str, str]
    open: frozenset[str]


def seen(pod: PodPlan, status: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> Seen:
    """Judge a pod by its `.status` and its events (an image that failed may still come while the pod lives)."""
    complaints, pulled = _events(events)
    statuses = {each.get("name"): each for each in status.get("containerStatuses") or ()}
    came: set[str] = set()
    failed: dict[str, str] = {}
    undecided: set[str] = set()
    over = status.get("phase") in ("Failed", "Succeeded")
    why_over = " ".join(filter(None, (status.get("reason"), status.get("message"))))
    for number, image in enumerate(pod.images):
        each = statuses.get(f"image-{number}") or {}
        reason, message = _reason(each.get("state") or {})
        there = str(each.get("imageID") or "")
        if reason in _NOT_PULLED:
            failed[image.name] = complaints.get(image.name) or message or reason
        elif there or reason in _AFTER_THE_PULL or image.name in pulled:
            if why := _other_digest(image, there):
                failed[image.name] = why
            else:
                came.add(image.name)
        elif over:
            failed[image.name] = complaints.get(image.name) or why_over or "the pod ended before it was pulled"
        else:
            undecided.add(image.name)
    return Seen(frozenset(came), failed, frozenset(undecided))


def _other_digest(image: Wanted, there: str) -> str:
    """Runtimes say `name@digest`, or for an image without a name inside only the digest of its configuration."""
    _, at, digest = there.rpartition("@")
    return f"the site has {digest} instead of {image.digest}" if at and digest != image.digest else ""


def _reason(state: Mapping[str, Any]) -> tuple[str, str]:
    for kind in ("waiting", "terminated"):
        if state.get(kind):
            return str(state[kind].get("reason") or ""), str(state[kind].get("message") or "")
    return "", ""


def _events(events: Iterable[Mapping[str, Any]]) -> tuple[dict[str, str], set[str]]:
    complaints: dict[str, str] = {}
    pulled: set[str] = set()
    for event in events:
        message = str(event.get("message") or "")
        if match := _FAILED_TO_PULL.match(message):
            complaints[match[1]] = match[2].strip()
        elif event.get("reason") == "Pulled" and (match := _PULLED.match(message)):
            pulled.add(match[1])
    return complaints, pulled
