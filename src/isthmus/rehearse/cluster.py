"""A pull test on a real cluster, by kubectl: pods that pull and run nothing, watched and taken away again.

Everything is in one namespace and has a label, by which also what a killed run left is found. Not here: what is in
a pod (`pods`).
"""

import contextlib
import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError, UnreachableError, UsageError
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Platform
from isthmus.progress import Progress, silent
from isthmus.rehearse import pods
from isthmus.rehearse.pods import LABEL, ClusterNode, PodPlan, Seen, Wanted
from isthmus.rehearse.programs import output, require, stoppable
from isthmus.rehearse.result import Failure, RehearsalResult
from isthmus.rehearse.runtime import last_line

_POLL = 2.0
_CALL = 60


@dataclass(frozen=True)
class Cluster:
    """How kubectl reaches it: a kubeconfig (nothing for kubectl's own choice), a context, the namespace."""

    kubeconfig: Path | None = None
    context: str = ""
    namespace: str = "default"

    def kubectl(self, *words: str, given: Any = None, timeout: float = _CALL) -> str:
        """Run kubectl; raises UnreachableError `program-failed` with what it says."""
        start = ["kubectl", f"--namespace={self.namespace}", f"--request-timeout={_CALL}s"]
        if self.kubeconfig is not None:
            start.append(f"--kubeconfig={self.kubeconfig}")
        if self.context:
            start.append(f"--context={self.context}")
        data = None if given is None else json.dumps(given).encode()
        return output(*start, *words, given=data, timeout=timeout)

    def get(self, *words: str) -> dict[str, Any]:
        """`kubectl get … -o json`; raises UnreachableError `program-failed`."""
        text = self.kubectl("get", *words, "--output=json")
        try:
            found = json.loads(text)
        except ValueError as error:
            raise UnreachableError("program-failed", "kubectl get did not print JSON") from error
        if not isinstance(found, dict):
            raise UnreachableError("program-failed", "kubectl get did not print an object")
        return found


@dataclass(frozen=True)
class PullOptions:
    """`nodes` are names (nothing: all that are ready); `chunk` images are in a pod, `at_once` pods on a node."""

    nodes: tuple[str, ...] = ()
    chunk: int = 20
    at_once: int = 1
    seconds: int = 1800
    patience: float = 90.0
    """How long an image that failed may still be tried again by the kubelet."""


@dataclass
class _State:
    created: set[str] = field(default_factory=set)
    done: dict[str, Seen] = field(default_factory=dict)
    failing_since: dict[str, float] = field(default_factory=dict)


def wanted(entries: Iterable[LockEntry]) -> tuple[Wanted, ...]:
    """The images of a lock."""
    return tuple(
        Wanted(
            entry.name,
            str(entry.digest),
            frozenset(Platform.parse(text).architecture for text in entry.platforms),
        )
        for entry in entries
        if entry.kind == "image"
    )


def manifests(cluster: Cluster, images: Sequence[Wanted], options: PullOptions, run: str = "") -> dict[str, Any]:
    """What would be created, as a List. Asks for the nodes unless they are named."""
    run = run or _new_run()
    plan = pods.plan(run, _nodes(cluster, options), images, options.chunk)
    return _list([pods.manifest(pod, run, cluster.namespace, options.seconds) for pod in plan])


def rehearse_cluster(
    cluster: Cluster, images: Sequence[Wanted], options: PullOptions, progress: Progress = silent
) -> RehearsalResult:
    """Let every node pull every image that is for it.

    Raises UsageError `missing-program`; UnreachableError `program-failed` where the API refuses. At the end, and
    when it is stopped, the pods are deleted.
    """
    require("kubectl")
    started = time.monotonic()
    run = _new_run()
    plan = pods.plan(run, _nodes(cluster, options), images, options.chunk)
    if not plan:
        raise UsageError("wrong-usage", "no image of the lock is for any of the nodes")
    with stoppable():
        try:
            state = _pull_all(cluster, run, plan, options, progress)
        finally:
            _delete(cluster, f"{LABEL}={run}")
    return _result(plan, state, time.monotonic() - started)


def clean_cluster(cluster: Cluster) -> tuple[str, ...]:
    """Delete every pod of any rehearsal in the namespace; returns their names."""
    require("kubectl")
    found = cluster.get("pods", f"--selector={LABEL}")
    names = tuple(sorted(str(item["metadata"]["name"]) for item in found.get("items") or ()))
    if names:
        _delete(cluster, LABEL)
    return names


def _new_run() -> str:
    return secrets.token_hex(4)


def _nodes(cluster: Cluster, options: PullOptions) -> tuple[ClusterNode, ...]:
    if options.nodes:
        return tuple(ClusterNode(name) for name in options.nodes)
    nodes = pods.nodes_of(cluster.get("nodes"))
    if not nodes:
        raise UnreachableError("program-failed", "the cluster has no node that is ready")
    return nodes


