"""A copy in shards as Kubernetes objects: an Indexed Job that moves blobs, and a Job that puts manifests and tags.

The engine is the one that the users already run; shards need no coordinator, and the finishing Job fails with
"not there yet" until all of them are done, and is tried again. Same input, same bytes: names hold a digest of
all that a run depends on, so that a changed lock is another Job, and the same one can be applied again. Secrets
are named, never contained. Not here: what a shard does (`shard`), kubectl (`cli`).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from isthmus.errors import UsageError

LARGEST_CONFIG_MAP = 1_000_000
"""Bytes that fit into a ConfigMap (1 MiB) beside what belongs to it."""
DIRECTORY = "/run/isthmus"
USER = 65532

_SCRATCH = "/tmp"  # noqa: S108  # inside the container, where nobody else is
_LABEL = "app.kubernetes.io"
_ATTEMPTS = 3
_FINISH_ATTEMPTS = 60  # tried again ever more rarely, at most every six minutes
_KEPT = 7 * 86400  # seconds for which a finished Job stays to be looked at
_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
_WRONG = [2, 4]  # exit statuses of the contract that another attempt does not change


class Secrets(msgspec.Struct, frozen=True):
    """A Secret, by name: its keys that become variables, and those that become files in `credentials/`."""

    name: str
    variables: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class ShardedCopy(msgspec.Struct, frozen=True):
    """What to run. `arguments` are those of `isthmus mirror` without lock, configuration and shard.

    `lock` and `files` (isthmus.yaml, authorities) go into a ConfigMap; `claim` is a PersistentVolumeClaim that
    holds `isthmus.lock` instead.
    """

    image: str
    arguments: tuple[str, ...]
    shards: int
    lock: str
    files: Mapping[str, str]
    secrets: Secrets
    namespace: str = ""
    claim: str = ""
    cpu: str = "1"
    memory: str = "512Mi"
    parallelism: int = 0


def objects(copy: ShardedCopy) -> list[dict[str, Any]]:
    """The ConfigMap and the two Jobs, in the order in which they are applied.

    Raises UsageError (`wrong-usage`) where the lock does not fit into a ConfigMap.
    """
    name = f"isthmus-mirror-{_fingerprint(copy)}"
    data = dict(copy.files) if copy.claim else {"isthmus.lock": copy.lock, **copy.files}
    size = sum(len(key) + len(value.encode()) for key, value in data.items())
    if size > LARGEST_CONFIG_MAP:
        raise UsageError(
            "wrong-usage",
            f"lock and configuration have {size} bytes, a ConfigMap takes {LARGEST_CONFIG_MAP}",
            hint="put isthmus.lock on a volume that can be read by many, and name it with --lock-claim",
        )
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(copy, name),
        "immutable": True,
        "data": dict(sorted(data.items())),
    }
    return [config, _moving(copy, name), _finishing(copy, name)]


def _fingerprint(copy: ShardedCopy) -> str:
    return hashlib.sha256(json.dumps(msgspec.to_builtins(copy), sort_keys=True).encode()).hexdigest()[:10]


def _metadata(copy: ShardedCopy, name: str) -> dict[str, Any]:
    labels = {f"{_LABEL}/name": "isthmus", f"{_LABEL}/component": "mirror"}
    where = {"namespace": copy.namespace} if copy.namespace else {}
    return {"name": name, **where, "labels": labels}


def _moving(copy: ShardedCopy, name: str) -> dict[str, Any]:
    shard = {"name": "ISTHMUS_SHARD", "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}}
    arguments = ["--shard", f"$(ISTHMUS_SHARD)/{copy.shards}"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(copy, name),
        "spec": {
            "completionMode": "Indexed",
            "completions": copy.shards,
            "parallelism": min(copy.parallelism or copy.shards, copy.shards),
            "backoffLimitPerIndex": _ATTEMPTS,
            "maxFailedIndexes": copy.shards,  # the others go on; what they moved is not moved again
            "podFailurePolicy": _policy("FailIndex"),
            "ttlSecondsAfterFinished": _KEPT,
            "template": _pod(copy, name, arguments, [shard]),
        },
    }


def _finishing(copy: ShardedCopy, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(copy, f"{name}-finish"),
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": _FINISH_ATTEMPTS,
            "podFailurePolicy": _policy("FailJob"),
            "ttlSecondsAfterFinished": _KEPT,
            "template": _pod(copy, name, ["--finish"], []),
        },
    }


def _policy(action: str) -> dict[str, Any]:
    """A node that goes away is nobody's failure; what is wrong with the input stays wrong."""
    wrong = {"containerName": "mirror", "operator": "In", "values": _WRONG}
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": disrupted},
            {"action": action, "onExitCodes": wrong},
        ]
    }


def _pod(copy: ShardedCopy, name: str, arguments: list[str], variables: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "metadata": {"labels": _metadata(copy, name)["labels"]},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(copy, arguments, variables)],
            "volumes": _volumes(copy, name),
        },
    }


def _container(copy: ShardedCopy, arguments: list[str], variables: list[dict[str, Any]]) -> dict[str, Any]:
    lock = f"{DIRECTORY}/{'lock' if copy.claim else 'config'}/isthmus.lock"
    amounts = {"cpu": copy.cpu, "memory": copy.memory}
    return {
        "name": "mirror",
        "image": copy.image,
        "command": ["isthmus"],
        "args": [
            "mirror", "--lock", lock, "--file", f"{DIRECTORY}/config/isthmus.yaml", "--workspace",
            f"{_SCRATCH}/isthmus", *copy.arguments, *arguments,
        ],
        "env": [*variables, {"name": "DOCKER_CONFIG", "value": f"{DIRECTORY}/docker"}, *_variables(copy.secrets)],
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(copy),
    }  # fmt: skip


def _variables(secrets: Secrets) -> list[dict[str, Any]]:
    return [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": secrets.name, "key": key}}}
        for key in secrets.variables
    ]


def _mounts(copy: ShardedCopy) -> list[dict[str, Any]]:
    paths = {"config": "config", "docker": "docker"}
    if copy.secrets.files:
        paths["credentials"] = "credentials"
    if copy.claim:
        paths["lock"] = "lock"
    mounts: list[dict[str, Any]] = [
        {"name": name, "mountPath": f"{DIRECTORY}/{path}", "readOnly": True} for name, path in paths.items()
    ]
    return [*mounts, {"name": "scratch", "mountPath": _SCRATCH}]


def _volumes(copy: ShardedCopy, name: str) -> list[dict[str, Any]]:
    secrets = copy.secrets
    docker = [{"key": "config.json", "path": "config.json"}]
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": name}},
        {"name": "docker", "secret": {"secretName": secrets.name, "items": docker, "optional": True}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    if secrets.files:
        items = [{"key": key, "path": key} for key in secrets.files]
        mode = {"defaultMode": 0o440}
        volumes.append({"name": "credentials", "secret": {"secretName": secrets.name, "items": items, **mode}})
    if copy.claim:
        volumes.append({"name": "lock", "persistentVolumeClaim": {"claimName": copy.claim, "readOnly": True}})
    return volumes