def _list(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _pull_all(
    cluster: Cluster, run: str, plan: Sequence[PodPlan], options: PullOptions, progress: Progress
) -> _State:
    state = _State()
    total = sum(len(pod.images) for pod in plan)
    deadline = time.monotonic() + options.seconds
    while len(state.done) < len(plan):
        batch = _next(plan, state, options.at_once)
        if batch:
            documents = [pods.manifest(pod, run, cluster.namespace, options.seconds) for pod in batch]
            cluster.kubectl("create", "--filename=-", given=_list(documents))
            state.created |= {pod.name for pod in batch}
        _look(cluster, run, plan, state, options, over=time.monotonic() > deadline)
        progress(sum(len(one.came) + len(one.failed) for one in state.done.values()), total, "rehearse")
        if len(state.done) < len(plan) and not _next(plan, state, options.at_once):
            time.sleep(_POLL)
    return state


def _next(plan: Sequence[PodPlan], state: _State, at_once: int) -> list[PodPlan]:
    """Pods that may be created now: each node has so many at once."""
    busy: dict[str, int] = {}
    for pod in plan:
        if pod.name in state.created and pod.name not in state.done:
            busy[pod.node.name] = busy.get(pod.node.name, 0) + 1
    batch = []
    for pod in plan:
        if pod.name not in state.created and busy.get(pod.node.name, 0) < at_once:
            busy[pod.node.name] = busy.get(pod.node.name, 0) + 1
            batch.append(pod)
    return batch


def _look(
    cluster: Cluster, run: str, plan: Sequence[PodPlan], state: _State, options: PullOptions, *, over: bool
) -> None:
    """Read the statuses; a pod of which everything is known, or given up, is deleted."""
    found = {
        item["metadata"]["name"]: item.get("status") or {}
        for item in cluster.get("pods", f"--selector={LABEL}={run}").get("items") or ()
    }
    for pod in plan:
        if pod.name not in state.created or pod.name in state.done:
            continue
        status = found.get(pod.name) or {"phase": "Failed", "message": "somebody deleted the pod"}
        now = pods.seen(pod, status, _events(cluster, pod))
        if _is_over(pod, now, status, state, options) or over:
            left = dict.fromkeys(now.open, "it was not pulled in time")
            state.done[pod.name] = Seen(now.came, {**now.failed, **left}, frozenset())
            cluster.kubectl("delete", "pod", pod.name, "--ignore-not-found", "--wait=false")


def _is_over(pod: PodPlan, now: Seen, status: Mapping[str, Any], state: _State, options: PullOptions) -> bool:
    if status.get("phase") in ("Failed", "Succeeded"):
        return True
    if now.open:
        return False
    if not now.failed:
        return True
    since = state.failing_since.setdefault(pod.name, time.monotonic())
    return time.monotonic() - since >= options.patience


def _events(cluster: Cluster, pod: PodPlan) -> list[Mapping[str, Any]]:
    """A user who may not read events still gets what the statuses say."""
    with contextlib.suppress(IsthmusError):
        found = cluster.get("events", f"--field-selector=involvedObject.kind=Pod,involvedObject.name={pod.name}")
        return list(found.get("items") or ())
    return []


def _delete(cluster: Cluster, selector: str) -> None:
    words = ("delete", "pods", f"--selector={selector}", "--ignore-not-found", f"--timeout={_CALL}s")
    try:
        cluster.kubectl(*words, timeout=2 * _CALL)
    except UnreachableError as error:
        raise UnreachableError(
            "program-failed",
            f"the pods could not be deleted: {last_line(error.message)}",
            hint=f"isthmus rehearse --cluster --clean, or kubectl -n {cluster.namespace} delete pods -l {LABEL}",
        ) from error


def _result(plan: Sequence[PodPlan], state: _State, seconds: float) -> RehearsalResult:
    came: set[str] = set()
    failed: dict[str, list[tuple[str, str]]] = {}
    for pod in plan:
        found = state.done[pod.name]
        came |= found.came
        for name, why in found.failed.items():
            failed.setdefault(name, []).append((pod.node.name, why))
    nodes = sorted({pod.node.name for pod in plan})
    return RehearsalResult(
        pulled=len(came - failed.keys()),
        failed=tuple(
            Failure(name, f"on {node}: {last_line(why)}")
            for name, reasons in sorted(failed.items())
            for node, why in sorted(reasons)
        ),
        notes=(f"pulled by the kubelets of {len(nodes)} nodes: {', '.join(nodes[:20])}",),
        seconds=seconds,
        on_cluster=True,
    )
